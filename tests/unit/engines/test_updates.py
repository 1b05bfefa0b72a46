"""What clients changed: models of three numbers worked by hand, others against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.flower.updates import (
    arrays_of,
    look_at_updates,
    mean_update,
    update_metrics,
    update_of,
    weight_of,
)

become_server(1)


def _record(**arrays: object) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(each)) for name, each in arrays.items()})


def _asked(node_id: int) -> Message:
    message = Message(RecordDict(), node_id, "train")
    stamp(message, f"message-{node_id}")
    return message


def _reply(node_id: int, record: ArrayRecord | None, num_examples: float = 1) -> Message:
    content = RecordDict({"metrics": MetricRecord({"num-examples": num_examples})})
    if record is not None:
        content["arrays"] = record
    return Message(content, reply_to=_asked(node_id))


def _three(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


SENT = _record(w=_three(1, 1, 1))


def test_three_clients_worked_by_hand() -> None:
    """Updates (3,4,0), (0,0,5) and (0,0,10) of 2, 1 and 1 examples: mean (1.5, 2, 3.75)."""
    replies = [
        _reply(11, _record(w=_three(4, 5, 1)), 2),
        _reply(12, _record(w=_three(1, 1, 6)), 1),
        _reply(13, _record(w=_three(1, 1, 11)), 1),
    ]
    found = look_at_updates(replies, SENT)
    assert found.node_ids == (11, 12, 13)
    assert found.layers == ("w",)
    np.testing.assert_allclose(found.norms, [5, 5, 10])
    np.testing.assert_allclose(found.drifts, [1, 1, 2])
    length = math.sqrt(1.5**2 + 2**2 + 3.75**2)
    first = (3 * 1.5 + 4 * 2) / (5 * length)
    np.testing.assert_allclose(found.cosines, [first, 3.75 / length, 3.75 / length])
    mean = mean_update(replies, SENT, found)
    np.testing.assert_allclose(mean["w"], [1.5, 2, 3.75])
    np.testing.assert_allclose(update_of(replies[0], SENT)["w"], [3, 4, 0])
    assert update_metrics(replies[0], SENT) == {"update_norm": pytest.approx(5)}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_client_that_diverged_spoils_nothing_but_its_own_numbers(bad: float) -> None:
    """Its norm says so; the mean, the cosines and the drifts are those of the others."""
    good = [_reply(11, _record(w=_three(4, 1, 1))), _reply(12, _record(w=_three(1, 5, 1)))]
    broken = _reply(13, _record(w=_three(bad, 1, 1)), 1000)
    alone, found = look_at_updates(good, SENT), look_at_updates([broken, *good], SENT)
    assert not math.isfinite(found.norms[0])
    assert math.isnan(found.norms[0]) is math.isnan(bad)
    assert math.isnan(found.cosines[0])
    assert not math.isfinite(found.drifts[0])
    np.testing.assert_allclose(found.norms[1:], alone.norms)
    np.testing.assert_allclose(found.drifts[1:], alone.drifts)
    np.testing.assert_allclose(found.cosines[1:], alone.cosines)
    mean = mean_update([broken, *good], SENT, found)
    np.testing.assert_allclose(mean["w"], [1.5, 2, 0])


def test_all_diverged() -> None:
    """Then nothing is known but that."""
    replies = [_reply(node, _record(w=_three(math.nan, 1, 1))) for node in (11, 12)]
    found = look_at_updates(replies, SENT)
    assert np.isnan(found.norms).all()
    assert np.isnan(found.drifts).all()
    assert np.isnan(found.cosines).all()
    np.testing.assert_array_equal(mean_update(replies, SENT, found)["w"], np.zeros(3))


def test_huge_and_tiny_updates_neither_overflow_nor_vanish() -> None:
    """Squares of 1e30 and of 1e-30 are no single precision numbers; their roots are."""
    zeros = _record(w=_three(0, 0, 0))
    huge = look_at_updates([_reply(11, _record(w=_three(3e30, 4e30, 0)))], zeros)
    tiny = look_at_updates([_reply(11, _record(w=_three(3e-30, 4e-30, 0)))], zeros)
    np.testing.assert_allclose(huge.norms, [5e30], rtol=1e-6)
    np.testing.assert_allclose(tiny.norms, [5e-30], rtol=1e-6)
    np.testing.assert_allclose(tiny.cosines, [1.0])


def test_clients_that_changed_nothing() -> None:
    """Nobody drifts where nobody moves; who alone moves drifts beyond measure."""
    same = [_reply(node, SENT) for node in (11, 12)]
    found = look_at_updates(same, SENT)
    np.testing.assert_array_equal(found.drifts, [1, 1])
    assert np.isnan(found.cosines).all()
    moved = _reply(13, _record(w=_three(2, 1, 1)))
    np.testing.assert_array_equal(
        look_at_updates([*same, moved], SENT).drifts, [1, 1, np.inf]
    )


def test_replies_without_arrays_have_no_update() -> None:
    """Errors, evaluations and arrays of another shape are left out."""
    failed = Message(Error(code=1, reason="out of memory"), reply_to=_asked(11))
    replies = [
        failed,
        _reply(12, None),
        _reply(13, _record(w=np.zeros(7, np.float32))),
        _reply(14, _record(w=np.array(["a", "b", "c"]))),
        _reply(15, _record(w=_three(1, 1, 3))),
    ]
    assert look_at_updates(replies, SENT).node_ids == (15,)
    found = [update_metrics(reply, SENT) for reply in replies]
    assert found == [{}, {}, {}, {}, {"update_norm": 2.0}]
    assert update_metrics(replies[4], None) == {}
    assert look_at_updates(replies[:4], SENT).norms.shape == (0,)
    assert arrays_of(failed, SENT) == {}
    assert update_of(replies[2], SENT) == {}


def test_whole_numbers_and_layers_that_stay_at_home_are_no_update() -> None:
    """The counter of a batch normalisation rises by itself; FedPer keeps its head."""
    sent = _record(w=_three(0, 0, 0), steps=np.array(3), head=_three(1, 2, 3))
    reply = _reply(11, _record(w=_three(0, 3, 4), steps=np.array(99)))
    found = look_at_updates([reply], sent)
    assert dict(zip(found.layers, found.layer_norms[0], strict=True)) == {"w": 5, "head": 0}
    assert set(update_of(reply, sent)) == {"w"}


def test_the_record_that_is_like_what_was_sent_is_the_update() -> None:
    """SCAFFOLD's replies hold control variates besides the model."""
    controls, model = _record(c_w=_three(9, 9, 9)), _record(w=_three(1, 1, 4))
    for order in ("cm", "mc"):
        content = RecordDict()
        for name in order:
            content[name] = controls if name == "c" else model
        reply = Message(content, reply_to=_asked(11))
        assert look_at_updates([reply], SENT).norms[0] == 3


def test_weights_without_examples_are_all_alike() -> None:
    """An app need not report how many examples it has."""
    replies = [
        _reply(11, _record(w=_three(3, 1, 1)), 0),
        _reply(12, _record(w=_three(1, 1, 3)), 0),
    ]
    found = look_at_updates(replies, SENT)
    np.testing.assert_allclose(found.cosines, [math.sqrt(0.5)] * 2, rtol=1e-6)
    assert weight_of(Message(RecordDict(), reply_to=_asked(1))) == 0


@given(
    seed=st.integers(0, 2**32 - 1),
    num_clients=st.integers(1, 9),
    shapes=st.lists(st.lists(st.integers(1, 40), max_size=3), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_numbers_are_those_of_numpy(
    seed: int, num_clients: int, shapes: list[list[int]], dtype: type[np.floating]
) -> None:
    """Any shapes, none at all among them: as NumPy has it in one piece."""
    rng = np.random.default_rng(seed)

    def model() -> dict[str, np.ndarray]:
        return {
            f"layer{at}": np.asarray(rng.standard_normal(shape), dtype)
            for at, shape in enumerate(shapes)
        }

    def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([each.astype(np.float64).ravel() for each in arrays.values()])

    sent, models = model(), [model() for _ in range(num_clients)]
    examples = rng.integers(1, 100, num_clients)
    replies = [
        _reply(node, _record(**each), int(count))
        for node, (each, count) in enumerate(zip(models, examples, strict=True), 1)
    ]
    found = look_at_updates(replies, _record(**sent))
    updates = np.stack([flat(each) - flat(sent) for each in models])
    mean = examples / examples.sum() @ updates
    norms = np.linalg.norm(updates, axis=1)
    np.testing.assert_allclose(found.norms, norms, rtol=1e-5)
    record = _record(**sent)
    alone = [update_metrics(reply, record)["update_norm"] for reply in replies]
    np.testing.assert_allclose(alone, norms, rtol=1e-5)
    cosines = updates @ mean / (norms * np.linalg.norm(mean))
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-4)
    np.testing.assert_allclose(found.drifts, norms / np.median(norms), rtol=1e-5)


def test_blocks_add_up_to_the_whole() -> None:
    """An array of many blocks, the last of them short, has the norm of the whole."""
    rng = np.random.default_rng(0)
    sent = rng.standard_normal(300_001).astype(np.float32)
    changed = [sent + rng.standard_normal(sent.size).astype(np.float32) for _ in range(3)]
    replies = [_reply(node, _record(w=each)) for node, each in enumerate(changed, 1)]
    found = look_at_updates(replies, _record(w=sent))
    exact = [np.linalg.norm(each.astype(np.float64) - sent) for each in changed]
    np.testing.assert_allclose(found.norms, exact, rtol=1e-6)


def test_what_is_given_cannot_be_changed() -> None:
    """The strategy aggregates these very values afterwards."""
    values = arrays_of(_reply(11, _record(w=_three(1, 2, 3))), SENT)
    with pytest.raises(ValueError, match="read-only"):
        values["w"][0] = 9
