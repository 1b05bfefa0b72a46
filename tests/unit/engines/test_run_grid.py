"""The wrapper around any engine: what it records, when it stops, what it never hides."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.run import Run

from flip_lab.core.errors import ClientsFailedError, RunError
from flip_lab.core.events import EventKind, Json
from flip_lab.core.ports import Control
from flip_lab.engines import reply_log, run_grid
from flip_lab.engines.base import EngineGrid, Reply
from flip_lab.engines.flower.messages import (
    CLIENT_RAISED,
    NO_REPLY,
    become_server,
    error_reply,
    stamp,
)
from flip_lab.engines.run_grid import RunGrid, StopRun

FIRST = 100
Answer = Callable[[Message], Message | None]


def fine(message: Message, **metrics: float) -> Message:
    """Answer as a client that has trained on eight examples."""
    records = {
        "arrays": ArrayRecord([np.zeros(4)]),
        "metrics": MetricRecord({"loss": 0.5, "num-examples": 8, **metrics}),
    }
    return Message(RecordDict(records), reply_to=message)


def broken(message: Message) -> Message:
    """Answer as an engine does for a client that raised."""
    return error_reply(message, "ValueError: boom\nTraceback: deep inside")


class MemoryGrid(EngineGrid):
    """Three nodes; a client answers when it is waited for, or never.

    Args:
        answer: What a client says; ``None`` is silence.
    """

    def __init__(self, answer: Answer) -> None:
        self._run = become_server(5)
        self._answer = answer
        self._numbers = itertools.count()
        self._sent: dict[str, Message] = {}

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes."""
        return range(FIRST, FIRST + 3)

    def partition_of(self, node_id: int) -> int:
        """Count from the first node."""
        return node_id - FIRST

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep messages until they are asked for."""
        ids: list[str] = []
        for message in messages:
            ids.append(f"m{next(self._numbers)}")
            stamp(message, ids[-1])
            self._sent[ids[-1]] = message
        return ids

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Let the clients answer, the first time they are asked."""
        del timeout_s
        replies: list[Reply] = []
        for message_id in message_ids:
            message = self._sent.pop(message_id, None)
            reply = None if message is None else self._answer(message)
            if reply is not None:
                replies.append(Reply(message=reply, started_s=12.5, duration_s=0.25))
        return replies


class Bench(Control):
    """A RunGrid on a MemoryGrid, with everything it tells."""

    def __init__(self, answer: Answer = fine, *, seed: int = 3) -> None:
        self.events: list[tuple[str, int, Mapping[str, Any]]] = []
        self.stop = False
        self.grid = RunGrid(MemoryGrid(answer), emit=self._emit, control=self, seed=seed)

    def _emit(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        self.events.append((kind.value, server_round, body))

    def stop_requested(self) -> bool:
        """Say what the test wants."""
        return self.stop

    def story(self) -> list[tuple[str, int]]:
        """Give kinds and rounds; client facts and settings are left out."""
        quiet = {"client", "settings"}
        return [(kind, number) for kind, number, _ in self.events if kind not in quiet]

    def facts(self) -> list[Mapping[str, Any]]:
        """Give the client facts."""
        return [body for kind, _, body in self.events if kind == "client"]

    def send(
        self, phase: str = "train", *, timeout: float | None = None, **config: int
    ) -> list[Message]:
        """Send one message to each node, as a server loop does."""
        content = RecordDict(
            {
                "arrays": ArrayRecord([np.zeros(10)]),
                "config": ConfigRecord(dict(config)),
            }
        )
        messages = [Message(content, node, phase) for node in self.grid.get_node_ids()]
        return list(self.grid.send_and_receive(messages, timeout=timeout))


def test_every_field_of_a_client_fact_is_kept() -> None:
    """Who, what, when, how long, how much: all that a table later shows."""
    bench = Bench()
    bench.grid.begin_round(1, 1)
    bench.send()
    facts = bench.facts()
    assert [(fact["node_id"], fact["partition_id"]) for fact in facts] == [
        (100, 0),
        (101, 1),
        (102, 2),
    ]
    bytes_down, bytes_up = facts[0]["bytes_down"], facts[0]["bytes_up"]
    assert 10 * 8 <= bytes_down < 10 * 8 + 200  # the array and its .npy head
    assert 4 * 8 <= bytes_up < 4 * 8 + 200
    assert len({fact["digest"] for fact in facts}) == 1  # the same arrays from all three
    assert len(facts[0]["digest"]) == 32
    assert {key: value for key, value in facts[0].items() if key != "digest"} == {
        "phase": "train",
        "node_id": 100,
        "partition_id": 0,
        "num_examples": 8,
        "started_s": 12.5,
        "duration_s": 0.25,
        "bytes_down": bytes_down,
        "bytes_up": bytes_up,
        "metrics": {"loss": 0.5},
        "error_code": 0,
        "error": "",
    }


def test_the_weight_of_older_apps_is_understood() -> None:
    """Flower's older API spells it with an underscore."""
    bench = Bench(
        lambda message: Message(
            RecordDict({"m": MetricRecord({"num_examples": 5})}), reply_to=message
        )
    )
    bench.send()
    assert [fact["num_examples"] for fact in bench.facts()] == [5, 5, 5]
    assert bench.facts()[0]["metrics"] == {}


def test_the_cohort_is_recorded_when_it_is_sent_for() -> None:
    """Whom a round asked, in order, before anybody has answered."""
    bench = Bench()
    bench.grid.begin_round(4, 9)
    bench.send("evaluate")
    assert next(told for told in bench.events if told[0] == "dispatched") == (
        "dispatched",
        4,
        {
            "phase": "evaluate",
            "node_ids": [100, 101, 102],
            "partition_ids": [0, 1, 2],
        },
    )


def test_the_cohort_is_on_record_before_a_client_can_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers begin while the push is still under way: nobody works unasked."""
    bench = Bench()
    told_at_push: list[str] = []
    push = MemoryGrid.push_messages

    def pushed(grid: MemoryGrid, messages: Iterable[Message]) -> Iterable[str]:
        told_at_push.extend(kind for kind, _, _ in bench.events)
        return push(grid, messages)

    monkeypatch.setattr(MemoryGrid, "push_messages", pushed)
    bench.grid.begin_round(1, 1)
    bench.send()
    assert told_at_push == ["round_started", "dispatched"]


def test_a_hooked_loop_opens_and_closes_its_rounds() -> None:
    """The rounds are the loop's, whatever its messages say."""
    bench = Bench()
    for server_round in (1, 2):
        bench.grid.begin_round(server_round, 2)
        bench.send("train", **{"server-round": 77})
        bench.send("evaluate")
        bench.grid.end_round()
    expected = [
        [
            ("round_started", number),
            ("dispatched", number),
            ("dispatched", number),
            ("round_ended", number),
        ]
        for number in (1, 2)
    ]
    assert bench.story() == [*expected[0], *expected[1]]
    assert bench.events[0][2] == {"num_rounds": 2}
    assert bench.events[-1][2]["duration_s"] >= 0


@pytest.mark.parametrize("first", [1, 0, None])
def test_a_hand_written_loop_has_rounds_too(first: int | None) -> None:
    """With ``server-round`` in its messages, from 1 or from 0, or without."""
    bench = Bench()
    for passed in range(3):
        config = {} if first is None else {"server-round": first + passed}
        bench.send("train", **config)
        bench.send("evaluate", **config)
    bench.grid.end_round()
    assert [step for step in bench.story() if step[0] != "dispatched"] == [
        (kind, number) for number in (1, 2, 3) for kind in ("round_started", "round_ended")
    ]
    rounds = [number for kind, number, _ in bench.events if kind == "client"]
    assert rounds == [1] * 6 + [2] * 6 + [3] * 6
    assert bench.events[0][2] == {"num_rounds": None}


def test_an_engine_hears_the_round_of_a_message_that_names_none() -> None:
    """A client's draws depend on the round; what the app wrote itself is left alone."""
    heard: list[str] = []

    def listen(message: Message) -> Message:
        heard.append(message.metadata.group_id)
        return fine(message)

    bench = Bench(listen)
    for _ in range(2):
        bench.send("train")
    [node_id, *_] = bench.grid.get_node_ids()
    own = Message(RecordDict(), node_id, "evaluate", group_id="warm-up")
    list(bench.grid.send_and_receive([own]))
    assert heard == ["1"] * 3 + ["2"] * 3 + ["warm-up"]


def test_a_loop_that_waits_for_slow_clients_stays_in_its_round() -> None:
    """Training messages sent before any reply came belong to the same round."""
    bench = Bench()
    node_ids = list(bench.grid.get_node_ids())
    ids: list[str] = []
    for node_id in node_ids:
        ids += bench.grid.push_messages([Message(RecordDict(), node_id, "train")])
    assert len(list(bench.grid.pull_messages(ids))) == 3
    assert [number for kind, number, _ in bench.events if kind == "client"] == [1, 1, 1]


def test_a_question_before_training_belongs_to_no_round() -> None:
    """Round 0 is everything before the first round."""
    bench = Bench()
    bench.send("query")
    bench.send("train")
    assert bench.story() == [("dispatched", 0), ("round_started", 1), ("dispatched", 1)]


def test_when_all_clients_fail_the_round_fails_with_a_clients_words() -> None:
    """Flower would go on with the old model as if nothing had happened."""
    bench = Bench(broken)
    bench.grid.begin_round(2, 5)
    replies = bench.send()
    assert all(reply.has_error() for reply in replies)
    with pytest.raises(ClientsFailedError, match="All 3 clients of round 2") as caught:
        bench.grid.check_trained()
    assert "deep inside" in caught.value.detail
    assert "partition 0, node 100" in caught.value.detail
    assert {fact["error_code"] for fact in bench.facts()} == {CLIENT_RAISED}
    assert bench.facts()[0]["error"].startswith("ValueError: boom")


def test_a_hand_written_loop_whose_clients_all_fail_ends_at_the_next_round() -> None:
    """Such a loop has no place to ask in between."""
    bench = Bench(broken)
    bench.send()
    with pytest.raises(ClientsFailedError, match="round 1"):
        bench.send()


def test_a_partly_failed_round_goes_on() -> None:
    """One good reply is enough; the failures are facts."""
    bench = Bench(lambda m: broken(m) if m.metadata.dst_node_id == 101 else fine(m))
    bench.grid.begin_round(1, 1)
    bench.send()
    bench.grid.check_trained()
    bench.grid.end_round()
    assert [fact["error_code"] for fact in bench.facts()] == [0, CLIENT_RAISED, 0]
    assert bench.story()[-1] == ("round_ended", 1)


def test_failures_in_evaluation_do_not_fail_a_round() -> None:
    """The model did change."""
    bench = Bench(lambda m: fine(m) if m.metadata.message_type == "train" else broken(m))
    bench.grid.begin_round(1, 1)
    bench.send("train")
    bench.send("evaluate")
    bench.grid.end_round()
    assert bench.story()[-1] == ("round_ended", 1)


def test_silent_clients_are_recorded_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that never answered is a fact, not a gap in a table."""
    passed_s = 0.0

    def answer(message: Message) -> Message | None:
        nonlocal passed_s
        passed_s += 0.05  # the clock moves while clients are waited for, and only then
        return fine(message) if message.metadata.dst_node_id == 102 else None

    bench = Bench(answer)
    monkeypatch.setattr(bench.grid, "worked_s", lambda: passed_s)
    for module in (run_grid, reply_log):
        monkeypatch.setattr(module, "now_s", lambda: 100.0 + passed_s)
    bench.grid.begin_round(1, 1)
    replies = bench.send(timeout=0.05)
    assert [reply.metadata.src_node_id for reply in replies] == [102]
    silent = {f["node_id"]: f for f in bench.facts() if f["error_code"]}
    assert set(silent) == {100, 101}
    assert {fact["error_code"] for fact in silent.values()} == {NO_REPLY}
    assert silent[100]["duration_s"] == pytest.approx(0.15)
    assert silent[100]["bytes_down"] > 0
    assert "timeout" in silent[100]["error"]
    bench.grid.check_trained()


def test_only_silence_fails_the_round_too() -> None:
    """Without one reply the model cannot change."""
    bench = Bench(lambda _: None)
    bench.grid.begin_round(1, 1)
    bench.send(timeout=0.02)
    with pytest.raises(ClientsFailedError):
        bench.grid.end_round()


def test_a_wish_to_stop_passes_through_an_app_that_catches_everything() -> None:
    """``except Exception`` in a server loop must not swallow the user's wish."""
    bench = Bench()
    bench.stop = True

    def careless_loop() -> None:
        for _ in range(3):
            with contextlib.suppress(Exception):
                bench.send()

    with pytest.raises(StopRun):
        careless_loop()
    assert bench.events == []


def test_a_wish_to_stop_is_heard_while_waiting() -> None:
    """Between the replies of a round, not only between rounds."""
    bench = Bench(lambda _: None)
    ids = list(bench.grid.push_messages([Message(RecordDict(), FIRST, "train")]))
    assert bench.grid.await_replies(ids, timeout_s=0) == []
    bench.stop = True
    with pytest.raises(StopRun):
        bench.grid.await_replies(ids, timeout_s=0)
    with pytest.raises(StopRun):
        bench.grid.begin_round(2, 3)


def test_a_wish_to_stop_is_heard_by_an_app_that_waits_for_nodes() -> None:
    """For more than there are it would wait for ever; Flower's own threads just list."""
    bench = Bench()
    listed: list[int] = []
    bench.stop = True
    aside = Thread(target=lambda: listed.extend(bench.grid.get_node_ids()))
    aside.start()
    aside.join()
    assert len(listed) == 3
    with pytest.raises(StopRun):
        bench.grid.get_node_ids()


def test_the_servers_draws_restart_with_each_round() -> None:
    """They depend on seed and round, not on what ran before."""

    def drawn(seed: int, server_round: int, *, before: int) -> float:
        bench = Bench(seed=seed)
        random.seed(before)
        bench.grid.begin_round(server_round, 9)
        return random.random()  # noqa: S311  # the global generator is what is looked at

    assert drawn(3, 1, before=1) == drawn(3, 1, before=2)
    assert len({drawn(3, 1, before=0), drawn(3, 2, before=0), drawn(4, 1, before=0)}) == 3


def test_many_threads_may_send_at_once() -> None:
    """Flower's older server does: one thread a client."""
    bench = Bench()
    bench.grid.begin_round(1, 1)

    def one(node_id: int) -> int:
        message = Message(RecordDict(), node_id, "train")
        [reply] = bench.grid.send_and_receive([message])
        return reply.metadata.src_node_id

    nodes = [FIRST + index % 3 for index in range(60)]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(one, nodes)) == nodes
    assert sorted(fact["node_id"] for fact in bench.facts()) == sorted(nodes)


def test_a_grid_belongs_to_one_run() -> None:
    """Handing it to another one is refused, with what to do instead."""
    with pytest.raises(RunError, match="another run"):
        Bench().grid.set_run(6)
