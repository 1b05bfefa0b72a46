"""Runs leave one lab and come into another: whole, once, or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flip_lab.core.errors import (
    AppError,
    CorruptArtifactError,
    DamagedSourceError,
    ExchangeError,
    ExportExistsError,
    FlipLabError,
    ForeignFormatError,
    IllegalTransitionError,
    MissingExtraError,
    RunExistsError,
    RunNotFoundError,
    StoreNotWritableError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.exchange import sealed
from flip_lab.exchange.parcels import Parcel
from flip_lab.runs.exports import export_runs
from flip_lab.runs.imports import import_runs
from flip_lab.runs.lab import Lab
from flip_lab.runs.packing import parcel_of
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.unpacking import keep
from flip_lab.store import query
from flip_lab.store.audit import labels, read_audit
from flip_lab.store.audit_writer import AuditWriter
from flip_lab.store.blobs import Blobs
from flip_lab.store.compaction import compact
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.schema import TABLES

RUN = "231114-221320-abcd"
FORK = "231114-221330-efgh"
WHOLE = ["flip", "parquet", "ro-crate"]
TRACKERS = ["tensorboard", "wandb"]  # MLflow takes its time: see the integration test
NAMES = ("train_loss", 'quo"te', "a//../b", "select", "損失")
ODD = (1 / 3, float("nan"), float("inf"), float("-inf"), 5e-324)
EVEN = (0.25, 0.5, 1e300, -2.0, -0.0)

State = dict[str, bytes]


def _needs(kind: str) -> None:
    package = {"ro-crate": "rocrate"}.get(kind, kind)
    if kind not in {"flip", "parquet"}:
        pytest.importorskip(package, reason=f"needs the package {package}")


def _spec(run_id: str, lab: LabDir, **values: object) -> dict[str, Any]:
    spec = RunSpec(
        run_id=run_id,
        name="trial",
        kind="app",
        created_s=1_700_000_000.0,
        seed=7,
        num_rounds=2,
        num_nodes=2,
        engine="in_process",
        federation=None,
        workers=1,
        run_config={"lr": 0.1, "clip": float("inf"), "mode": "fast"},
        overrides={"lr": 0.1},
        working_dir=str(lab.run_dir(run_id) / "app"),
        lineage={"flwr": "1.41.0", "git_commit": "abc", "git_dirty": False},
        experiment="study",
        sweep="s1",
    )
    return {**spec.to_json(), **values}


def _events(run_id: str, sha256: str) -> list[RunEvent]:
    """Give a run of two rounds that failed, was resumed after the first, and completed."""
    facts: list[tuple[EventKind, int, dict[str, Any]]] = [
        (EventKind.STATE, 0, {"state": "starting"}),
        (EventKind.STATE, 0, {"state": "running"}),
        (EventKind.LINEAGE, 0, {"data_sha256": "ab" * 32, "partition_sha256": "cd" * 32}),
        *_round(1),
        *_round(2)[:-1],
        (EventKind.STATE, 0, {"state": "failed", "code": "FLIP-305", "what": "x"}),
        (EventKind.STATE, 0, {"state": "pending", "resumed_from_round": 1}),
        (EventKind.STATE, 0, {"state": "starting"}),
        (EventKind.STATE, 0, {"state": "running"}),
        *_round(2),
        (
            EventKind.ARTIFACT,
            2,
            {"name": "model", "sha256": sha256, "size_bytes": 7, "media_type": "a/b"},
        ),
        (EventKind.STATE, 0, {"state": "completed"}),
    ]
    resumed = 3 + len(_round(1)) + len(_round(2))
    facts[resumed][2]["resumed_after"] = 2 + len(_round(1))
    return [
        RunEvent(
            run_id=run_id,
            sequence=sequence,
            time_s=1_700_000_001.0 + sequence / 7,
            server_round=server_round,
            kind=kind,
            body=body,
        )
        for sequence, (kind, server_round, body) in enumerate(facts)
    ]


def _round(at: int) -> list[tuple[EventKind, int, dict[str, Any]]]:
    values = ODD if at == 1 else EVEN
    client = {
        "phase": "train",
        "node_id": 2**63 + at,
        "partition_id": 0,
        "num_examples": 10.0,
        "started_s": 1_700_000_001.123456,
        "duration_s": 0.1,
        "bytes_down": 100,
        "bytes_up": 50,
        "metrics": dict(zip(NAMES, values, strict=True)),
        "error_code": 0,
        "error": "",
        "digest": "ef" * 16,
    }
    metrics = [
        {"phase": "train", "scope": "federated", "name": name, "value": value}
        for name, value in zip(NAMES, values, strict=True)
    ]
    return [
        (EventKind.ROUND_STARTED, at, {"num_rounds": 2}),
        (
            EventKind.DISPATCHED,
            at,
            {"phase": "train", "node_ids": [1], "partition_ids": [0]},
        ),
        (EventKind.CLIENT, at, client),
        *((EventKind.METRIC, at, body) for body in metrics),
        (EventKind.WARNING, at, {"code": "w", "message": "line\nand \x00 \u2028 é"}),
        (EventKind.ROUND_ENDED, at, {"duration_s": 0.5}),
    ]


@pytest.fixture
def lab(lab_path: Path) -> LabDir:
    """Give a lab with a resumed run and a fork of it, with files, labels and a log."""
    lab = open_lab(lab_path)
    sha256 = Blobs(lab).put(b"weights").sha256
    output = lab_path.parent / "output.log"
    output.write_text("said\n", encoding="utf-8")
    app = lab_path.parent / "made"
    (app / "app").mkdir(parents=True)
    (app / "app" / "server.py").write_text("x = 1\n", encoding="utf-8")
    (app / "app" / "run.json").write_text("{}", encoding="utf-8")  # the app’s own
    (app / "output.log").write_text("said\n", encoding="utf-8")
    parcels = [
        Parcel(
            run_id=RUN,
            spec=_spec(RUN, lab),
            events=tuple(_events(RUN, sha256)),
            tags=("good", "for the paper"),
            note="Look here.",
            folder=app,
        ),
        Parcel(
            run_id=FORK,
            spec=_spec(FORK, lab, parent_run_id=RUN, forked_at_round=1),
            events=tuple(_events(FORK, sha256)),
            log=output,
        ),
    ]
    keep(lab, parcels, source=lab_path)
    return lab


@pytest.fixture
def other(tmp_path: Path) -> LabDir:
    """Give an empty lab."""
    return open_lab(tmp_path / "other")


def _tables(lab: LabDir) -> dict[str, str]:
    """Give every table about runs as text, where NaN equals NaN."""
    return {
        name: repr(query.table(lab, name, as_="rows")) for name in TABLES if name != "audit"
    }


def _state(root: Path) -> State:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_runs_make_equal_tables(kind: str, lab: LabDir, other: LabDir) -> None:
    """Table by table; with events that a resumption superseded, NaN and the infinities."""
    _needs(kind)
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format=kind)
    assert import_runs(other, out) == [RUN, FORK]
    mine, theirs = _tables(lab), _tables(other)
    for name, rows in mine.items():
        assert theirs[name] == rows, name
    assert labels(read_audit(other))[RUN].tags == ("for the paper", "good")
    assert labels(read_audit(other))[RUN].note == "Look here."
    assert Run(other, RUN).logs() == "said\n"
    assert Run(other, FORK).spec.parent_run_id == RUN
    assert Blobs(other).get(Run(other, RUN).outcome().model_sha256) == b"weights"


@pytest.mark.parametrize("kind", TRACKERS)
def test_trackers_bring_curves_settings_and_labels_back(
    kind: str, lab: LabDir, other: LabDir
) -> None:
    """Metrics in force, parameters, labels, forks; not what no tracker has a word for."""
    _needs(kind)
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format=kind)
    assert import_runs(other, out) == [RUN, FORK]
    curves = "SELECT * EXCLUDE (sequence, time_at) FROM metrics ORDER BY ALL"
    for text in (
        curves,
        "FROM parameters ORDER BY ALL",
        "SELECT * EXCLUDE model_sha256 FROM runs ORDER BY run_id",
        "SELECT run_id, server_round, started_at, duration_s FROM rounds ORDER BY ALL",
    ):
        assert repr(query.sql(other, text, as_="rows")) == repr(
            query.sql(lab, text, as_="rows")
        )


@pytest.mark.parametrize("kind", [*WHOLE, *TRACKERS])
def test_importing_twice_changes_nothing(kind: str, lab: LabDir, other: LabDir) -> None:
    """The same ids, no duplicate, and the lab is left as it was, byte by byte."""
    _needs(kind)
    out = export_runs(lab, [RUN], other.root.parent / "out", format=kind)
    import_runs(other, out)
    before = _state(other.root)
    assert import_runs(other, out, format=kind) == [RUN]
    assert import_runs(lab, out, format=kind) == [RUN]
    assert _state(other.root) == before


@pytest.mark.parametrize("kind", [*WHOLE, *TRACKERS])
def test_another_run_of_the_same_id_is_refused(
    kind: str, lab: LabDir, other: LabDir
) -> None:
    """Nothing of the import stays, also not of the runs that would have done."""
    _needs(kind)
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format=kind)
    events = [e for e in _events(FORK, "0" * 64) if e.kind is not EventKind.METRIC]
    fewer = [
        RunEvent(
            run_id=FORK,
            sequence=at,
            time_s=e.time_s,
            server_round=e.server_round,
            kind=e.kind,
            body={k: v for k, v in e.body.items() if k != "resumed_after"},
        )
        for at, e in enumerate(events)
    ]
    parcel = Parcel(run_id=FORK, spec=_spec(FORK, other), events=tuple(fewer))
    keep(other, [parcel], source=other.root)
    before = _state(other.root)
    with pytest.raises(RunExistsError, match=FORK):
        import_runs(other, out)
    assert _state(other.root) == before


def test_a_shared_lab_gets_what_it_lacks(lab: LabDir, other: LabDir) -> None:
    """A team's lab grows; the directories of a run lead into its new home."""
    export_runs(lab, [RUN], other.root, format="flip")
    export_runs(lab, [RUN, FORK], other.root, format="flip")
    assert sorted(path.name for path in other.runs.iterdir()) == [RUN, FORK]
    assert Run(other, RUN).working_dir == other.run_dir(RUN) / "app"
    moved = open_lab(export_runs(lab, [FORK], other.root.parent / "new", format="flip"))
    assert Run(moved, FORK).working_dir == moved.run_dir(FORK) / "app"
    copied = open_lab(export_runs(other, [RUN], other.root.parent / "third", format="flip"))
    assert (copied.run_dir(RUN) / "app" / "server.py").read_text() == "x = 1\n"
    assert (copied.run_dir(RUN) / "app" / "run.json").read_text() == "{}"


@pytest.mark.parametrize("kind", [*WHOLE, *TRACKERS])
def test_an_export_never_writes_into_what_is_there(
    kind: str, lab: LabDir, tmp_path: Path
) -> None:
    """A file or a full directory stops it; an empty directory does not."""
    _needs(kind)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("x")
    with pytest.raises(ExportExistsError):
        export_runs(lab, [RUN], full, format=kind)
    with pytest.raises(ExportExistsError):
        export_runs(lab, [RUN], full / "mine", format=kind)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export_runs(lab, [RUN], empty, format=kind) == empty
    assert {path.name for path in tmp_path.iterdir() if ".tmp" in path.name} == set()


def test_wrong_questions_are_answered_with_a_code(lab: LabDir, tmp_path: Path) -> None:
    """An unknown format, no run, an unknown run, a path without anything."""
    with pytest.raises(ForeignFormatError, match="mlflow"):
        export_runs(lab, [RUN], tmp_path / "x", format="mlfow")
    with pytest.raises(RunNotFoundError):
        export_runs(lab, [], tmp_path / "x")
    with pytest.raises(RunNotFoundError):
        export_runs(lab, ["nobody"], tmp_path / "x")
    for kind in (None, "mlflow", "tensorboard", "wandb", "parquet", "ro-crate"):
        with pytest.raises(ForeignFormatError):
            import_runs(lab, tmp_path / "nothing", format=kind)
    with pytest.raises(FlipLabError, match="not a lab"):
        import_runs(lab, tmp_path / "nothing", format="flip")


def test_a_run_under_way_stays(lab: LabDir, tmp_path: Path) -> None:
    """Only ended runs travel."""
    run_id = "231114-221340-aaaa"
    events = tuple(_events(run_id, "0" * 64)[:4])
    keep(
        lab,
        [Parcel(run_id=run_id, spec=_spec(run_id, lab), events=events)],
        source=tmp_path,
    )
    (lab.run_dir(run_id) / "ended").unlink()
    with JournalLock(lab, run_id), pytest.raises(IllegalTransitionError):
        export_runs(lab, [run_id], tmp_path / "x")


class JournalLock:
    """Makes a run look alive: its process holds the lock of its directory."""

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Take nothing yet."""
        from flip_lab.runs.life_sign import held_lock

        self._held = held_lock(lab.run_dir(run_id))

    def __enter__(self) -> None:
        self._held.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._held.__exit__(None, None, None)


def test_a_damaged_model_does_not_travel(lab: LabDir, other: LabDir) -> None:
    """A kept file that was changed is noticed at export and at import."""
    whole = export_runs(lab, [RUN], other.root.parent / "whole", format="flip")
    sha256 = Run(lab, RUN).outcome().model_sha256
    for root in (lab, open_lab(whole)):
        (root.blobs / sha256[:2] / sha256).write_bytes(b"weightz")
    with pytest.raises(CorruptArtifactError):
        export_runs(lab, [RUN], other.root.parent / "out", format="flip")
    before = _state(other.root)
    with pytest.raises(CorruptArtifactError):
        import_runs(other, whole)
    assert _state(other.root) == before
    assert not (other.root.parent / "out").exists()


@pytest.mark.parametrize("kind", ["parquet", "ro-crate"])
def test_a_damaged_export_is_refused(kind: str, lab: LabDir, other: LabDir) -> None:
    """Any file of it that was cut, and nothing half imported stays."""
    _needs(kind)
    out = export_runs(lab, [RUN], other.root.parent / "out", format=kind)
    before = _state(other.root)
    for path in sorted(file for file in out.rglob("*") if file.is_file()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(FlipLabError) as caught:
            import_runs(other, out)
        assert isinstance(caught.value, DamagedSourceError), path
        path.write_bytes(whole)
    assert _state(other.root) == before


@contextmanager
def _largest_file(size_bytes: int) -> Generator[None]:
    """Let no file of this process grow beyond a size: what a full disk looks like."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kind", [*WHOLE, *TRACKERS])
def test_a_full_disk_leaves_nothing_behind(kind: str, lab: LabDir, other: LabDir) -> None:
    """At export and at import: a coded error, and no part of anything."""
    _needs(kind)
    home = other.root.parent
    whole = export_runs(lab, [RUN], home / "whole", format=kind)
    before, mine = _state(other.root), sorted(path.name for path in home.iterdir())
    with _largest_file(600), pytest.raises((StoreNotWritableError, ExchangeError)):
        export_runs(lab, [RUN], home / "out", format=kind)
    with _largest_file(600), pytest.raises(FlipLabError):
        import_runs(other, whole)
    assert _state(other.root) == before
    assert sorted(path.name for path in home.iterdir()) == mine
    assert import_runs(other, whole) == [RUN]


@pytest.mark.parametrize("kind", [*WHOLE, *TRACKERS])
def test_a_place_that_may_not_be_written(kind: str, lab: LabDir, tmp_path: Path) -> None:
    """Where a file is in the way of a directory, nobody may write, root neither."""
    _needs(kind)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreNotWritableError):
        export_runs(lab, [RUN], tmp_path / "file" / "out", format=kind)


def test_a_killed_import_can_be_done_again(lab: LabDir, other: LabDir) -> None:
    """What a kill left between two renames does not stand in the way."""
    out = export_runs(lab, [RUN], other.root.parent / "out", format="flip")
    torn = other.live_dir(RUN)
    torn.mkdir(parents=True)
    (torn / "run-x.jsonl").write_text('{"v": 1')
    assert import_runs(other, out) == [RUN]
    assert _tables(other)["metrics"] == repr(
        query.table(lab, "metrics", run_ids=[RUN], as_="rows")
    )


def test_a_failure_at_the_end_takes_all_back(
    lab: LabDir, other: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the second run's entry in the lab's log fails, the first is not kept either."""
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format="parquet")
    append = AuditWriter.append

    def fail(self: AuditWriter, action: str, **named: Any) -> object:  # noqa: ANN401  # passed on
        if named["run_ids"] == [FORK]:
            raise StoreNotWritableError("The log is full.", fix="Free some space.")
        return append(self, action, **named)

    monkeypatch.setattr(AuditWriter, "append", fail)
    with pytest.raises(StoreNotWritableError):
        import_runs(other, out)
    assert not list(other.runs.iterdir())
    assert not list(other.live.iterdir())


def test_two_imports_at_once_make_one_run(lab: LabDir, other: LabDir) -> None:
    """One of them may be told that the other was faster; nothing is lost or doubled."""
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format="parquet")

    def once(_: int) -> list[str] | str:
        try:
            return import_runs(other, out)
        except RunExistsError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(once, range(8)))
    assert [RUN, FORK] in answers
    assert all(answer in ([RUN, FORK], "FLIP-434") for answer in answers)
    assert _tables(other)["metrics"] == _tables(lab)["metrics"]
    births = [r for r in read_audit(other) if r.action == "import"]
    assert sorted(record.run_id or "" for record in births) == [RUN, FORK]


def test_a_missing_package_names_the_extra(
    lab: LabDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is left where the export should have been."""
    monkeypatch.setitem(__import__("sys").modules, "rocrate", None)
    monkeypatch.setitem(__import__("sys").modules, "rocrate.rocrate", None)
    with pytest.raises(MissingExtraError, match=r"flip-lab\[crate\]"):
        export_runs(lab, [RUN], tmp_path / "x", format="ro-crate")
    assert not (tmp_path / "x").exists()


def test_a_foreign_run_gets_the_same_id_each_time(other: LabDir, tmp_path: Path) -> None:
    """A run of another tool becomes one of ours, once; one that went on is another."""
    run = tmp_path / "mlruns" / "7" / "0a1b"
    (run / "metrics").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '7'\nname: study\n")
    (run / "meta.yaml").write_text(
        "run_id: 0a1b\nrun_name: old\nstatus: 4\nstart_time: 1700000000000\nend_time: 1\n"
    )
    (run / "metrics" / "loss").write_text("1700000000000 0.5 1\n")
    (run_id,) = import_runs(other, tmp_path / "mlruns")
    assert run_id.startswith("231114-221320-")
    assert import_runs(other, tmp_path / "mlruns") == [run_id]
    handle = Run(other, run_id)
    assert (handle.state, handle.name, handle.spec.kind) == ("failed", "old", "imported")
    assert handle.error is not None
    (run / "metrics" / "loss").write_text("1700000000000 0.5 1\n1700000000001 0.4 2\n")
    with pytest.raises(RunExistsError):
        import_runs(other, tmp_path / "mlruns")


def test_a_parcel_is_what_was_kept(lab: LabDir) -> None:
    """A run that was put into a lab comes out as it went in."""
    parcel = parcel_of(lab, Run(lab, RUN))
    expected = _events(RUN, Run(lab, RUN).outcome().model_sha256)
    assert repr(parcel.events) == repr(tuple(expected))
    assert parcel.tags == ("for the paper", "good")


def test_a_run_without_its_app_is_not_repeated(lab: LabDir, other: LabDir) -> None:
    """Parquet carries no app, and says so before anything is launched."""
    import_runs(other, export_runs(lab, [RUN], other.root.parent / "out"))
    with pytest.raises(AppError, match="without its app"):
        Lab(other.root).rerun(RUN)
    assert [path.name for path in other.runs.iterdir()] == [RUN]


def test_deleted_runs_stay_where_they_are(lab: LabDir, other: LabDir) -> None:
    """They are not exported or imported, and what is in the trash is not doubled."""
    whole = export_runs(lab, [RUN, FORK], other.root.parent / "whole", format="flip")
    mine, theirs = Lab(lab.root), Lab(other.root)
    mine.delete(FORK)
    with pytest.raises(RunNotFoundError, match="deleted"):
        export_runs(lab, [FORK], other.root.parent / "out")
    assert import_runs(other, lab.root) == [RUN]
    with pytest.raises(RunExistsError, match="trash"):
        import_runs(lab, whole)
    mine.empty_trash()
    assert import_runs(lab, whole) == [RUN, FORK]
    assert import_runs(other, whole) == [RUN, FORK]
    assert _tables(other)["metrics"] == _tables(lab)["metrics"]
    assert len(theirs.runs()) == 2


def test_sealed_runs_travel_too(lab: LabDir, other: LabDir) -> None:
    """Facts that were sealed into segments are facts like others, also after a removal."""
    before = _tables(lab)
    compact(lab, [RUN, FORK], grace_s=0)
    out = export_runs(lab, [RUN, FORK], other.root.parent / "out", format="flip")
    assert import_runs(other, out) == [RUN, FORK]
    assert _tables(other) == before
    shutil.rmtree(lab.run_dir(RUN))  # as a kill in the midst of a removal leaves it
    assert import_runs(lab, out) == [RUN, FORK]
    assert _tables(lab) == before
    compact(lab, [RUN, FORK], grace_s=0)
    assert _tables(lab) == before


def test_a_step_that_no_round_can_be_is_refused(other: LabDir, tmp_path: Path) -> None:
    """It would be lost without a word where tables have 32 bits for a round."""
    run = tmp_path / "mlruns" / "7" / "0a1b"
    (run / "metrics").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '7'\nname: study\n")
    (run / "meta.yaml").write_text("run_id: 0a1b\nstatus: 3\nstart_time: 1700000000000\n")
    (run / "metrics" / "loss").write_text("1700000000000 0.5 2147483648\n")
    with pytest.raises(ExchangeError, match="2147483648"):
        import_runs(other, tmp_path / "mlruns")
    assert not other.runs.exists() or not list(other.runs.iterdir())
    (run / "metrics" / "loss").write_text("1700000000000 0.5 2147483647\n")
    (run_id,) = import_runs(other, tmp_path / "mlruns")
    rows = query.table(other, "metrics", run_ids=[run_id], as_="rows")
    assert [row["server_round"] for row in rows] == [2**31 - 1]


@pytest.mark.parametrize("run_id", ["../../evil", "", ".", "a/b", "x" * 65, 7])
def test_an_id_that_is_a_path_is_refused(
    run_id: object, lab: LabDir, other: LabDir
) -> None:
    """A file from elsewhere cannot make us write beside the lab."""
    out = export_runs(lab, [RUN], other.root.parent / "out", format="parquet")
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace(json.dumps(RUN), json.dumps(run_id)))
    before = _state(other.root.parent)
    with pytest.raises(DamagedSourceError):
        import_runs(other, out)
    assert _state(other.root.parent) == before


def test_a_hash_that_is_a_path_is_not_followed(lab: LabDir, other: LabDir) -> None:
    """Also where the sender made the manifest to fit."""
    out = export_runs(lab, [RUN], other.root.parent / "out", format="parquet")
    table = pq.read_table(out / "events.parquet")
    sha256 = Run(lab, RUN).outcome().model_sha256
    bodies = [text.replace(sha256, "../README.md") for text in table["body"].to_pylist()]
    at = table.schema.get_field_index("body")
    pq.write_table(table.set_column(at, "body", pa.array(bodies)), out / "events.parquet")
    sealed.seal(out, {"made_as": "parquet", "runs": [RUN]})
    assert import_runs(other, out) == [RUN]
    assert not [path for path in other.blobs.rglob("*") if path.is_file()]


def test_the_next_import_clears_what_a_killed_one_left(lab: LabDir, other: LabDir) -> None:
    """What is in use, or was made a moment ago, stays."""
    old, young, used = (other.root / f".import-{name}" for name in ("old", "young", "used"))
    for folder in (old, young, used):
        (folder / "live").mkdir(parents=True)
    for folder in (old, used):
        os.utime(folder, (1, 1))
    descriptor = os.open(used, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    import_runs(other, lab.root)
    os.close(descriptor)
    assert sorted(path.name for path in other.root.glob(".import-*")) == [
        ".import-used",
        ".import-young",
    ]


@pytest.mark.parametrize("kind", ["parquet", "ro-crate", *TRACKERS])
def test_directories_of_this_machine_stay_here(
    kind: str, lab: LabDir, tmp_path: Path
) -> None:
    """What is published or uploaded names no place of who made it."""
    _needs(kind)
    out = export_runs(lab, [RUN], tmp_path / "out", format=kind)
    secret = str(lab.root.parents[1]).encode()  # of ASCII only: JSON escapes the rest
    for path in out.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path
