"""The files that a run keeps, by name: its model, and whatever is added to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    InvalidValueError,
    NoResultError,
    StoreBusyError,
    nearest,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.ports import Artifact
from flip_lab.core.state import RunState
from flip_lab.runs.life_sign import is_alive
from flip_lab.store import query
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.blobs import SHA256, Blobs
from flip_lab.store.events import read_events
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import compacting, read_manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]

SAFETENSORS = "application/vnd.safetensors"
"""Media type of arrays: no code can hide in them, unlike in a pickle."""

_LONGEST_NAME = 200
_ATTEMPTS = 5


def list_artifacts(
    lab: LabDir, run_id: str, *, as_: Literal["pandas", "arrow", "rows"] = "pandas"
) -> Any:  # noqa: ANN401  # pandas, Arrow or plain
    """Give the table ``artifacts`` of one run: one row for each kept file.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        as_: ``"pandas"``, ``"arrow"`` or ``"rows"``.
    """
    return query.table(lab, "artifacts", run_ids=[run_id], as_=as_)


def artifact_path(lab: LabDir, run_id: str, name: str) -> Path:
    """Say where a kept file lies, once it was compared with its hash.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        name: What the run calls the file; of several of one name, the newest. Or the
            SHA-256 of a logged image.

    Returns:
        A file that nobody may write to; other runs may keep the same.

    Raises:
        NoResultError: If the run keeps no file of this name; the names are listed.
        CorruptArtifactError: If it is gone, or no longer matches its hash.
    """
    return Blobs(lab).check(_row(lab, run_id, name)["sha256"])


def artifact_bytes(lab: LabDir, run_id: str, name: str) -> bytes:
    """Give the content of a kept file; arguments and errors as of ``artifact_path``."""
    return Blobs(lab).get(_row(lab, run_id, name)["sha256"])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file that a run keeps.

    Attributes:
        sha256: Hash of its content, by which the lab keeps it.
        media_type: What kind of file it is, if anybody said.
    """

    sha256: str
    media_type: str | None


def kept_file(lab: LabDir, run_id: str, name: str) -> KeptFile:
    """Find a kept file; its content is not looked at.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        name: See ``artifact_path``.

    Raises:
        NoResultError: If the run keeps no file of this name; the names are listed.
    """
    row = _row(lab, run_id, name)
    return KeptFile(sha256=row["sha256"], media_type=row["media_type"])


def artifact_arrays(lab: LabDir, run_id: str, name: str = "model") -> Arrays:
    """Give the arrays of a kept file, by name.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        name: What the run calls the file; ``model`` is the final model.

    Raises:
        NoResultError: If the run keeps no file of this name, or it holds no arrays.
        CorruptArtifactError: If it is gone, or no longer matches its hash.
    """
    import safetensors
    import safetensors.numpy

    row = _row(lab, run_id, name)
    if row["media_type"] != SAFETENSORS:
        raise NoResultError(
            f"{name!r} of run {run_id} holds no arrays: it is {row['media_type']}.",
            fix="Give its bytes to whatever reads such files: run.artifact(…).",
        )
    path = Blobs(lab).check(row["sha256"])
    try:
        return safetensors.numpy.load_file(path)  # pyright: ignore[reportUnknownMemberType]  # its os.PathLike lacks an argument
    except safetensors.SafetensorError as error:
        raise CorruptArtifactError(
            f"{name!r} of run {run_id} holds no arrays ({error}).",
            fix="Keep it again: run.add_artifact(…).",
        ) from error


def _row(lab: LabDir, run_id: str, name: str) -> dict[str, Any]:
    rows = list_artifacts(lab, run_id, as_="rows")
    found = [row for row in rows if row["name"] == name] or _images(lab, run_id, name)
    if not found:
        raise NoResultError(
            f"Run {run_id} keeps no file {name!r}.",
            fix=nearest(name, {row["name"] for row in rows}),
        )
    return found[-1]


def _images(lab: LabDir, run_id: str, sha256: str) -> list[dict[str, Any]]:
    """Find what was logged as an image, by its hash: its name may be that of many."""
    if not SHA256.fullmatch(sha256):
        return []
    return query.sql(
        lab,
        "SELECT sha256, 'image/png' AS media_type FROM logged "
        "WHERE run_id = ? AND sha256 = ?",
        [run_id, sha256],
        as_="rows",
    )


def add_artifact(
    lab: LabDir,
    run_id: str,
    name: str,
    what: bytes | Path | Arrays,
    *,
    media_type: str | None = None,
) -> Artifact:
    """Keep a file with a run that has ended: a figure, a table, another model.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.
        name: What to call the file; one of this name that is there is not shown any more.
        what: Its bytes; a file, which is copied without being read into memory; or
            arrays by name, which are kept as safetensors.
        media_type: What kind of file it is, such as ``"image/png"``.

    Returns:
        Hash and length of what was kept.

    Raises:
        InvalidValueError: If the name will not do.
        StoreBusyError: If the run is under way: only its own process writes it then.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If the file cannot be read.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidValueError(
            f"A kept file cannot be called {name[:_LONGEST_NAME]!r}.",
            fix=f"Give a name of 1 to {_LONGEST_NAME} characters, on one line.",
        )
    kept, kind = _put(Blobs(lab), what, media_type)
    body = {
        "name": name,
        "sha256": kept.sha256,
        "size_bytes": kept.size_bytes,
        "media_type": kind,
    }
    _tell(lab, run_id, body)
    append_audit(
        lab, "add_artifact", run_ids=[run_id], body={"name": name, "sha256": kept.sha256}
    )
    return kept


def _put(
    blobs: Blobs, what: bytes | Path | Arrays, media_type: str | None
) -> tuple[Artifact, str | None]:
    if isinstance(what, bytes):
        return blobs.put(what), media_type
    if isinstance(what, Path):
        return blobs.put_file(what), media_type
    import safetensors.numpy

    return blobs.put(safetensors.numpy.save({**what})), SAFETENSORS


def _tell(lab: LabDir, run_id: str, body: Mapping[str, Any]) -> None:
    """Add an event to a run that has ended; a sealed one is opened for it.

    Raises:
        StoreBusyError: If it is sealed again each time, or has not ended.
    """
    from flip_lab.store.compaction import reopen  # loads DuckDB

    for _ in range(_ATTEMPTS if _has_ended(lab, run_id) else 0):
        reopen(lab, run_id)
        with compacting(lab):  # nobody seals what is being written
            if read_manifest(lab).home(run_id) is not None:
                continue
            writer = JournalWriter(lab, run_id, role="keeper")
            try:
                event = RunEvent(
                    run_id=run_id,
                    sequence=writer.next_sequence,
                    time_s=now_s(),
                    server_round=0,
                    kind=EventKind.ARTIFACT,
                    body=body,
                )
                writer.append([event])
            finally:
                writer.close()
            return
    raise StoreBusyError(
        f"Run {run_id} is being written.", fix="Wait until it has ended: run.wait()."
    )


def _has_ended(lab: LabDir, run_id: str) -> bool:
    if is_alive(lab.run_dir(run_id)):
        return False
    events = read_events(lab, run_id)
    states = [event.body["state"] for event in events if event.kind is EventKind.STATE]
    return bool(states) and RunState(str(states[-1])).is_final
