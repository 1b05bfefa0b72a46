"""The simulated Grid: one message a node at a time, snapshots, threads, states."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from flip_lab.core.errors import RunError
from flip_lab.engines.base import Job, Reply
from flip_lab.engines.clients import ClientCall, ClientOutcome
from flip_lab.engines.flower.arrays import backed, backing, install_fast_arrays
from flip_lab.engines.simulation import FIRST_NODE_ID, SimulationGrid
from flip_lab.testing.probe_app import ProbeApp

_PATIENCE_S = 120.0


class Hand:
    """An executor that a test moves by hand; a call is answered when the test says so."""

    def __init__(self) -> None:
        self.calls: list[ClientCall] = []
        self.outcomes: list[ClientOutcome] = []
        self.num_waits = 0
        self.news = threading.Condition()

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Note the calls."""
        with self.news:
            self.calls += calls
            self.news.notify_all()

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Give what the test has answered."""
        with self.news:
            self.num_waits += 1
            assert self.num_waits == 1, "two threads at once"
            self.news.wait_for(lambda: self.outcomes, timeout_s)
            found, self.outcomes = self.outcomes, []
            self.num_waits -= 1
            return found

    def answer(self, call: ClientCall, *, error: str = "") -> None:
        """Count the calls of a node in its state, as a client would."""
        counter = call.state.get("counter", MetricRecord({"calls": 0}))
        calls = int(counter["calls"]) + 1  # pyright: ignore[reportArgumentType]  # a number
        state = RecordDict({"counter": MetricRecord({"calls": calls})})
        reply = Message(
            RecordDict({"m": MetricRecord({"calls": calls})}), reply_to=call.message
        )
        self.give(
            ClientOutcome(
                message_id=call.message.metadata.message_id,
                reply=None if error else reply,
                state=None if error else state,
                error=error,
                started_s=float(len(self.calls)),
                duration_s=0.25,
            )
        )

    def give(self, outcome: ClientOutcome) -> None:
        """Let an outcome come in."""
        with self.news:
            self.outcomes.append(outcome)
            self.news.notify_all()


def job(num_nodes: int = 4, **more: Any) -> Job:  # noqa: ANN401  # fields of a job
    """Give the job of a small federation."""
    return Job(
        run_id="r",
        seed=3,
        num_nodes=num_nodes,
        run_config={},
        app=ProbeApp(),
        answers_describe=False,
        workers=1,
        work_dir=Path.cwd(),
        **more,
    )


@pytest.fixture
def hand() -> Hand:
    """Give the executor."""
    install_fast_arrays()
    return Hand()


@pytest.fixture
def grid(hand: Hand) -> SimulationGrid:
    """Give a Grid of four nodes."""
    return SimulationGrid(job(), hand)


def message(node: int = 0, content: RecordDict | None = None) -> Message:
    """Give a message to a node, by its partition."""
    return Message(content or RecordDict(), FIRST_NODE_ID + node, "train")


def counts(replies: Sequence[Reply]) -> list[float]:
    """Give what nodes have counted."""
    return [reply.message.content.metric_records["m"]["calls"] for reply in replies]  # pyright: ignore[reportReturnType]  # numbers


# --- the run configuration -------------------------------------------------------------


def test_a_call_carries_the_values_of_when_its_message_was_sent(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Also one that waits for its node; and nobody can change them afterwards."""
    changes: dict[str, float] = {"rate": 0.5}
    grid.push_messages([message(0), message(0)])
    grid.reconfigure(changes)
    changes["rate"] = 0.1
    grid.push_messages([message(1), message(0)])
    grid.reconfigure({})
    grid.push_messages([message(2)])
    for _ in range(3):  # node 0 has three to carry out, one after another
        latest = next(call for call in reversed(hand.calls) if call.partition_id == 0)
        hand.answer(latest)
        grid.await_replies(["nobody's"], timeout_s=_PATIENCE_S)
    seen = [(call.partition_id, dict(call.overlay)) for call in hand.calls]
    new = {"rate": 0.5}
    assert seen == [(0, {}), (1, new), (2, {}), (0, {}), (0, new)]


# --- one message at a time -------------------------------------------------------------


def test_a_node_carries_out_one_message_after_another(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Two in one push: the second begins from the state that the first has left."""
    ids = list(grid.push_messages([message(0), message(1), message(0), message(0)]))
    assert len(set(ids)) == 4
    started = [call.message.metadata.message_id for call in hand.calls]
    assert started == ids[:2]
    for expected in (1, 2, 3):
        hand.answer(hand.calls[-1] if expected > 1 else hand.calls[0])
        [reply] = grid.await_replies(ids, timeout_s=0)
        assert counts([reply]) == [expected]
    assert [call.message.metadata.message_id for call in hand.calls] == [*ids[:2], *ids[2:]]
    assert [call.partition_id for call in hand.calls] == [0, 1, 0, 0]


def test_a_failed_call_leaves_the_state_and_lets_the_next_one_go(
    grid: SimulationGrid, hand: Hand
) -> None:
    """The error is an answer like others."""
    ids = list(grid.push_messages([message(), message(), message()]))
    hand.answer(hand.calls[0])
    assert counts(grid.await_replies(ids, timeout_s=0)) == [1]
    hand.answer(hand.calls[1], error="ValueError: no")
    [failed] = grid.await_replies(ids, timeout_s=0)
    assert failed.message.error.reason == "ValueError: no"
    assert failed.message.metadata.reply_to_message_id == ids[1]
    hand.answer(hand.calls[2])
    assert counts(grid.await_replies(ids, timeout_s=0)) == [2]


def test_known_durations_go_along(hand: Hand) -> None:
    """What earlier runs and earlier rounds have measured; nothing where unknown."""
    grid = SimulationGrid(job(durations_s={1: 2.5}), hand)
    ids = list(grid.push_messages([message(0), message(1)]))
    assert [call.expected_s for call in hand.calls] == [0.0, 2.5]
    for call in list(hand.calls):
        hand.answer(call)
    assert len(grid.await_replies(ids, timeout_s=0)) == 2
    grid.push_messages([message(1)])
    assert hand.calls[-1].expected_s == 0.25


def test_a_message_to_nobody_sends_none_of_its_push(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Nothing half-sent is left behind."""
    with pytest.raises(RunError, match="does not exist"):
        grid.push_messages([message(0), message(4)])
    assert hand.calls == []


# --- snapshots -------------------------------------------------------------------------


def test_messages_are_as_they_were_when_they_were_pushed(
    grid: SimulationGrid, hand: Hand
) -> None:
    """An app may use its records, arrays and messages for the next one at once."""
    values = np.zeros(3)
    content = RecordDict({"c": ConfigRecord({"lr": 0.1}), "a": ArrayRecord([values])})
    sent = message(0, content)
    [first] = grid.push_messages([sent])
    content.config_records["c"]["lr"] = 9.9
    content.array_records["a"]["0"] = Array(np.ones(3))
    content["more"] = ConfigRecord({})
    sent.metadata.dst_node_id = FIRST_NODE_ID + 1
    [second] = grid.push_messages([sent])
    assert first != second == sent.metadata.message_id
    one, two = hand.calls
    assert one.message.metadata.message_id == first
    assert [call.partition_id for call in (one, two)] == [0, 1]
    assert one.message.content.config_records["c"]["lr"] == 0.1
    assert one.message.content.array_records["a"]["0"].numpy().tolist() == [0, 0, 0]
    assert "more" not in one.message.content
    assert two.message.content.config_records["c"]["lr"] == 9.9
    for call in (one, two):
        hand.answer(call)
    replies = grid.await_replies([first, second], timeout_s=0)
    answered = {reply.message.metadata.reply_to_message_id for reply in replies}
    assert answered == {first, second}


def test_messages_of_a_round_share_one_content(grid: SimulationGrid, hand: Hand) -> None:
    """So that it is sent once; arrays are not copied."""
    content = RecordDict({"a": ArrayRecord([np.zeros(3)])})
    grid.push_messages([message(node, content) for node in range(3)])
    assert len({id(call.message.content) for call in hand.calls}) == 1
    shared = hand.calls[0].message.content.array_records["a"]["0"]
    assert backing(shared) is backing(content.array_records["a"]["0"])


def test_the_very_same_message_may_be_pushed_twice(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Each push is a message of its own."""
    same = message()
    ids = list(grid.push_messages([same, same]))
    assert len(set(ids)) == 2
    hand.answer(hand.calls[0])
    assert counts(grid.await_replies(ids, timeout_s=0)) == [1]
    hand.answer(hand.calls[1])
    assert counts(grid.await_replies(ids, timeout_s=0)) == [2]


# --- threads ---------------------------------------------------------------------------


def test_threads_push_and_wait_each_for_its_own(hand: Hand) -> None:
    """As Flower's legacy server does; each gets its reply when it is there."""
    grid = SimulationGrid(job(num_nodes=8), hand)
    got: dict[int, list[Reply]] = {}

    def serve(node: int) -> None:
        for _ in range(5):
            ids = grid.push_messages([message(node)])
            while not (found := grid.await_replies(ids, timeout_s=5)):
                pass
            got.setdefault(node, []).extend(found)

    threads = [threading.Thread(target=serve, args=(node,)) for node in range(8)]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + _PATIENCE_S
    answered = 0
    while answered < 40 and time.monotonic() < end_s:
        with hand.news:
            hand.news.wait(0.01)
            some, answered = hand.calls[answered:], len(hand.calls)
        for call in reversed(some):
            hand.answer(call)
    for thread in threads:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()
    assert {node: counts(replies) for node, replies in got.items()} == {
        node: [1, 2, 3, 4, 5] for node in range(8)
    }


def test_a_thread_that_waits_for_another_wakes_with_its_own_reply(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Not before the collecting thread's timeout, however long that is."""
    ids = list(grid.push_messages([message(0), message(1)]))
    got: dict[str, list[Reply]] = {}

    def wait(message_id: str) -> None:
        got[message_id] = grid.await_replies([message_id], timeout_s=600)

    threads = [threading.Thread(target=wait, args=(each,), daemon=True) for each in ids]
    for thread in threads:
        thread.start()
    hand.answer(hand.calls[1])
    threads[1].join(_PATIENCE_S)
    assert not threads[1].is_alive()
    assert list(got) in ([ids[1]], ids[::-1], ids)
    hand.answer(hand.calls[0])
    while len(got.get(ids[0], [])) < 1:  # it may have collected the other's reply
        threads[0].join(_PATIENCE_S)
        assert not threads[0].is_alive()
        got[ids[0]] = got[ids[0]] or grid.await_replies([ids[0]], timeout_s=_PATIENCE_S)
    assert {key: len(replies) for key, replies in got.items()} == dict.fromkeys(ids, 1)


def test_an_executor_that_fails_does_not_block_the_others(
    grid: SimulationGrid, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks next asks the executor again."""
    ids = grid.push_messages([message()])

    def fail(**_: object) -> list[ClientOutcome]:
        raise OSError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(hand, "completed", fail)
        with pytest.raises(OSError, match="no more"):
            grid.await_replies(ids, timeout_s=1)
    hand.answer(hand.calls[0])
    assert len(grid.await_replies(ids, timeout_s=1)) == 1


def test_outcomes_nobody_asked_for_change_nothing(grid: SimulationGrid, hand: Hand) -> None:
    """A call's second outcome, or one of another run."""
    ids = list(grid.push_messages([message()]))
    hand.answer(hand.calls[0])
    hand.answer(hand.calls[0])
    stranger = ClientOutcome(
        message_id="message-77",
        reply=None,
        state=RecordDict({"x": ConfigRecord({"a": 1})}),
        error="",
        started_s=0,
        duration_s=0,
    )
    hand.give(stranger)
    assert counts(grid.await_replies(ids, timeout_s=0)) == [1]
    assert grid.await_replies([*ids, "message-77"], timeout_s=0) == []
    assert set(grid.node_states()) == {FIRST_NODE_ID}


# --- nodes and states ------------------------------------------------------------------


def test_a_million_nodes_cost_nothing_until_they_are_asked_for(hand: Hand) -> None:
    """Neither to open, nor to send to one of them."""
    grid = SimulationGrid(job(num_nodes=10**12), hand)
    grid.push_messages([message(10**11)])
    assert hand.calls[0].partition_id == 10**11
    many = SimulationGrid(job(num_nodes=10**6), hand)
    nodes = many.get_node_ids()
    assert nodes == many.get_node_ids()
    assert sum(1 for _ in nodes) == 10**6


def test_states_are_kept_given_and_restored(grid: SimulationGrid, hand: Hand) -> None:
    """By node; nodes without a state are not among them."""
    assert grid.node_states() == {}
    ids = list(grid.push_messages([message(0), message(2)]))
    for call in list(hand.calls):
        hand.answer(call)
    assert len(grid.await_replies(ids, timeout_s=0)) == 2
    kept = grid.node_states()
    assert list(kept) == [FIRST_NODE_ID, FIRST_NODE_ID + 2]
    grid.restore_states({FIRST_NODE_ID + 1: kept[FIRST_NODE_ID]})
    assert set(kept) != set(grid.node_states()) == {FIRST_NODE_ID + 1}
    grid.push_messages([message(0), message(1)])
    assert [len(call.state) for call in hand.calls[-2:]] == [0, 1]


def test_a_state_does_not_keep_the_memory_of_a_reply(
    grid: SimulationGrid, hand: Hand
) -> None:
    """Its arrays are copied out of what is larger; others, and other kinds, are not."""
    memory, own = np.arange(1e6), np.arange(4.0)
    arrays = ArrayRecord()
    arrays["view"], arrays["own"] = backed(memory[:3]), backed(own)
    arrays["mine"] = Array("blob", (1,), "mine", b"\x00")
    ids = grid.push_messages([message()])
    hand.give(
        ClientOutcome(
            message_id=hand.calls[0].message.metadata.message_id,
            reply=Message(RecordDict(), reply_to=hand.calls[0].message),
            state=RecordDict({"a": arrays}),
            error="",
            started_s=0,
            duration_s=0,
        )
    )
    assert len(grid.await_replies(ids, timeout_s=0)) == 1
    kept = grid.node_states()[FIRST_NODE_ID].array_records["a"]
    assert not np.shares_memory(backing(kept["view"]), memory)
    assert backing(kept["view"]).tolist() == [0, 1, 2]
    assert backing(kept["own"]) is own
    assert kept["mine"].data == b"\x00"
