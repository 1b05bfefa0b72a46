"""The fleet view over a real store: what is added up, what is asked for, what is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from flip_lab import Lab
from flip_lab.boards.fleet.nodes import worst_first
from flip_lab.boards.fleet.picture import draw_fleet
from flip_lab.boards.fleet.scope import Scope
from flip_lab.core.errors import InvalidValueError, RunNotFoundError
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.state import RunState
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.widgets.fleet import FleetView

MakeRun = Callable[..., Run]


def tell(lab: LabDir, run_id: str, *, real: bool = False, rounds: int = 3) -> Run:
    """Tell a run of five nodes: one fails, one diverges, one is excluded, one is idle.

    Args:
        lab: The lab.
        run_id: The run's id.
        real: Whether its nodes are devices of the federation *clinic*, without partitions.
        rounds: How many rounds it has.
    """
    spec = RunSpec(
        run_id=run_id,
        name="hospitals",
        kind="scenario",
        created_s=1_700_000_000.0 + ord(run_id[-1]),
        seed=0,
        num_rounds=rounds,
        num_nodes=5,
        engine="deployment" if real else "in_process",
        federation="clinic" if real else None,
        workers=1,
        run_config={},
        overrides={},
    )
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec.to_json())
    recorder = Recorder(run_id, JournalWriter(lab, run_id))
    recorder.enter(RunState.STARTING)
    recorder.enter(RunState.RUNNING)
    excluded: list[Json] = [] if real else [2]
    recorder.emit(EventKind.SETTINGS, {"excluded": excluded}, server_round=1)
    for server_round in range(1, rounds + 1):
        for node in range(4):
            for phase in ("train", "evaluate"):
                body = _reply(node, server_round, phase, real=real)
                recorder.emit(EventKind.CLIENT, body, server_round=server_round)
    recorder.enter(RunState.COMPLETED)
    recorder.close()
    return Run(lab, run_id)


def _reply(node: int, server_round: int, phase: str, *, real: bool) -> dict[str, Any]:
    fails = node == 1 and phase == "train" and server_round == 2
    value = math.nan if node == 3 else server_round / 10 + node / 100
    return ClientFact(
        phase=phase,
        node_id=2**63 + node,
        partition_id=-1 if real else node,
        num_examples=0 if fails else 40 + node,
        started_s=0.0,
        duration_s=float(node + server_round) if phase == "train" else 0.5,
        bytes_down=10,
        bytes_up=20,
        metrics={} if fails else {f"{phase}_loss": value},
        error_code=206 if fails else 0,
        error="Traceback\nMemoryError: <b>no</b> room" if fails else "",
    ).body()


@pytest.fixture
def run(lab_dir: LabDir) -> Run:
    """Give a simulated run."""
    return tell(lab_dir, "run-a")


def fleet_of(view: FleetView) -> dict[str, Any]:
    """Give what the browser has been told; it must be JSON."""
    return json.loads(json.dumps(view.fleet, allow_nan=False))


def test_each_node_is_one_row(run: Run) -> None:
    """DuckDB adds up; a node of which nothing was heard is a row, too."""
    view = FleetView(run, metric="train_loss")
    told = view.nodes.set_index("partition_id")
    assert list(told.index) == [0, 1, 2, 3, 4]
    assert list(told["condition"]) == ["fine", "failed", "excluded", "fine", "idle"]
    assert list(told["rounds"]) == [3, 3, 3, 3, 0]
    assert list(told["replies"]) == [6, 6, 6, 6, 0]
    assert list(told["failures"]) == [0, 1, 0, 0, 0]
    assert list(told["num_examples"]) == [40, 41, 42, 43, 0]
    assert list(told["mean_s"])[:4] == [2.0, 3.0, 4.0, 5.0]  # of training alone
    assert list(told["slowest_s"])[:4] == [3.0, 4.0, 5.0, 6.0]
    assert list(told["bytes_up"]) == [120, 120, 120, 120, 0]
    assert told["last_metric"][1] == pytest.approx(0.31)
    assert list(told["diverged"]) == [False, False, False, True, False]
    assert told["node_id"][2] == 2**63 + 2
    assert math.isnan(told["mean_s"][4])


def test_the_browser_is_told_the_same(run: Run) -> None:
    """NaN is a word, since JSON has none."""
    shown = fleet_of(FleetView(run, metric="train/train_loss"))
    assert shown["nodes"]["id"] == ["p0", "p1", "p2", "p3", "p4"]
    assert shown["nodes"]["metric"] == [0.3, 0.31, 0.32, None, None]
    assert shown["nodes"]["odd"] == {"3": "NaN"}
    assert shown["nodes"]["condition"] == [0, 1, 3, 0, 4]
    assert shown["metrics"] == ["evaluate/evaluate_loss", "train/train_loss"]
    assert dict(shown["conditions"])["failed at some time"] == 1
    assert dict(shown["facts"])["failures"] == "1 (4.2%)"
    assert shown["title"] == "hospitals · run-a · completed"


def test_a_lab_shows_its_newest_run_and_offers_the_others(
    run: Run, lab_dir: LabDir
) -> None:
    """Choosing another one takes a metric that it has."""
    tell(lab_dir, "run-b", rounds=1)
    view = FleetView(Lab(run.lab_path))
    assert fleet_of(view)["key"] == "run:run-b"
    keys = [each["key"] for each in fleet_of(view)["offered"]]
    assert keys == ["run:run-b", "run:run-a"]
    view.set_state({"settings": {"key": "run:run-a", "metric": "no/such"}})
    assert fleet_of(view)["key"] == "run:run-a"
    assert max(view.nodes["rounds"]) == 3
    view.set_state({"settings": {"key": "run:run-a", "metric": "train/train_loss"}})
    assert fleet_of(view)["metric"] == "train/train_loss"


def test_a_federation_adds_up_over_its_runs(lab_dir: LabDir) -> None:
    """Devices are known by their id; their history counts rounds over all runs."""
    for run_id in ("run-a", "run-b"):
        tell(lab_dir, run_id, real=True)
    tell(lab_dir, "run-c")
    view = FleetView(Lab(lab_dir.root), federation="clinic", metric="train_loss")
    assert fleet_of(view)["title"] == "clinic over 2 runs"
    assert {"key": "federation:clinic", "words": "all runs on clinic"} in fleet_of(view)[
        "offered"
    ]
    assert list(view.nodes["rounds"]) == [6, 6, 6, 6]
    node = f"n{2**63 + 1}"
    assert fleet_of(view)["nodes"]["id"][1] == node
    told = view.answer({"ask": "node", "node": node})
    assert told["x"] == [1, 2, 3, 4, 5, 6]
    assert told["round"][3] == "round 1 of run-b"
    assert told["errors"] == {"1": 206, "4": 206}
    assert [each["round"] for each in told["told"]] == [
        "round 2 of run-b",
        "round 2 of run-a",
    ]


def test_a_node_is_told_beside_its_cohort(run: Run) -> None:
    """Metric and seconds round by round, and what it raised."""
    told = FleetView(run, metric="train_loss").answer({"ask": "node", "node": "p1"})
    assert told["x"] == [1, 2, 3]
    assert told["value"]["y"] == [0.11, None, 0.31]
    assert told["value"]["middle"] == pytest.approx([0.11, 0.21, 0.31])
    assert told["seconds"]["y"] == [2.0, 3.0, 4.0]
    assert told["seconds"]["low"] == pytest.approx([1.3, 2.3, 3.3])
    assert told["errors"] == {"1": 206}
    assert told["told"][0]["last"] == "MemoryError: <b>no</b> room"
    odd = FleetView(run, metric="train_loss").answer({"ask": "node", "node": "p3"})
    assert odd["value"]["y"] == [None, None, None]
    assert odd["value"]["odd"] == {"0": "NaN", "1": "NaN", "2": "NaN"}
    absent = FleetView(run).answer({"ask": "node", "node": "p4"})
    assert absent["seconds"]["y"] == [None, None, None]
    assert absent["told"] == []


def test_long_histories_are_thinned(lab_dir: LabDir) -> None:
    """Errors stay."""
    run = tell(lab_dir, "run-l", rounds=900)
    told = FleetView(run).answer({"ask": "node", "node": "p1"})
    assert len(told["x"]) < 900
    assert 2 in told["x"]
    assert (told["x"][0], told["x"][-1]) == (1, 900)


def test_questions_are_answered_with_their_ticket(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong ones with a code."""
    view = FleetView(run)
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(view, "send", sent.append)
    for asked in (
        {"ask": "node", "node": "p1; DROP", "ticket": 1},
        {"ask": "refresh", "ticket": 2},
        {"ask": "show", "ticket": 3},
    ):
        view._hear(view, asked, [])
    view._hear(view, "no question", [])
    assert sent[0]["error"]["code"] == InvalidValueError.code
    assert sent[1:] == [{"ask": "refresh", "ticket": 2}, {"ask": "show", "ticket": 3}]


def test_refreshing_keeps_what_is_chosen(run: Run, lab_dir: LabDir) -> None:
    """A newer run does not take its place."""
    view = FleetView(Lab(run.lab_path), metric="train_loss")
    tell(lab_dir, "run-z")
    view.refresh()
    assert (fleet_of(view)["key"], fleet_of(view)["metric"]) == (
        "run:run-a",
        "train/train_loss",
    )
    assert fleet_of(view)["offered"][0]["key"] == "run:run-z"


def test_what_is_not_there_is_refused(run: Run) -> None:
    """In Python it is raised; in the browser it stands beside what was shown."""
    lab = Lab(run.lab_path)
    with pytest.raises(RunNotFoundError):
        FleetView(lab, federation="no-such")
    with pytest.raises(InvalidValueError, match="train_loss"):
        FleetView(run, metric="train_los")
    view = FleetView(run)
    view.set_state({"settings": {"key": "run:gone", "metric": ""}})
    assert fleet_of(view)["error"]["code"] == RunNotFoundError.code
    assert fleet_of(view)["key"] == "run:run-a"


def test_an_empty_lab_and_a_run_without_clients(lab_dir: LabDir, make_run: MakeRun) -> None:
    """Both are shown; the first fills with a refresh."""
    view = FleetView(Lab(lab_dir.root))
    assert "no runs here yet" in repr(view)
    assert len(view.nodes) == 0
    make_run("run-n", rounds=0)
    view.refresh()
    assert list(view.nodes["condition"]) == ["idle"] * 3
    assert "3 took no part yet" in repr(view)


def test_pages_without_widgets_get_the_worst_first(run: Run) -> None:
    """A table of who failed most, then of the slowest; the same each time."""
    view = FleetView(run)
    data = view._repr_mimebundle_()[0]
    assert data["text/plain"] == repr(view) == repr(FleetView(run))
    rows = [line for line in repr(view).splitlines() if line.startswith("  partition")]
    assert [row.split()[1] for row in rows] == ["1", "3", "2", "0", "4"]
    assert "1 of 6" in rows[0]
    assert '<section class="flip-board flip-fleet flip-card">' in data["text/html"]
    assert "<script" not in data["text/html"]


def test_of_very_many_nodes_the_worst_are_listed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note counts all of them; sums are over all, too."""
    monkeypatch.setattr("flip_lab.boards.fleet.picture.MOST_NODES", 2)
    nodes = FleetView(run).nodes
    scope = Scope(
        key="run:run-a",
        title="",
        run_ids=("run-a",),
        num_nodes=5,
        excluded=frozenset(),
        metrics=(),
        phase="train",
    )
    shown = draw_fleet(scope, nodes, "", [])
    assert shown["nodes"]["id"] == ["p1", "p3"]
    assert "Of 5 nodes 2 are listed" in shown["notes"][0]
    assert dict(cast("list[tuple[str, str]]", shown["facts"]))["nodes"] == "5"
    assert worst_first(nodes)["partition_id"].tolist() == [1, 3, 2, 0, 4]
