"""MLflow's tracking stores, read by MLflow and by us."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import (
    DamagedSourceError,
    ForeignFormatError,
    NewerSourceError,
)
from flip_lab.exchange import mlflow_reading, mlflow_store
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import KeptFile, RunRecord, Series

CHILD = "231114-221330-wxyz"

# MLflow's imports and its SQL warn of what it will change itself
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """Give a run and its fork, with awkward names and values."""
    model = tmp_path_factory.mktemp("kept") / "model"
    model.write_bytes(b"weights")
    series = [
        Series(
            phase="train",
            scope="federated",
            name=name,
            rounds=[1, 2, 3, 4],
            times_s=[1_700_000_000.5 + at for at in range(4)],
            values=[1 / 3, math.nan, math.inf, -math.inf],
        )
        for name in ("loss", "a//../b", "a__.._b", 'quo"te', "損失", "x" * 300)
    ]
    parent = RunRecord(
        run_id="231114-221320-abcd",
        source="231114-221320-abcd",
        name="parent",
        experiment="exp",
        state="completed",
        created_s=1_700_000_000.0,
        started_s=1_700_000_000.5,
        ended_s=1_700_000_009.0,
        parameters={"strategy.name": "FedAvg", "long": "y" * 7000, "odd[name]": "1"},
        tags=("good", "paper"),
        note="Look here.",
        series=tuple(series),
        files=(KeptFile(name="../model", path=model, media_type="x/y"),),
        spec={"seed": 7},
    )
    child = replace(
        parent,
        run_id=CHILD,
        name="child",
        state="failed",
        error={"code": "FLIP-303", "what": "All failed.", "fix": "", "detail": ""},
        created_s=1_700_000_010.0,
        parent_run_id=parent.run_id,
        forked_at_round=2,
        series=(),
        files=(),
    )
    return [child, parent]


@pytest.fixture(scope="module")
def store(runs: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a tracking store with both; made once, because MLflow takes its time."""
    pytest.importorskip("mlflow", reason="needs pip install 'flip-lab[mlflow]'")
    folder = tmp_path_factory.mktemp("ein störe")
    mlflow_store.write(runs, folder, final=folder)
    return folder


@pytest.mark.slow
def test_runs_come_back(
    runs: list[RunRecord],
    store: Path,
    curves: Callable[[RunRecord], Any],
    told: Callable[[RunRecord], dict[str, object]],
) -> None:
    """Values, rounds, settings, tags and forks; times to the millisecond."""
    parent, child = mlflow_reading.read(store)
    assert told(child) == told(runs[0])
    assert told(parent) == told(runs[1])
    assert curves(parent) == curves(runs[1])
    assert {e.identity: e.times_s for e in parent.series} == {
        e.identity: e.times_s for e in runs[1].series
    }
    assert [(each.name, each.path.read_bytes()) for each in parent.files] == [
        ("../model", b"weights")
    ]


@pytest.mark.slow
def test_mlflow_reads_them(runs: list[RunRecord], store: Path) -> None:
    """MLflow's own client finds the runs, nested, with all they have."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{store / mlflow_store.DATABASE}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "exp"]
    found = {
        run.info.run_name: run for run in client.search_runs([experiment.experiment_id])
    }
    parent, child = found["parent"], found["child"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FAILED")
    assert parent.info.start_time == 1_700_000_000_500
    assert parent.data.params["strategy.name"] == "FedAvg"
    assert len(parent.data.params["long"]) == 6000
    assert parent.data.params["odd_name_"] == "1"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags["flip_lab.parent_run_id"] == runs[1].run_id
    assert child.data.tags["flip_lab.error"] == "FLIP-303: All failed."
    assert parent.data.tags["mlflow.note.content"] == "Look here."
    for key, series in keys_of(runs[1].series, clean=mlflow_store.clean_name).items():
        history = client.get_metric_history(parent.info.run_id, key)
        assert [point.step for point in history] == series.rounds
        assert history[0].value == 1 / 3
        assert math.isnan(history[1].value)
    paths = {each.path for each in client.list_artifacts(parent.info.run_id)}
    assert paths == {"0-.._model", "flip_lab.json"}


@pytest.mark.slow
def test_a_store_is_read_without_being_touched(store: Path) -> None:
    """Not a byte of somebody else's database changes."""
    database = store / mlflow_store.DATABASE
    before = database.read_bytes()
    mlflow_reading.read(database)
    assert database.read_bytes() == before


def test_a_file_store_is_read(tmp_path: Path) -> None:
    """The directory of text files that MLflow wrote for years."""
    run = tmp_path / "mlruns" / "7" / "0a1b"
    for part, name, text in (
        ("metrics", "train/loss", "1700000000000 0.5 0\n1700000001000 nan 1\n"),
        ("metrics", "acc", "1700000002000 inf 2\n"),
        ("params", "lr", "0.1"),
        ("tags", "mlflow.note.content", "hello"),
        ("tags", "team", "red"),
    ):
        file = run / part / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (run.parent / "meta.yaml").write_text("experiment_id: '7'\nname: study\n")
    (run / "meta.yaml").write_text(
        "run_id: 0a1b\nrun_name: old\nstatus: 5\nstart_time: 1700000000000\n"
        "end_time: null\nlifecycle_stage: active\n"
    )
    gone = run.parent / "ffff"
    gone.mkdir()
    (gone / "meta.yaml").write_text("run_id: ffff\nlifecycle_stage: deleted\n")
    (found,) = mlflow_reading.read(tmp_path / "mlruns")
    assert (found.source, found.name, found.experiment) == ("0a1b", "old", "study")
    assert (found.state, found.ended_s) == ("stopped", 1_700_000_002.0)
    assert (found.tags, found.note) == (("team=red",), "hello")
    assert found.parameters == {"lr": "0.1"}
    values = {each.name: list(map(repr, each.values)) for each in found.series}
    assert values == {"train/loss": ["0.5", "nan"], "acc": ["inf"]}
    (run / "metrics" / "acc").write_text("1700000002000 wat 2\n")
    with pytest.raises(DamagedSourceError, match="line 1"):
        mlflow_reading.read(tmp_path / "mlruns")


def test_other_files_are_refused(tmp_path: Path) -> None:
    """An empty directory, a text, another database, one of another layout, a torn one."""
    with pytest.raises(ForeignFormatError):
        mlflow_reading.read(tmp_path)
    database = tmp_path / "mlflow.db"
    database.write_text("no database at all, but long enough to have a head " * 20)
    with pytest.raises(ForeignFormatError):
        mlflow_reading.read(tmp_path)
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(ForeignFormatError):
        mlflow_reading.read(database)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE runs (run_uuid, experiment_id)")
        connection.execute("CREATE TABLE experiments (experiment_id, name)")
    connection.close()
    with pytest.raises(NewerSourceError):
        mlflow_reading.read(database)
    database.write_bytes(database.read_bytes()[:5000])
    with pytest.raises(DamagedSourceError):
        mlflow_reading.read(database)
