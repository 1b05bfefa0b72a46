"""The control room: each command heard once, on record, and none able to harm the run."""

from __future__ import annotations

import getpass
import json
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flwr.app import ConfigRecord

from flip_lab.core.edits import Edit
from flip_lab.core.events import EventKind, MetricSeries, RunEvent
from flip_lab.core.state import RunLife, RunState
from flip_lab.engines.settings import SettingsBook
from flip_lab.runs.commands import (
    await_answer,
    drop_wishes,
    send_command,
    waiting_commands,
)
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.replay import Replay

STORY = (RunState.PENDING, RunState.STARTING, RunState.RUNNING)


class Sink:
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep them."""
        self.events += events

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Take no notice."""

    def close(self) -> None:
        """Have nothing to let go of."""


class Nodes:
    """As much of a RunGrid as commands are checked against: five nodes, one setting."""

    def __init__(self) -> None:
        self.excluded: frozenset[int] = frozenset()
        self.settings = SettingsBook({}, lambda *_, **__: None)
        self.settings.learn("train", ConfigRecord({"learning-rate": 0.1, "epochs": 2}))
        self.settings.learn("strategy", {"min_train_nodes": 2})

    def all_node_ids(self) -> range:
        """List the nodes."""
        return range(1_000, 1_005)

    def partition_of(self, node_id: int) -> int:
        """Count from the first."""
        return node_id - 1_000

    def found(self, nodes: Mapping[int, int]) -> frozenset[int]:
        """Find them by their ids."""
        return frozenset(nodes)


class Bench:
    """A control room without its thread: commands are taken when a test says so."""

    def __init__(self, run_dir: Path, *, story: tuple[RunState, ...] = STORY) -> None:
        self.dir = run_dir
        self.sink = Sink()
        self.recorder = Recorder("run", self.sink, life=RunLife(story))
        self.room = ControlRoom(run_dir, self.recorder)

    def attached(self, *, rounds_done: int = 0) -> Bench:
        """Let the run be about to call its ServerApp."""
        nodes: Any = Nodes()  # as much as is asked
        self.room.attach(nodes, rounds_done=rounds_done)
        return self

    def do(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401  # JSON
        """Send a command, let it be taken, and give the answer."""
        key = send_command(self.dir, command, **arguments)
        self.room.look()
        return await_answer(self.dir, key, timeout_s=0)

    def told(self, kind: EventKind) -> list[dict[str, Any]]:
        """Give the bodies of what is on record, without ids."""
        self.recorder.flush()
        bodies = [dict(e.body) for e in self.sink.events if e.kind is kind]
        return [{k: v for k, v in body.items() if k != "id"} for body in bodies]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a control room of a running run."""
    made = Bench(tmp_path).attached()
    yield made
    made.recorder.close()


def test_a_stop_is_on_record_once_with_its_author(bench: Bench) -> None:
    """However often it is asked for."""
    assert not bench.room.stop_requested()
    bench.do("stop")
    bench.do("stop")
    assert bench.room.stop_requested()
    stop = {"command": "stop", "author": getpass.getuser()}
    assert bench.told(EventKind.CONTROL) == [stop]
    assert waiting_commands(bench.dir) == []


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("exclude", {"nodes": [[3, 4]]}),  # run.exclude([3, 4])
        ("include", {"nodes": 3}),
        ("set", {"values": ["epochs"]}),
        ("stop_when", {}),
        ("step", {"num_rounds": 2**64 - 1}),
    ],
)
def test_a_slip_is_refused_and_costs_no_run(
    tmp_path: Path, command: str, arguments: dict[str, Any]
) -> None:
    """It is answered at once; of a run that starts, it was waiting at the door."""
    made = Bench(tmp_path)
    key = send_command(made.dir, command, **arguments)
    made.attached()  # as the run process does, in the thread of the run
    said = await_answer(made.dir, key, timeout_s=0)
    assert said is not None
    assert said["refused"]["code"] == "FLIP-310"
    assert waiting_commands(made.dir) == []
    assert made.told(EventKind.CONTROL)[0]["refused"] == said["refused"]
    made.recorder.close()


def test_a_user_without_a_name_can_stop_a_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers run as numbers that no file knows."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nameless)
    bench.do("stop")
    assert bench.told(EventKind.CONTROL)[0]["author"] == f"user {os.getuid()}"


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"author": "me"}', "\udcff"])
def test_a_damaged_command_is_a_warning_once(bench: Bench, content: str) -> None:
    """The run goes on, and hears the next command."""
    (bench.dir / "control").mkdir()
    file = bench.dir / "control" / "1.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    bench.room.look()
    bench.room.look()
    [body] = bench.told(EventKind.WARNING)
    assert "1.json" in body["message"]
    bench.do("stop")
    assert bench.room.stop_requested()


def test_a_signal_is_a_wish_that_records_nothing_by_itself(bench: Bench) -> None:
    """It may interrupt the very thread that is recording; the next look records it."""
    bench.room.on_signal(signal.SIGTERM, None)
    assert bench.told(EventKind.CONTROL) == []
    assert bench.room.stop_requested()
    assert bench.told(EventKind.CONTROL) == [{"command": "stop", "author": "SIGTERM"}]


def test_a_command_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """No draft is ever taken for a command."""
    send_command(tmp_path, "stop")
    [file] = waiting_commands(tmp_path)
    assert set(json.loads(file.read_text())) == {"command", "author", "sent_s"}


def test_an_unknown_command_is_refused_on_record(bench: Bench) -> None:
    """A newer version may know it; this one says so."""
    assert bench.do("dance")["refused"]["code"] == "FLIP-310"
    assert bench.told(EventKind.CONTROL)[0]["refused"]["fix"].startswith("Valid: ")


def test_a_pause_closes_the_gate_and_a_resume_opens_it(bench: Bench) -> None:
    """Both are states of the run; asking twice changes nothing."""
    assert bench.do("pause") == {}
    bench.do("pause")
    assert not bench.room.gate.is_open
    assert bench.room.paused_s() > 0
    bench.do("resume")
    bench.do("resume")
    assert bench.room.gate.is_open
    states = [body["state"] for body in bench.told(EventKind.STATE)]
    assert states == ["paused", "running"]
    before_s = bench.room.paused_s()
    assert bench.room.paused_s() == before_s > 0


def test_commands_wait_until_the_run_can_judge_them(tmp_path: Path) -> None:
    """A run that is starting has no settings and no nodes yet; it can be stopped."""
    bench = Bench(tmp_path, story=STORY[:2])
    assert bench.do("set", values={"epochs": 3}) is None
    assert bench.do("pause") is None
    assert len(waiting_commands(tmp_path)) == 2
    bench.do("stop")
    assert bench.room.stop_requested()
    bench.recorder.enter(RunState.RUNNING)
    bench.attached().room.look()
    assert waiting_commands(tmp_path) == []
    told = [body["command"] for body in bench.told(EventKind.CONTROL)]
    assert told == ["stop", "set", "pause"]
    bench.recorder.close()


def test_an_edit_takes_effect_in_the_next_round(bench: Bench) -> None:
    """Whether it comes in the middle of a round or between two."""
    assert bench.do("set", values={"epochs": 3}) == {"from_round": 1}
    assert bench.room.begin_round(1).values == {"epochs": 3}
    assert bench.do("set", values={"epochs": 4}) == {"from_round": 2}
    assert bench.room.in_force().values == {"epochs": 3}
    assert bench.room.begin_round(2).values == {"epochs": 4}


def test_a_step_pauses_before_the_round_after(bench: Bench) -> None:
    """A round under way is the first that it counts; between two, the next one is."""
    bench.room.begin_round(1)
    assert bench.do("step")["pause_before"] == 2
    waiter = Thread(target=bench.room.begin_round, args=[2])
    waiter.start()
    while bench.room.gate.is_open:
        pass
    assert bench.do("step", num_rounds=3)["pause_before"] == 5
    waiter.join()
    bench.room.end_round()
    assert bench.do("step", num_rounds=2)["pause_before"] == 5
    for server_round in (3, 4):
        bench.room.begin_round(server_round)
    bench.do("stop")
    bench.room.begin_round(5)
    assert not bench.room.gate.is_open
    [first, *_] = [b for b in bench.told(EventKind.STATE) if b["state"] == "paused"]
    assert (first["author"], first["because"]) == ("flip-lab", "step done")
    assert bench.do("step", num_rounds=0)["refused"]["code"] == "FLIP-310"


def test_a_run_that_is_taken_up_counts_from_where_it_is(tmp_path: Path) -> None:
    """A fork, or a resumed run: its first round is not round 1."""
    bench = Bench(tmp_path).attached(rounds_done=5)
    assert bench.do("set", values={"epochs": 3}) == {"from_round": 6}
    assert bench.do("step", num_rounds=4)["pause_before"] == 10
    bench.recorder.close()


def test_nodes_are_named_by_id_or_partition(bench: Bench) -> None:
    """Both are numbers that a user sees; who they are is on record."""
    bench.do("exclude", nodes=[1_001, 3])
    told = bench.told(EventKind.CONTROL)[0]
    assert (told["node_ids"], told["partition_ids"]) == ([1_001, 1_003], [1, 3])
    assert bench.room.begin_round(1).excluded == {1_001: 1, 1_003: 3}
    bench.do("include", nodes=[1])
    assert bench.room.begin_round(2).excluded == {1_003: 3}


def test_nodes_that_are_about_to_be_left_out_count_when_more_are(bench: Bench) -> None:
    """Two commands in one round must not do what one is refused."""
    assert bench.do("exclude", nodes=[0, 1]) == {"from_round": 1}
    assert "waits for 2" in bench.do("exclude", nodes=[2, 3])["refused"]["what"]
    assert bench.do("exclude", nodes=[1, 2]) == {"from_round": 1}


@pytest.mark.parametrize(
    ("command", "arguments", "says"),
    [
        ("exclude", {"nodes": [7]}, "no node or partition 7"),
        ("exclude", {"nodes": []}, "No node"),
        ("exclude", {"nodes": [0, 1, 2, 3]}, "waits for 2"),
        ("set", {"values": {}}, "nothing to set"),
        ("set", {"values": {"epoch": 3}}, "no setting 'epoch'"),
        ("set", {"values": {"epochs": 2.5}}, "is no int"),
        ("set", {"values": {"learning_rate": "fast"}}, "is no float"),
        ("set", {"values": {"epochs": True}}, "is no int"),
    ],
)
def test_what_cannot_be_done_is_refused(
    bench: Bench, command: str, arguments: dict[str, Any], says: str
) -> None:
    """With a fix; and nothing of it takes effect."""
    refused = bench.do(command, **arguments)["refused"]
    assert says in refused["what"]
    assert refused["fix"]
    in_force = bench.room.begin_round(1)
    assert (in_force.values, in_force.excluded) == ({}, {})


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("break_when", {"condition": "loss is big"}),
        ("stop_when", {"rule": {"patience": 0, "metric": "x"}}),
        ("stop_when", {"rule": {"condition": "what"}}),
    ],
)
def test_a_condition_that_means_nothing_is_refused(
    bench: Bench, command: str, arguments: dict[str, Any]
) -> None:
    """A kernel of another version may have sent it."""
    assert bench.do(command, **arguments)["refused"]["code"] == "FLIP-311"


def test_at_a_break_a_client_is_left_out_of_this_very_round(bench: Bench) -> None:
    """And of later cohorts; taking it in again before going on undoes both."""
    bench.room.begin_round(4)
    dropped: list[Mapping[int, int]] = []
    waiter = Thread(target=lambda: dropped.append(bench.room.break_in(4, "why")))
    waiter.start()
    while bench.room.gate.is_open:
        pass
    assert bench.do("exclude", nodes=[2, 3]) == {"from_round": 4}
    bench.do("include", nodes=[3])
    assert bench.do("set", values={"epochs": 9}) == {"from_round": 5}
    bench.do("resume")
    waiter.join()
    assert dropped == [{1_002: 2}]
    paused = bench.told(EventKind.STATE)[0]
    assert (paused["because"], paused["broke"]) == ("why", True)
    assert bench.room.begin_round(5).excluded == {1_002: 2}
    assert bench.do("exclude", nodes=[4]) == {"from_round": 6}


def test_a_run_that_is_about_to_end_cannot_be_paused(bench: Bench) -> None:
    """It would be paused for ever."""
    bench.room.finish()
    assert bench.do("pause")["refused"]["code"] == "FLIP-310"
    assert bench.room.gate.is_open


def test_conditions_are_armed_until_they_are_cleared(bench: Bench) -> None:
    """By the id that the command was given."""
    bench.do("break_when", condition="loss is nan")
    bench.do("stop_when", rule={"budget_s": 5})
    armed = bench.room.begin_round(1).armed
    assert [edit.command for edit in armed.values()] == ["break_when", "stop_when"]
    bench.do("clear", ids=[next(iter(armed))])
    assert list(bench.room.begin_round(2).armed) == list(armed)[1:]


def edit(key: str, from_round: int, **values: float) -> Edit:
    """Set something."""
    return Edit(
        id=key,
        command="set",
        author="a",
        from_round=from_round,
        arguments={"values": values},
    )


def control_event(sequence: int, told: Edit) -> RunEvent:
    """Put an edit on record."""
    return RunEvent(
        run_id="run",
        sequence=sequence,
        time_s=0,
        server_round=0,
        kind=EventKind.CONTROL,
        body=told.body(),
    )


def test_edits_are_replayed_and_told_again_where_they_count_no_more(tmp_path: Path) -> None:
    """A resume supersedes what followed its checkpoint, never what users asked for."""
    first, second, given = edit("1", 2, a=1.0), edit("2", 5, a=2.0), edit("0", 1, b=1.0)
    resumed = RunEvent(
        run_id="run",
        sequence=3,
        time_s=0,
        server_round=0,
        kind=EventKind.STATE,
        body={"state": "pending", "resumed_after": 1},
    )
    earlier = [control_event(1, first), control_event(2, second), resumed]
    replay = Replay.of([given.body()], earlier)
    assert [each.id for each in replay.edits] == ["0", "1", "2"]
    assert [each.id for each in replay.untold] == ["0", "2"]
    room = ControlRoom(tmp_path, Recorder("run", Sink()), replay=replay)
    assert room.begin_round(4).values == {"a": 1.0, "b": 1.0}
    assert room.begin_round(5).values == {"a": 2.0, "b": 1.0}


def test_a_command_that_was_taken_before_a_kill_is_not_taken_again(tmp_path: Path) -> None:
    """Its file may have survived."""
    key = send_command(tmp_path, "set", values={"epochs": 5})
    made = Bench(tmp_path)
    made.room = ControlRoom(
        tmp_path, made.recorder, replay=Replay(edits=[edit(key, 1, epochs=5.0)])
    )
    made.attached().room.look()
    assert made.told(EventKind.CONTROL) == []
    assert waiting_commands(tmp_path) == []
    made.recorder.close()


def test_a_resume_drops_wishes_but_not_edits(tmp_path: Path) -> None:
    """What was to be done with a process that died is over."""
    send_command(tmp_path, "stop")
    key = send_command(tmp_path, "set", values={"epochs": 5})
    (tmp_path / "control" / "0.json").write_text("{")
    drop_wishes(tmp_path, frozenset({"stop", "pause", "resume", "step"}))
    assert [file.stem for file in waiting_commands(tmp_path)] == [key]
