"""Put runs into a lab, whole or not at all, and never twice.

They are built in a hidden directory of the lab, read back, and then renamed into place:
who looks meanwhile, or is there when the power goes, sees all of a run or none of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flip_lab.core.errors import RunExistsError
from flip_lab.core.events import in_force
from flip_lab.exchange.parcels import Parcel, checked_id
from flip_lab.exchange.records import RunRecord, Series
from flip_lab.runs.finding import hidden_run_ids
from flip_lab.runs.foreign import foreign_id, parcel_from
from flip_lab.runs.packing import series_of
from flip_lab.runs.run import Run
from flip_lab.runs.sealing import seal_ended
from flip_lab.runs.staged import build, digest, staged
from flip_lab.store.audit_writer import writing
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest

_EXISTS = "The lab keeps another run {} than {}."
_APART = "Import it into a lab of its own, or delete the run that is here first."


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
        DamagedSourceError: If an id is none.
        RunExistsError: If the lab keeps another run of one of the ids, or two of the
            runs have the same.
        StoreNotWritableError: If the lab cannot be written; then nothing was imported.
    """
    ids = [checked_id(record.run_id or foreign_id(record, kind)) for record in records]
    new: dict[str, RunRecord] = {}
    for run_id, record in zip(ids, records, strict=True):
        if run_id in new:
            mine = new[run_id].series
        elif _keeps(lab, run_id):
            mine = series_of(in_force(Run(lab, run_id).events()))
        else:
            mine = new.setdefault(run_id, record).series
        if _curves(mine) != _curves(record.series):
            raise RunExistsError(_EXISTS.format(run_id, source), fix=_APART)
    parcels = (parcel_from(record, run_id, kind) for run_id, record in new.items())
    keep(lab, parcels, source=source, kind=kind)
    return [*dict.fromkeys(ids)]


def keep(
    lab: LabDir,
    parcels: Iterable[Parcel],
    *,
    source: Path | str,
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
    with staged(lab) as stage:
        for parcel in parcels:
            ids.append(parcel.run_id)
            if not _keeps(lab, parcel.run_id):
                build(stage, parcel, home=home or lab.root)
                new.append(replace(parcel, events=()))  # they may be millions
            elif digest(Run(lab, parcel.run_id).events()) != digest(parcel.events):
                raise RunExistsError(_EXISTS.format(parcel.run_id, source), fix=_APART)
        if new:
            _publish(lab, stage, new, {"format": kind, "from": str(source)})
    if new:
        seal_ended(lab)
    return ids


def _keeps(lab: LabDir, run_id: str) -> bool:
    """Say whether the lab has a run of this id.

    Raises:
        RunExistsError: If it has, in its trash.
    """
    if not (lab.run_dir(run_id) / "run.json").exists():
        return False
    if run_id in hidden_run_ids(lab):
        raise RunExistsError(
            f"Run {run_id} is in this lab's trash.",
            fix="Take it back with lab.undelete, or import again after lab.empty_trash().",
        )
    return True


def _curves(
    several: Iterable[Series],
) -> dict[tuple[str, str, str], list[tuple[int, str]]]:
    """Give what every tracker keeps of a run; as text, where NaN equals NaN."""
    return {
        series.identity: sorted(
            (server_round, repr(value))
            for server_round, value in zip(series.rounds, series.values, strict=True)
        )
        for series in several
    }


def _publish(
    lab: LabDir, stage: LabDir, parcels: Sequence[Parcel], because: Mapping[str, Any]
) -> None:
    """Rename everything into place; a run appears with its directory, at last.

    Raises:
        RunExistsError: If somebody else imported one of the runs meanwhile.
    """
    blobs = Blobs(lab)
    for file in sorted(stage.blobs.glob("*/*")):
        blobs.put_file(file)
    _forget(lab, [parcel.run_id for parcel in parcels])
    with writing(lab) as log:  # one at a time: what lies in a run's place then is ours
        for parcel in parcels:
            if _keeps(lab, parcel.run_id):
                raise RunExistsError(
                    f"Somebody else imported run {parcel.run_id} just now.",
                    fix="Import again: runs that are there already stay as they are.",
                )
        try:
            for parcel in parcels:
                _publish_run(lab, stage, parcel.run_id)
                about = {**_about(parcel), **because}
                log.append("import", run_ids=[parcel.run_id], body=about)
        except BaseException:
            for parcel in parcels:
                shutil.rmtree(lab.run_dir(parcel.run_id), ignore_errors=True)
                shutil.rmtree(lab.live_dir(parcel.run_id), ignore_errors=True)
            raise


def _forget(lab: LabDir, run_ids: Iterable[str]) -> None:
    """Let sealed facts of runs that are not here count no more: a removal was killed."""
    manifest = read_manifest(lab)
    known = [each for each in run_ids if manifest.home(each) or manifest.parts(each)]
    stale = [run_id for run_id in known if not _keeps(lab, run_id)]
    if stale:
        from flip_lab.store.compaction import drop_runs  # loads DuckDB

        drop_runs(lab, stale)


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
