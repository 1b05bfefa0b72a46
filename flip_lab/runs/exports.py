"""Export runs: into another tool's format, into Parquet, into another lab."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flip_lab.core.errors import (
    ExchangeError,
    ExportExistsError,
    FlipLabError,
    IllegalTransitionError,
    RunNotFoundError,
)
from flip_lab.exchange.formats import EXTRAS, FLIP, TRACKERS, known
from flip_lab.exchange.parquet import Bundle
from flip_lab.exchange.records import RunRecord
from flip_lab.fl.extras import needs_extra
from flip_lab.runs.finding import hidden_run_ids
from flip_lab.runs.packing import files_behind, parcel_of, record_of
from flip_lab.runs.run import Run
from flip_lab.runs.unpacking import keep
from flip_lab.store import query
from flip_lab.store.layout import LabDir, explained, open_lab
from flip_lab.store.schema import TABLES

_TIME_S: dict[str, Any] = {
    "name": "time_s",
    "sql_type": "DOUBLE",
    "unit": "s",
    "nullable": False,
    "meaning": "time_at with all its digits, seconds since 1970; what an import reads.",
}
_OF_THE_LAB = frozenset({"audit", "models"})  # they name runs, and are not about them


def export_runs(
    lab: LabDir,
    run_ids: Sequence[str],
    path: str | Path,
    *,
    format: str = "parquet",  # noqa: A002  # the word that users look for
) -> Path:
    """Write ended runs in a format that others read.

    Args:
        lab: The lab that keeps them.
        run_ids: The runs; each has ended.
        path: Where the export goes. It appears there whole or not at all; with
            ``"flip"`` it may be a lab, which then gets the runs that it has not.
        format: ``"mlflow"``, ``"tensorboard"``, ``"wandb"``, ``"parquet"``,
            ``"ro-crate"`` or ``"flip"``.

    Returns:
        The absolute path.

    Raises:
        ForeignFormatError: If there is no such format.
        RunNotFoundError: If there is no run, or the lab keeps no such run.
        IllegalTransitionError: If a run is still under way.
        ExportExistsError: If there is something at the path already.
        RunExistsError: If the other lab keeps another run of that id.
        MissingExtraError: If the format needs a package that is not installed.
        StoreNotWritableError: If the path cannot be written.
        CorruptArtifactError: If a kept file is gone, or no longer matches its hash.
        ExchangeError: If the format's own library refuses.
    """
    target = Path(path).expanduser().absolute()
    runs = _ended(lab, run_ids)
    if known(format) == FLIP and (target / "lab.json").exists():
        keep(open_lab(target), (parcel_of(lab, run) for run in runs), source=lab.root)
        return target
    with (
        _built(target, format) as draft,
        needs_extra(EXTRAS[format], f"The format {format}"),
    ):
        _write(lab, runs, draft, final=target, kind=format)
    return target


def _ended(lab: LabDir, run_ids: Sequence[str]) -> list[Run]:
    """Find the runs, each once.

    Raises:
        RunNotFoundError: If there is none, or one was deleted.
        IllegalTransitionError: If one is still under way.
    """
    wanted = dict.fromkeys(run_ids)
    if not wanted:
        raise RunNotFoundError("No run was named.", fix="lab.runs() lists the runs.")
    if deleted := sorted(wanted.keys() & hidden_run_ids(lab)):
        raise RunNotFoundError(
            f"{', '.join(deleted)} was deleted.", fix="Take it back with lab.undelete."
        )
    runs = [Run(lab, run_id) for run_id in wanted]
    for run in runs:
        if not (state := run.state).is_final:
            raise IllegalTransitionError(
                f"Run {run.run_id} is {state}; only an ended run can be exported.",
                fix="Wait until it has ended, or end it with run.stop().",
            )
    return runs


@contextmanager
def _built(target: Path, kind: str) -> Generator[Path]:
    """Give a directory that becomes the target if all goes well, and nothing if not.

    Raises:
        ExportExistsError: If there is something already.
        StoreNotWritableError: If it cannot be written.
        ExchangeError: If a library refuses.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with explained(target):
        if target.is_symlink() or (target.exists() and not _is_empty(target)):
            raise ExportExistsError(
                f"{target} exists already.",
                fix="Choose another path, or remove what is there.",
            )
        draft.mkdir(parents=True)
        try:
            yield draft
            draft.rename(target)
        except Exception as error:
            if isinstance(error, FlipLabError | OSError | ModuleNotFoundError):
                raise  # says enough; a foreign library may raise anything else
            raise ExchangeError(
                f"The runs cannot be written as {kind} ({type(error).__name__}).",
                fix="Check the space on the disk, and that the format's package has the "
                "version that constraints.txt names.",
                detail=str(error),
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write(lab: LabDir, runs: list[Run], draft: Path, *, final: Path, kind: str) -> None:
    if kind == FLIP:
        parcels = (parcel_of(lab, run) for run in runs)
        keep(open_lab(draft), parcels, source=lab.root, home=final)
        return
    records = [record_of(lab, run) for run in runs]
    if kind in TRACKERS:
        _tracker(kind, final)(records, draft)
        return
    from flip_lab.exchange import crate, parquet

    bundle = _bundle(lab, records)
    if kind == crate.MADE_AS:
        crate.write(records, bundle, draft)
    else:
        parquet.write(bundle, draft)


def _tracker(kind: str, final: Path) -> Callable[[list[RunRecord], Path], None]:
    from flip_lab.exchange import event_files, mlflow_store, wandb_files

    if kind == "mlflow":
        return lambda records, draft: mlflow_store.write(records, draft, final=final)
    return event_files.write if kind == "tensorboard" else wandb_files.write


def _bundle(lab: LabDir, records: list[RunRecord]) -> Bundle:
    ids = [record.run_id for record in records]
    tables = {
        name: table
        for name, table in TABLES.items()
        if name not in _OF_THE_LAB and "run_id" in {each.name for each in table.columns}
    }
    logs = {run_id: lab.run_dir(run_id) / "output.log" for run_id in ids}
    files: dict[str, Path] = {}
    for record in records:
        files |= files_behind(lab, record.spec or {})
        files |= {file.path.name: file.path for file in record.files}
    found = {name: query.table(lab, name, run_ids=ids, as_="arrow") for name in tables}
    columns = {
        name: [asdict(each) for each in table.columns] for name, table in tables.items()
    }
    times_s = [e.time_s for run_id in sorted(ids) for e in Run(lab, run_id).events()]
    found["events"] = found["events"].append_column(_TIME_S["name"], [times_s])
    columns["events"].append(_TIME_S)
    return Bundle(
        tables=found,
        columns=columns,
        specs={record.run_id: record.spec or {} for record in records},
        logs={run_id: log for run_id, log in logs.items() if log.is_file()},
        files=files,
    )
