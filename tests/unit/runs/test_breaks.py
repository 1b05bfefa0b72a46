"""Breaking on a round's replies: comparisons, functions, and mistakes in them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cloudpickle
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from flip_lab.core.condition import Condition, Met
from flip_lab.core.errors import ConditionError
from flip_lab.core.events import EventKind
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.runs import live_replies
from flip_lab.runs.breaks import Breaks
from flip_lab.runs.edits import break_body
from flip_lab.runs.round_replies import RoundReplies

become_server(1)

SENT = ArrayRecord({"w": Array(np.zeros(3, np.float32))})


def _reply(
    partition: int, *values: float, loss: float = 1.0, num_examples: int = 1
) -> Message:
    asked = Message(RecordDict(), partition + 100, "train")
    stamp(asked, f"message-{partition}")
    content = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(np.array(values, np.float32))}),
            "metrics": MetricRecord({"train_loss": loss, "num-examples": num_examples}),
        }
    )
    return Message(content, reply_to=asked)


def _failure(partition: int) -> Message:
    asked = Message(RecordDict(), partition + 100, "train")
    stamp(asked, f"message-{partition}")
    return Message(Error(code=1, reason="out of memory"), reply_to=asked)


class _Desk:
    """Breaks with what they emitted."""

    def __init__(self) -> None:
        self.emitted: list[tuple[EventKind, Mapping[str, Any]]] = []
        self.breaks = Breaks(self._emit)

    def _emit(self, kind: EventKind, body: Mapping[str, Any], *, server_round: int) -> None:
        assert server_round == 4
        self.emitted.append((kind, body))

    def look(self, replies: Sequence[Message], **metrics: float) -> Met | None:
        return self.breaks.look(4, replies, SENT, metrics, lambda node: node - 100)


@pytest.fixture
def desk() -> _Desk:
    """Give breaks that break on nothing yet."""
    return _Desk()


REPLIES = [_reply(0, 1, 0, 0), _reply(1, 0, 1, 0), _reply(2, 0, 0, 8, loss=4.0)]


def test_nothing_set_nothing_met(desk: _Desk) -> None:
    """Most rounds are looked at by nobody."""
    assert desk.look(REPLIES) is None


def test_a_comparison_says_who_and_by_which_command(desk: _Desk) -> None:
    """Drift is a norm over the median norm: 8 over 1."""
    desk.breaks.add("first", Condition.parse("client drift > 9"))
    desk.breaks.add("second", Condition.parse("client drift > 2"))
    met = desk.look(REPLIES)
    assert met is not None
    assert met.because == "client drift 8 > 2: partition 2, round 4"
    assert met.id == "second"
    assert [each.node_id for each in met.clients] == [102]


def test_a_metric_is_known_before_it_is_aggregated(desk: _Desk) -> None:
    """What FedAvg will make of the replies: (1 + 1 + 4) / 3; NaN names its source."""
    desk.breaks.add("a", Condition.parse("train_loss == 2"))
    assert desk.look(REPLIES, train_loss=99.0) is not None
    desk.breaks.add("a", Condition.parse("loss is nan"))
    assert desk.look(REPLIES) is None
    met = desk.look([*REPLIES, _reply(7, 0, 0, 0, loss=math.nan)])
    assert met is not None
    assert met.because == "train_loss is nan: partition 7, round 4"


def test_means_are_weighted_by_examples(desk: _Desk) -> None:
    """One client of 3 examples and loss 1, one of 1 example and loss 5: 2."""
    replies = [_reply(0, 0, 0, 0, num_examples=3), _reply(1, 0, 0, 0, loss=5.0)]
    desk.breaks.add("a", Condition.parse("train_loss == 2"))
    assert desk.look(replies) is not None


def test_earlier_metrics_count_where_replies_say_nothing(desk: _Desk) -> None:
    """A condition on what the server evaluated in this round is met at the break."""
    desk.breaks.add("a", Condition.parse("eval_accuracy < 0.2"))
    assert desk.look(REPLIES, eval_accuracy=0.1) is not None
    assert desk.look(REPLIES, eval_accuracy=0.3) is None


def test_failures_and_silence_are_counted(desk: _Desk) -> None:
    """A reply with an error is no client's number, and a failure."""
    desk.breaks.add("a", Condition.parse("failures >= 2"))
    replies = [*REPLIES, _failure(3)]
    assert desk.look(replies) is None
    args = (4, replies, SENT, {}, lambda _: -1)
    assert desk.breaks.look(*args, num_silent=1) is not None
    desk.breaks.add("a", Condition.parse("client train_loss != 99"))
    met = desk.look([_failure(3)])
    assert met is None


def test_durations_are_known_where_the_grid_says_them(desk: _Desk) -> None:
    """The slowest client is one number like any other."""
    desk.breaks.add("a", Condition.parse("client duration_s > 60"))
    args = (4, REPLIES, SENT, {}, lambda node: node - 100)
    assert desk.breaks.look(*args) is None
    met = desk.breaks.look(*args, durations_s={1: 61.0, 2: 5.0})
    assert met is not None
    assert "partition 1" in met.because


def test_arrays_are_looked_at_only_for_conditions_that_need_them(
    desk: _Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watching for NaN in a loss costs no pass over the arrays."""
    monkeypatch.delattr(live_replies, "look_at_updates")
    desk.breaks.add("a", Condition.parse("client train_loss > 3"))
    desk.breaks.add("b", lambda replies: replies.metrics["train_loss"] > 99)
    assert desk.look(REPLIES) is not None
    desk.breaks.add("a", Condition.parse("client drift > 2"))
    with pytest.raises(NameError):
        desk.look(REPLIES)


def test_a_condition_that_is_cleared_counts_no_more(desk: _Desk) -> None:
    """Clearing twice is no mistake: two kernels may do it."""
    desk.breaks.add("a", Condition.parse("always"))
    assert desk.look(REPLIES) is not None
    desk.breaks.clear("a")
    desk.breaks.clear("a")
    assert desk.look(REPLIES) is None


def test_a_function_sees_numbers_and_arrays(desk: _Desk) -> None:
    """It is given what run.inspect() gives, and its text is the reason."""
    seen: list[RoundReplies] = []

    def far_off(replies: RoundReplies) -> str:
        seen.append(replies)
        frame = replies.clients
        worst = int(frame["partition_id"][frame["drift"].argmax()])
        return f"partition {worst} moved {np.abs(replies.update(worst)['w']).max():g}"

    desk.breaks.add("a", far_off)
    met = desk.look(REPLIES)
    assert met == Met(because="partition 2 moved 8: round 4", id="a")
    (replies,) = seen
    assert (replies.server_round, replies.failures) == (4, 0)
    np.testing.assert_allclose(replies.mean_update["w"], [1 / 3, 1 / 3, 8 / 3])
    assert list(replies.by_layer(2)["update_norm"]) == [8.0]


def test_a_function_travels_by_value(desk: _Desk) -> None:
    """With what it refers to; its answer may be one of NumPy's."""
    limit = np.float64(3)
    function = lambda replies: replies.clients["update_norm"].max() > limit  # noqa: E731  # as in a cell
    pickle = base64.b64encode(cloudpickle.dumps(function)).decode()
    desk.breaks.add_pickled("a", pickle)
    met = desk.look(REPLIES)
    assert met is not None
    assert met.because == "the function says so: round 4"
    assert desk.look(REPLIES[:2]) is None


def test_a_function_that_raises_is_cleared_with_a_warning(desk: _Desk) -> None:
    """The run goes on; other conditions still count."""

    def clumsy(replies: RoundReplies) -> bool:
        return replies.metrics["no_such_metric"] > 1

    desk.breaks.add("a", clumsy)
    desk.breaks.add("b", Condition.parse("always"))
    met = desk.look(REPLIES)
    assert met is not None
    assert met.id == "b"
    ((kind, body),) = desk.emitted
    assert kind is EventKind.WARNING
    assert body["code"] == "FLIP-311"
    assert body["id"] == "a"
    assert "clumsy" in body["message"]
    assert "no_such_metric" in body["message"]
    desk.look(REPLIES)
    assert len(desk.emitted) == 1


def test_a_pickle_that_cannot_be_read_is_a_warning(desk: _Desk) -> None:
    """Such as a function of a module that the run's process cannot import."""
    desk.breaks.add_pickled("a", base64.b64encode(b"no pickle").decode())
    desk.breaks.add_pickled("b", "no base64")
    assert desk.look(REPLIES) is None
    assert [body["id"] for _, body in desk.emitted] == ["a", "b"]


def test_an_answer_that_is_neither_true_nor_false_is_a_mistake(desk: _Desk) -> None:
    """A whole column compared gives no answer."""
    desk.breaks.add("a", lambda replies: replies.clients["drift"] > 2)
    assert desk.look(REPLIES) is None
    assert "ambiguous" in desk.emitted[0][1]["message"]


def test_a_function_that_holds_on_to_too_much_does_not_travel() -> None:
    """On its way it becomes a fact, and one that the journal refuses ended the run."""
    held = bytes(17_000_000)
    with pytest.raises(ConditionError, match="17 MB, and may have 16"):
        break_body(lambda _replies: bool(held))
    assert "function" in break_body(lambda replies: replies.server_round > 1)
