"""Replies that no honest client sends are refused before a strategy sees them."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import become_server, error_reply, stamp
from flip_lab.engines.reply_checks import Expectation, ReplyRules

W, B = np.ones((2, 3), np.float32), np.zeros(3, np.float32)


@pytest.fixture(autouse=True)
def server() -> None:
    """Be a server that may build messages."""
    install_fast_arrays()
    become_server(1)


def asked(phase: str = "train", **arrays: np.ndarray) -> Message:
    """Make what the server sends."""
    record = ArrayRecord({name: Array(values) for name, values in arrays.items()})
    message = Message(RecordDict({"arrays": record}), 7, phase)
    stamp(message, "m")
    return message


def reply(message: Message, *, num_examples: float = 5, **arrays: np.ndarray) -> Message:
    """Make what a client sends back."""
    record = ArrayRecord({name: Array(values) for name, values in arrays.items()})
    metrics = MetricRecord({"num-examples": num_examples, "loss": float("nan")})
    content = RecordDict({"arrays": record, "metrics": metrics})
    return Message(content, reply_to=message)


SCENARIO = ReplyRules(same_arrays=True)
APP = ReplyRules()


def test_an_honest_reply_passes() -> None:
    """Also one whose loss is not a number: metrics are what they are."""
    message = asked(w=W, b=B)
    Expectation.of(message, SCENARIO).check(reply(message, w=W, b=B))


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"w": W}, "lacks 'b'"),
        ({"w": W, "b": B, "c": B}, "'c' that nobody sent"),
        ({"w": W[:1], "b": B}, r"'w' is float32\[1, 3\], and float32\[2, 3\] was sent"),
        ({"w": W.astype(np.float64), "b": B}, "'w' is float64"),
        ({"w": W, "b": np.array([0, np.nan, 0], np.float32)}, "NaN or infinite"),
        ({"w": -np.inf * W, "b": B}, "NaN or infinite"),
    ],
)
def test_arrays_must_be_those_that_were_sent(
    arrays: dict[str, np.ndarray], why: str
) -> None:
    """A scenario's client sends the same names, shapes and dtypes, and numbers."""
    message = asked(w=W, b=B)
    other = reply(message)
    other.content["arrays"] = ArrayRecord({n: Array(v) for n, v in arrays.items()})
    with pytest.raises(ReplyRefusedError, match=why) as caught:
        Expectation.of(message, SCENARIO).check(other)
    assert caught.value.code == "FLIP-807"


def test_records_must_be_as_many() -> None:
    """A second record of arrays is none that was asked for."""
    message = asked(w=W)
    more = reply(message, w=W)
    more.content["other"] = ArrayRecord({"w": Array(W)})
    with pytest.raises(ReplyRefusedError, match="2 records of arrays, not 1"):
        Expectation.of(message, SCENARIO).check(more)


@pytest.mark.parametrize("num_examples", [-1, -0.5, float("nan"), float("inf"), 10**13])
def test_a_weight_counts_examples(num_examples: float) -> None:
    """A weight below zero turns training round; a huge one takes the model over."""
    message = asked(w=W)
    with pytest.raises(ReplyRefusedError, match="num-examples is"):
        Expectation.of(message, APP).check(reply(message, w=W, num_examples=num_examples))


def test_apps_may_send_what_they_like_but_not_the_same_names_in_other_shapes() -> None:
    """Adapters, statistics, control variates: their own names, their own shapes."""
    message = asked(w=W, b=B)
    expectation = Expectation.of(message, APP)
    expectation.check(reply(message, w=W))
    expectation.check(reply(message, adapter=np.zeros((9, 9))))
    with pytest.raises(ReplyRefusedError, match="was sent"):
        expectation.check(reply(message, w=W, b=B[:2]))


def test_only_training_is_held_against_what_was_sent() -> None:
    """An evaluation may give arrays of its own, such as predictions."""
    message = asked("evaluate", w=W)
    Expectation.of(message, SCENARIO).check(reply(message, predictions=B))


def test_values_that_are_not_finite_may_be_let_through() -> None:
    """The federation's table says so."""
    rules = ReplyRules(same_arrays=True, accept_non_finite=True)
    message = asked(w=W)
    Expectation.of(message, rules).check(reply(message, w=W * np.nan))


def test_a_large_array_is_looked_at_to_its_end() -> None:
    """The one bad value may be the last of millions."""
    values = np.zeros(3 * 2**20, np.float32)
    message = asked(w=values)
    spoilt = values.copy()
    spoilt[-1] = np.inf
    Expectation.of(message, APP).check(reply(message, w=values))
    with pytest.raises(ReplyRefusedError, match="NaN or infinite"):
        Expectation.of(message, APP).check(reply(message, w=spoilt))


def test_errors_integers_and_foreign_arrays_pass() -> None:
    """There is nothing in them that could be not finite, or that we could read."""
    message = asked(n=np.arange(3))
    expectation = Expectation.of(message, SCENARIO)
    expectation.check(error_reply(message, "no data"))
    expectation.check(reply(message, n=np.arange(3)))
    foreign = reply(message)
    foreign.content["arrays"] = ArrayRecord({"z": Array("f4", (1,), "own.format", b"?")})
    Expectation.of(message, APP).check(foreign)


def test_what_may_come_back_grows_with_what_was_sent() -> None:
    """A model of a gigabyte may come back; for a small one there is room to spare."""
    small = Expectation.of(asked(w=W), APP).limit_bytes
    large = Expectation.of(asked(w=np.zeros(2**20)), APP).limit_bytes
    assert small >= 2**28
    assert large - small > 4 * 7 * 2**20
