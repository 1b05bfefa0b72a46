"""Runs as FLIP Lab itself knows them: every fact, for a way back without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flip_lab.core.events import RunEvent


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
