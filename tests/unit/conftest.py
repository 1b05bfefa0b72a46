"""Runs without running anything: those of a lab that have ended, and events alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.core.state import RunState
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic

if TYPE_CHECKING:  # takes long to import, and most tests need none of it
    from flip_lab.runs.recorder import Recorder
    from flip_lab.runs.run import Run


Story = Callable[..., "list[RunEvent]"]


@pytest.fixture
def lab_dir(lab_path: Path) -> LabDir:
    """Give a new lab's directory."""
    return open_lab(lab_path)


@pytest.fixture
def make_run(lab_dir: LabDir) -> Callable[..., Run]:
    """Give a maker of runs: two rounds, three clients, and a spec with these changes."""
    from flip_lab.fl.scenarios import load_scenario, scenario_to_dict
    from flip_lab.runs.recorder import Recorder
    from flip_lab.runs.run import Run
    from flip_lab.runs.spec import RunSpec
    from flip_lab.store.journal import JournalWriter

    plain = RunSpec(
        run_id="",
        name="hospitals",
        kind="scenario",
        created_s=0.0,
        seed=0,
        num_rounds=2,
        num_nodes=3,
        engine="in_process",
        federation=None,
        workers=1,
        run_config={},
        overrides={},
    )
    scenario = load_scenario("hospitals")
    made = 0

    def make(
        run_id: str,
        *,
        state: RunState = RunState.COMPLETED,
        changes: dict[str, Any] | None = None,
        rounds: int = 2,
        **spec: Any,  # noqa: ANN401  # any field of a spec
    ) -> Run:
        nonlocal made
        made += 1
        final = scenario.override(changes or {})
        asked = replace(
            plain,
            run_id=run_id,
            created_s=1_700_000_000.0 + made,
            **{"scenario": scenario_to_dict(final), **spec},
        )
        write_json_atomic(lab_dir.run_dir(run_id) / "run.json", asked.to_json())
        recorder = Recorder(run_id, JournalWriter(lab_dir, run_id))
        recorder.enter(RunState.STARTING)
        recorder.enter(RunState.RUNNING)
        for server_round in range(1, rounds + 1):
            _one_round(recorder, server_round)
        recorder.enter(state)
        recorder.close()
        return Run(lab_dir, run_id)

    return make


def _one_round(recorder: Recorder, server_round: int) -> None:
    recorder.emit(EventKind.ROUND_STARTED, {"num_rounds": 2}, server_round=server_round)
    for partition_id in range(3):
        fact = ClientFact(
            phase="train",
            node_id=partition_id + 100,
            partition_id=partition_id,
            num_examples=8,
            started_s=1.0,
            duration_s=0.5,
            bytes_down=10,
            bytes_up=20,
            metrics={"train_loss": server_round + partition_id / 10},
        )
        recorder.emit(EventKind.CLIENT, fact.body(), server_round=server_round)
    for phase, name in (("train", "train_loss"), ("evaluate", "eval_accuracy")):
        body = {"phase": phase, "scope": "federated", "name": name, "value": 0.5}
        recorder.emit(EventKind.METRIC, body, server_round=server_round)
    recorder.emit(EventKind.ROUND_ENDED, {"duration_s": 1.0}, server_round=server_round)


class Teller:
    """Writes events one after the other, as a run process would."""

    def __init__(self) -> None:
        """Begin at a fixed time."""
        self.events: list[RunEvent] = []
        self.time_s = 1_790_000_000.0

    def tell(
        self,
        kind: EventKind,
        server_round: int,
        body: dict[str, Json],
        *,
        after_s: float = 0.0,
    ) -> None:
        """Add one event, so many seconds after the one before."""
        self.time_s += after_s
        self.events.append(
            RunEvent(
                run_id="261121-194512-q7xd",
                sequence=len(self.events),
                time_s=self.time_s,
                server_round=server_round,
                kind=kind,
                body=body,
            )
        )

    def phase(
        self, server_round: int, phase: str, nodes: int, failing: frozenset[int]
    ) -> None:
        """Let all nodes work; each takes a second."""
        nodes_asked: list[Json] = list(range(nodes))
        asked: dict[str, Json] = {"node_ids": nodes_asked, "partition_ids": nodes_asked}
        self.tell(EventKind.DISPATCHED, server_round, {"phase": phase, **asked})
        for node in range(nodes):
            bad = node in failing
            fact = ClientFact(
                phase=phase,
                node_id=node,
                partition_id=node,
                num_examples=0 if bad else 10,
                started_s=self.time_s,
                duration_s=1.0,
                bytes_down=1024,
                bytes_up=2048,
                error_code=206 if bad else 0,
                error="Traceback\nValueError: <b>bad</b> data" if bad else "",
            )
            self.tell(EventKind.CLIENT, server_round, fact.body(), after_s=1.0)


@pytest.fixture
def story() -> Story:
    """Give a function that tells a run: ``story(rounds=3, nodes=4, …)``."""

    def tell(
        *,
        rounds: int = 3,
        planned: int = 10,
        nodes: int = 4,
        failing: frozenset[int] = frozenset(),
        losses: list[float] | None = None,
        end: dict[str, Json] | None = None,
    ) -> list[RunEvent]:
        teller = Teller()
        for state in ("pending", "starting", "running"):
            teller.tell(EventKind.STATE, 0, {"state": state}, after_s=0.5)
        for at in range(1, rounds + 1):
            began_s = teller.time_s
            teller.tell(EventKind.ROUND_STARTED, at, {"num_rounds": planned})
            for phase in ("train", "evaluate"):
                teller.phase(at, phase, nodes, failing)
            loss = losses[at - 1] if losses else 1 / at
            said: dict[str, Json] = {"phase": "evaluate", "scope": "federated"}
            for name, value in (("eval_loss", loss), ("eval_accuracy", 1 - loss)):
                teller.tell(EventKind.METRIC, at, {**said, "name": name, "value": value})
            lasted_s = teller.time_s - began_s
            teller.tell(EventKind.ROUND_ENDED, at, {"duration_s": lasted_s})
        if end is not None:
            teller.tell(EventKind.STATE, rounds, end)
        return teller.events

    return tell
