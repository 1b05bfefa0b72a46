"""Runs as FLIP Lab itself knows them: every fact, for a way back without loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flip_lab.core.errors import DamagedSourceError
from flip_lab.core.events import RunEvent

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One run, whole.

    Attributes:
        run_id: The run.
        spec: Its ``run.json``.
        events: All its events, superseded ones too, in order and from its beginning.
        tags: Its tags.
        note: What somebody noted about it.
        log: The file with what its processes printed; ``None`` without one.
        folder: Its directory in another lab, with checkpoints and app; ``None`` where
            the run comes from elsewhere.
        files: The files that it kept, by their SHA-256.
    """

    run_id: str
    spec: Mapping[str, Any]
    events: tuple[RunEvent, ...]
    tags: tuple[str, ...] = ()
    note: str = ""
    log: Path | None = None
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])


def checked_id(run_id: object) -> str:
    """Check that a run id from a file is a name, and no path out of the lab.

    Raises:
        DamagedSourceError: If it is something else.
    """
    if isinstance(run_id, str) and _ID.fullmatch(run_id):
        return run_id
    raise DamagedSourceError(
        f"{run_id!r} is no id of a run.", fix="Export the run again from its lab."
    )
