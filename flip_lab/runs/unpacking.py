"""Put runs into a lab, whole or not at all, and never twice.

They are built in a hidden directory of the lab, read back, and then renamed into place:
who looks meanwhile, or is there when the power goes, sees all of a run or none of it.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from flip_lab.core.errors import DamagedSourceError, RunExistsError
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.records import RunRecord, Series
from flip_lab.exchange.sealed import sha256_of
from flip_lab.runs import life_sign
from flip_lab.runs.foreign import foreign_id, parcel_from
from flip_lab.runs.packing import series_of
from flip_lab.runs.run import Run
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.journal import RESUMER, JournalWriter
from flip_lab.store.layout import LabDir, explained, write_json_atomic

_BATCH = 5000
_EXISTS = "The lab keeps another run {} than {}."
_APART = "Import it into a lab of its own, or delete the run that is here first."
_NOT_COPIED = ("run.json", "run.lock", "ended", "control")


def adopt(
    lab: LabDir, records: Sequence[RunRecord], *, source: Path, kind: str
) -> list[str]:
    """Make runs of what trackers told.

    Args:
        lab: The lab that shall keep them.
        records: The runs.
        source: Where they come from, for messages and the lab's log.
        kind: The format.

    Returns:
        Their ids in the lab.

    Raises:
        RunExistsError: If the lab keeps another run of one of the ids.
        StoreNotWritableError: If the lab cannot be written; then nothing was imported.
    """
    ids = [record.run_id or foreign_id(record, kind) for record in records]
    new: list[Parcel] = []
    for run_id, record in zip(ids, records, strict=True):
        if not _keeps(lab, run_id):
            new.append(parcel_from(record, run_id, kind))
        elif _curves(series_of(in_force(Run(lab, run_id).events()))) != _curves(
            record.series
        ):
            raise RunExistsError(_EXISTS.format(run_id, source), fix=_APART)
    keep(lab, new, source=source, kind=kind)
    return ids


def keep(
    lab: LabDir,
    parcels: Iterable[Parcel],
    *,
    source: Path,
    kind: str = "flip",
    home: Path | None = None,
) -> list[str]:
    """Put whole runs into a lab.

    Args:
        lab: The lab that shall keep them.
        parcels: The runs.
        source: Where they come from, for messages and the lab's log.
        kind: The format.
        home: Where the lab will be, if it is built under another name.

    Returns:
        Their ids.

    Raises:
        RunExistsError: If the lab keeps another run of one of the ids.
        DamagedSourceError: If a kept file does not match its hash, or what was written
            does not read back.
        StoreNotWritableError: If the lab cannot be written; then nothing was imported.
    """
    ids: list[str] = []
    new: list[Parcel] = []
    with _staged(lab) as stage:
        for parcel in parcels:
            ids.append(parcel.run_id)
            if not _keeps(lab, parcel.run_id):
                _build(stage, parcel, home=(home or lab.root))
                new.append(parcel)
            elif _digest(Run(lab, parcel.run_id).events()) != _digest(parcel.events):
                raise RunExistsError(_EXISTS.format(parcel.run_id, source), fix=_APART)
        _publish(lab, stage, new, {"format": kind, "from": str(source)})
    return ids


def _keeps(lab: LabDir, run_id: str) -> bool:
    return (lab.run_dir(run_id) / "run.json").exists()


def _curves(several: Iterable[Series]) -> dict[tuple[str, str, str], list[tuple[int, str]]]:
    """Give what every tracker keeps of a run; as text, where NaN equals NaN."""
    return {
        series.identity: sorted(
            (server_round, repr(value))
            for server_round, value in zip(series.rounds, series.values, strict=True)
        )
        for series in several
    }


def _digest(events: Iterable[RunEvent]) -> list[tuple[int, int, str, str]]:
    """Give events in a form in which NaN equals NaN and microseconds are enough."""
    return [
        (
            event.sequence,
            event.server_round,
            event.kind.value,
            json.dumps(
                [round(event.time_s * 1e6), event.body], sort_keys=True, default=dict
            ),
        )
        for event in events
    ]


@contextmanager
def _staged(lab: LabDir) -> Generator[LabDir]:
    stage = LabDir(lab.root / f".import-{secrets.token_hex(4)}")
    with explained(lab.root):
        stage.root.mkdir()
        try:
            yield stage
        finally:
            shutil.rmtree(stage.root, ignore_errors=True)


def _build(stage: LabDir, parcel: Parcel, *, home: Path) -> None:
    """Write one run into the hidden directory.

    Raises:
        DamagedSourceError: If a kept file does not match its hash, or what was written
            does not read back.
    """
    folder = stage.run_dir(parcel.run_id)
    if parcel.folder is not None:
        hidden = shutil.ignore_patterns(*_NOT_COPIED)
        shutil.copytree(parcel.folder, folder, symlinks=True, ignore=hidden)
    else:
        folder.mkdir(parents=True)
        if parcel.log is not None:
            shutil.copyfile(parcel.log, folder / "output.log")
    write_json_atomic(folder / "run.json", _moved(parcel, home))
    _write_events(stage, parcel)
    for sha256, path in parcel.files.items():
        copy = stage.blobs / sha256[:2] / sha256
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        if sha256_of(copy) != sha256:
            raise DamagedSourceError(
                f"{path} no longer matches its hash.", fix="Copy it again, or restore it."
            )
    life_sign.mark_ended(folder)


def _moved(parcel: Parcel, home: Path) -> Mapping[str, Any]:
    """Give the spec with the directories of the run where they will be."""
    spec, old = dict(parcel.spec), parcel.folder
    place = Path(str(spec.get("working_dir") or ""))
    if old is not None and place.is_relative_to(old):
        new = LabDir(home).run_dir(parcel.run_id) / place.relative_to(old)
        spec["working_dir"] = str(new)
    return spec


def _write_events(stage: LabDir, parcel: Parcel) -> None:
    """Write the journal; what a resumer wrote must be in a file of a resumer's.

    Raises:
        DamagedSourceError: If it does not read back as it was.
    """
    for role, events in groupby(parcel.events, _role):
        several = list(events)
        writer = JournalWriter(stage, parcel.run_id, role=role)
        try:
            for begin in range(0, len(several), _BATCH):
                writer.append(several[begin : begin + _BATCH])
        finally:
            writer.close()
    (stage.live_dir(parcel.run_id) / "writer.lock").unlink(missing_ok=True)
    if _digest(Run(stage, parcel.run_id).events()) != _digest(parcel.events):
        raise DamagedSourceError(
            f"The events of run {parcel.run_id} do not read back as they were.",
            fix="Check the disk, and import the run again.",
        )


def _role(event: RunEvent) -> str:
    is_resumer = event.kind is EventKind.STATE and "resumed_after" in event.body
    return RESUMER if is_resumer else "run"


def _publish(
    lab: LabDir, stage: LabDir, parcels: Sequence[Parcel], because: Mapping[str, Any]
) -> None:
    """Rename everything into place; a run appears with its directory, at last."""
    done: list[str] = []
    try:
        for file in sorted(stage.blobs.glob("*/*")):
            place = lab.blobs / file.relative_to(stage.blobs)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)  # the same bytes, if it was there
        for parcel in parcels:
            done.append(parcel.run_id)
            _publish_run(lab, stage, parcel.run_id)
            append_audit(
                lab, "import", run_ids=[parcel.run_id], body={**_about(parcel), **because}
            )
    except BaseException:
        for run_id in done:
            shutil.rmtree(lab.run_dir(run_id), ignore_errors=True)
            shutil.rmtree(lab.live_dir(run_id), ignore_errors=True)
        raise


def _publish_run(lab: LabDir, stage: LabDir, run_id: str) -> None:
    journal = lab.live_dir(run_id)
    shutil.rmtree(journal, ignore_errors=True)  # of an import that was killed half way
    for folder in (lab.live, lab.runs):
        folder.mkdir(exist_ok=True)
    if stage.live_dir(run_id).exists():
        stage.live_dir(run_id).rename(journal)
    stage.run_dir(run_id).rename(lab.run_dir(run_id))


def _about(parcel: Parcel) -> dict[str, Any]:
    spec = parcel.spec
    return {
        "name": spec.get("name"),
        "experiment": spec.get("experiment"),
        "sweep": spec.get("sweep"),
        "tags": list(parcel.tags),
        "note": parcel.note,
    }
