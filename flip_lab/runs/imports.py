"""Import runs: from another tool's files, from an export, from another lab."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from flip_lab.core.errors import (
    DamagedSourceError,
    FlipLabError,
    StoreNotWritableError,
)
from flip_lab.exchange.formats import EXTRAS, FLIP, TRACKERS, guess, known
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.records import RunRecord
from flip_lab.fl.extras import needs_extra
from flip_lab.runs.finding import visible_run_ids
from flip_lab.runs.packing import parcel_of
from flip_lab.runs.run import Run
from flip_lab.runs.unpacking import adopt, keep
from flip_lab.store.layout import LabDir, open_lab


def import_runs(
    lab: LabDir,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # the word that users look for
) -> list[str]:
    """Bring runs into a lab: all of them, or none when one will not do.

    A run that is in the lab already, and is the same, is left as it is. Runs that come
    from FLIP Lab keep their ids; other runs get an id made of theirs, the same each time.

    Args:
        lab: The lab that shall keep them.
        path: What another tool wrote, what ``export_runs`` wrote, or another lab.
        format: As for ``export_runs``; ``None`` looks what it is.

    Returns:
        The runs' ids in this lab, those that were there already included.

    Raises:
        ForeignFormatError: If there is no such format, or the path holds no such thing.
        DamagedSourceError: If it is damaged or cut short.
        NewerSourceError: If a newer version wrote it.
        RunExistsError: If the lab keeps another run of one of the ids.
        MissingExtraError: If the format needs a package that is not installed.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If the other lab cannot be read.
    """
    source = Path(path).expanduser().absolute()
    kind = guess(source) if format is None else known(format)
    with needs_extra(EXTRAS[kind], f"The format {kind}"), _explained(source):
        if kind in TRACKERS:
            return adopt(lab, _records(kind, source), source=source, kind=kind)
        return keep(lab, _parcels(kind, source), source=source, kind=kind)


def _records(kind: str, source: Path) -> list[RunRecord]:
    from flip_lab.exchange import event_files, mlflow_reading, wandb_files

    if kind == "mlflow":
        return mlflow_reading.read(source)
    reader = event_files.read if kind == "tensorboard" else wandb_files.read
    return reader(source)


def _parcels(kind: str, source: Path) -> Iterable[Parcel]:
    from flip_lab.exchange import crate, parquet

    if kind == FLIP:
        return _of_lab(open_lab(source, create=False))
    return crate.read(source) if kind == crate.MADE_AS else parquet.read(source)


def _of_lab(other: LabDir) -> Generator[Parcel]:
    for run_id in visible_run_ids(other):
        run = Run(other, run_id)
        if _has_ended(run):  # one that is under way can be imported when it has ended
            yield parcel_of(other, run)


def _has_ended(run: Run) -> bool:
    try:
        return run.state.is_final
    except StoreNotWritableError:  # its process died, and its end is not ours to write
        return False


@contextmanager
def _explained(source: Path) -> Generator[None]:
    """Turn what a library says of broken content into ours; our own errors pass.

    Raises:
        DamagedSourceError: In place of anything unforeseen.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, FlipLabError | ModuleNotFoundError):
            raise  # says enough; a foreign library may raise anything at broken bytes
        raise DamagedSourceError(
            f"{source} cannot be read ({type(error).__name__}: {error}).",
            fix="Check that you may read it, and copy it again from where it was written.",
        ) from error
