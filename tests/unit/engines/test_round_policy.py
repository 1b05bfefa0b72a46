"""Policies carried out on a Grid: who counts, who is late, and what goes on record."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.run import Run

from flip_lab.core.errors import QuorumError
from flip_lab.core.events import EventKind, Json
from flip_lab.core.notice import Notice
from flip_lab.core.policy import LATE, RoundPolicy
from flip_lab.core.ports import Control
from flip_lab.engines.base import EngineGrid, Reply
from flip_lab.engines.flower.messages import become_server, error_reply, stamp
from flip_lab.engines.round_policy import LateBefore, PolicyInForce
from flip_lab.engines.run_grid import RunGrid

NUM_NODES = 8


class Clock:
    """The time of these tests; it moves when somebody waits."""

    now_s = 0.0


class TimedGrid(EngineGrid):
    """Nodes that take a set time each, on a clock that moves when it is waited for.

    Args:
        takes_s: Seconds that each node takes; ``None``: for ever.
        broken: Nodes that answer with an error.
    """

    def __init__(
        self, takes_s: Mapping[int, float | None], broken: frozenset[int] = frozenset()
    ) -> None:
        self._run = become_server(5)
        self._takes_s = dict(takes_s)
        self._broken = broken
        self._numbers = itertools.count()
        self._sent: dict[str, tuple[Message, float]] = {}
        self.sent: list[tuple[int, RecordDict]] = []

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes."""
        return range(NUM_NODES)

    def partition_of(self, node_id: int) -> int:
        """Give a node's partition: its id."""
        return node_id

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let nodes begin."""
        ids: list[str] = []
        for message in messages:
            ids.append(f"m{next(self._numbers)}")
            stamp(message, ids[-1])
            self._sent[ids[-1]] = message, Clock.now_s
            self.sent.append((message.metadata.dst_node_id, message.content))
        return ids

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Let time pass until somebody is ready."""
        wanted = {key: self._sent[key] for key in message_ids if key in self._sent}
        ends = {
            key: sent_s + takes_s
            for key, (message, sent_s) in wanted.items()
            if (takes_s := self._takes_s[message.metadata.dst_node_id]) is not None
        }
        Clock.now_s = min(Clock.now_s + timeout_s, *ends.values(), math.inf)
        Clock.now_s = max(Clock.now_s, *(start for _, start in wanted.values()))
        ready = [key for key, end_s in ends.items() if end_s <= Clock.now_s]
        return [self._reply(key) for key in ready]

    def _reply(self, key: str) -> Reply:
        message, sent_s = self._sent.pop(key)
        node = message.metadata.dst_node_id
        records = {
            "arrays": ArrayRecord([np.full(3, float(node))]),
            "metrics": MetricRecord({"loss": 0.5, "num-examples": 8}),
        }
        reply = Message(RecordDict(records), reply_to=message)
        if node in self._broken:
            reply = error_reply(message, "ValueError: boom")
        takes_s = self._takes_s[node] or 0.0
        return Reply(message=reply, started_s=sent_s, duration_s=takes_s)


class Bench(Control):
    """A RunGrid under a policy, with all that it tells."""

    def __init__(
        self,
        policy: RoundPolicy | None,
        takes_s: Mapping[int, float | None] | None = None,
        *,
        broken: frozenset[int] = frozenset(),
        late_before: LateBefore | None = None,
    ) -> None:
        usual: dict[int, float | None] = dict.fromkeys(range(NUM_NODES), 1.0)
        self.inner = TimedGrid({**usual, **(takes_s or {})}, broken)
        self.events: list[tuple[EventKind, int, Mapping[str, Any]]] = []
        self.notices: list[Notice] = []
        self.grid = RunGrid(self.inner, emit=self._emit, control=self, seed=3)
        if policy is not None:
            self.grid.policy = PolicyInForce(
                policy, seed=3, late_before=late_before, notify=self.notices.append
            )

    def stop_requested(self) -> bool:
        """Never stop."""
        return False

    def _emit(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        self.events.append((kind, server_round, body))

    def send(
        self, nodes: Iterable[int], server_round: int = 1, phase: str = "train"
    ) -> list[int]:
        """Ask nodes as a strategy does; give who is aggregated, in order."""
        if phase == "train":
            self.grid.begin_round(server_round, 9)
        content = RecordDict(
            {"arrays": ArrayRecord([np.zeros(3)]), "config": ConfigRecord({"lr": 0.1})}
        )
        messages = [Message(content, node, phase) for node in nodes]
        replies = self.grid.send_and_receive(messages, timeout=100.0)
        return [reply.metadata.src_node_id for reply in replies]

    def rows(self) -> dict[tuple[int, int], int]:
        """Give the error code of each client fact, by round and node."""
        return {
            (number, body["node_id"]): body["error_code"]
            for kind, number, body in self.events
            if kind is EventKind.CLIENT
        }


@pytest.fixture(autouse=True)
def _timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all clocks of a Bench be its Grid's."""
    Clock.now_s = 0.0
    for module in ("base.tick_s", "run_grid.now_s", "reply_log.now_s"):
        monkeypatch.setattr(f"flip_lab.engines.{module}", lambda: Clock.now_s)


def test_a_policy_that_never_bites_changes_nothing() -> None:
    """The same replies in the same order, the same rows, and no notice."""
    plain, loose = Bench(None), Bench(RoundPolicy(deadline_s=50.0, quorum=1.0))
    assert plain.send([2, 0, 5]) == loose.send([2, 0, 5]) == [2, 0, 5]
    assert plain.rows() == loose.rows()
    assert not loose.notices


def test_a_round_closes_at_its_deadline_with_those_who_are_back() -> None:
    """Who is late is named; the others count, in order of dispatch."""
    bench = Bench(RoundPolicy(deadline_s=2.0, quorum=0.5), {1: 30.0, 4: None})
    assert bench.send([4, 3, 1, 0]) == [3, 0]
    [notice] = bench.notices
    assert notice.code == "quorum"
    assert "2 good replies of 4" in notice.message
    assert "partition 4" in notice.message
    assert "partition 1" in notice.message
    assert Clock.now_s == pytest.approx(2.0)


def test_a_straggler_is_on_record_when_it_comes_and_leaks_nowhere() -> None:
    """Its row belongs to its own round, and says how long it took."""
    bench = Bench(RoundPolicy(deadline_s=2.0), {1: 2.5})
    assert bench.send([0, 1]) == [0]
    assert (1, 1) not in bench.rows()
    assert bench.send([0, 2], server_round=2) == [0, 2]
    assert bench.rows()[1, 1] == LATE
    [late] = [b for k, _, b in bench.events if k is EventKind.CLIENT and b["error_code"]]
    assert late["duration_s"] == 2.5
    assert "it took 2.5 s" in late["error"]
    assert "closed 2.0 s" in late["error"]
    [warning] = [body for kind, _, body in bench.events if kind is EventKind.WARNING]
    assert warning["code"] == "reply_late"
    assert warning["node_id"] == 1


def test_who_never_comes_is_on_record_at_the_end() -> None:
    """A cohort has a row for each of its nodes when the run is over."""
    bench = Bench(RoundPolicy(deadline_s=2.0), {1: None})
    bench.send([0, 1])
    bench.grid.tell_missing()
    assert bench.rows() == {(1, 0): 0, (1, 1): LATE}


def test_too_few_replies_fail_the_run_and_name_who_is_missing() -> None:
    """The error tells how many were needed, who was silent and who failed."""
    policy = RoundPolicy(deadline_s=2.0, quorum=3)
    bench = Bench(policy, {1: None}, broken=frozenset({2}))
    with pytest.raises(QuorumError) as caught:
        bench.send([0, 1, 2, 3])
    what = caught.value.what
    assert "2 good replies of 4" in what
    assert "needs 3" in what
    assert "Not back by then: partition 1, node 1." in what
    assert "Failed: partition 2, node 2." in what


def test_without_a_quorum_one_reply_will_do() -> None:
    """None at all will not."""
    bench = Bench(RoundPolicy(deadline_s=2.0), {1: None})
    assert bench.send([0, 1]) == [0]
    with pytest.raises(QuorumError, match="needs 1"):
        bench.send([1], server_round=2)


def test_more_nodes_are_asked_and_the_first_replies_count() -> None:
    """Nobody is asked twice, all get the same content, the slowest are late."""
    bench = Bench(RoundPolicy(over_selection=0.5), {0: 3.0, 2: 9.0})
    counted = bench.send([0, 1, 2, 3])
    asked = [node for node, _ in bench.inner.sent]
    assert len(asked) == len(set(asked)) == 6
    assert asked[:4] == [0, 1, 2, 3]
    assert len({id(content) for _, content in bench.inner.sent}) == 1
    assert counted == [1, 3, *asked[4:]]
    assert not bench.notices
    assert "reply_late" not in [b.get("code") for _, _, b in bench.events]


def test_who_is_asked_besides_depends_on_seed_and_round_alone() -> None:
    """So a repeated run asks the same, and each round asks others."""

    def besides(server_round: int) -> list[int]:
        bench = Bench(RoundPolicy(over_selection=1.0))
        bench.send([0, 1, 2], server_round)
        return [node for node, _ in bench.inner.sent][3:]

    drawn = [besides(number) for number in range(1, 9)]
    assert drawn == [besides(number) for number in range(1, 9)]
    assert len({tuple(each) for each in drawn}) > 1


def test_replies_that_come_together_count_by_when_they_were_ready() -> None:
    """A late look at the hub must not favour those who were dispatched first."""
    bench = Bench(RoundPolicy(over_selection=1.0), dict.fromkeys(range(NUM_NODES), 1.0))
    counted = bench.send([6, 7])
    assert counted == [6, 7]
    assert sorted(bench.rows().values()) == [0, 0, LATE, LATE]


def test_an_error_is_an_answer_but_no_good_reply() -> None:
    """With over-selection a client that fails is replaced by one that does not."""
    bench = Bench(RoundPolicy(over_selection=0.5), broken=frozenset({0}))
    counted = bench.send([0, 1])
    assert counted[:2] == [0, 1]
    assert len(counted) == 3


def test_nobody_else_is_asked_where_there_is_nobody() -> None:
    """A strategy that asks everybody leaves nobody else; the user is told once."""
    bench = Bench(RoundPolicy(over_selection=0.5))
    assert bench.send(range(NUM_NODES)) == [*range(NUM_NODES)]
    bench.send(range(NUM_NODES), server_round=2)
    [notice] = bench.notices
    assert "Only 0 nodes" in notice.message


def test_evaluation_has_a_deadline_and_asks_nobody_else() -> None:
    """Over-selection is about training."""
    bench = Bench(RoundPolicy(deadline_s=2.0, over_selection=1.0), {3: 5.0})
    bench.send([0, 1])
    asked = len(bench.inner.sent)
    assert bench.send([2, 3], phase="evaluate") == [2]
    assert len(bench.inner.sent) == asked + 2


def test_a_repeated_run_counts_the_same_replies_whatever_the_clock_says() -> None:
    """Who was late is waited for by nobody and aggregated nowhere, however fast it is."""
    late: LateBefore = {(1, "train"): {901: 1, 902: 2}}
    policy = RoundPolicy(deadline_s=0.5, quorum=4)
    bench = Bench(policy, {0: 5.0}, late_before=late)
    assert bench.send([0, 1, 2, 3]) == [0, 3]
    assert bench.send([0, 1], server_round=2) == [0, 1]
    bench.grid.tell_missing()
    assert bench.rows()[1, 1] == bench.rows()[1, 2] == LATE


def test_clients_that_are_asked_one_by_one_have_a_deadline_each() -> None:
    """Flower's older server loop does so; the quorum is looked at when it aggregates."""
    bench = Bench(RoundPolicy(deadline_s=2.0, quorum=2, over_selection=1.0), {1: 9.0})
    bench.grid.begin_round(1, 3)
    content = RecordDict({"fitins.parameters": ArrayRecord([np.zeros(3)])})
    answers = [
        list(bench.grid.send_and_receive([Message(content, node, "train")], timeout=50.0))
        for node in (0, 1)
    ]
    assert [len(each) for each in answers] == [1, 0]
    assert "one by one" in bench.notices[0].message
    with pytest.raises(QuorumError, match="1 good replies of 2"):
        bench.grid.check_trained()
