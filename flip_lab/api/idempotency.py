"""The same request twice is one run: also when two race, and when a server dies between.

A key is reserved in a file of the lab, with the id that the run will have, before anything
is launched. Whoever comes with the same key finds either the run, or the id to launch it
under. A lock for each key keeps threads and processes apart; the kernel frees it at any
death.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import orjson
from fastapi import Header

from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError, IdempotencyError
from flip_lab.core.ids import new_run_id
from flip_lab.runs.requests import has_begun
from flip_lab.store.audit import audited
from flip_lab.store.layout import LabDir, explained, write_atomic

KEPT_S = 7 * 24 * 3600.0
"""How long a key is remembered, at least."""

IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="Names this launch: sent again with the same body, it gives the same "
        "run, also after a restart; with another body it is refused (FLIP-706). Kept for "
        "a week.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What is kept of a key.

    Attributes:
        asked: Hash of what it was used for.
        run_id: The run that it stands for.
        reserved_s: When, seconds since the Unix epoch.
    """

    asked: str
    run_id: str
    reserved_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What a request is told apart by.

    Attributes:
        person: Who asks: everybody has keys of their own.
        key: The key; ``None`` launches each time.
        asked: All that the request says, fit for JSON.
    """

    person: str
    key: str | None
    asked: object


def launch_once(lab: LabDir, once: Once, launch: Callable[[str], str]) -> tuple[str, bool]:
    """Launch, or give the run that the same request launched before.

    Args:
        lab: The lab.
        once: What the request is told apart by.
        launch: Launches a run under the id that it is given, and returns the id.

    Returns:
        The run's id, and whether it was there already.

    Raises:
        IdempotencyError: If the key was used for another request.
        StoreNotWritableError: If the key cannot be kept.
        FlipLabError: As of ``launch``; then the key is free again.
    """
    if once.key is None:
        return launch(new_run_id()), False
    name = hashlib.sha256(orjson.dumps([once.person, once.key])).hexdigest()
    path = _folder(lab) / f"{name}.json"
    with _alone(path):
        kept = _read(path)
        asked = hashlib.sha256(
            orjson.dumps(once.asked, option=orjson.OPT_SORT_KEYS)
        ).hexdigest()
        if kept is not None and kept.asked != asked:
            raise IdempotencyError(
                f"The idempotency key {once.key!r} was used for another request, which "
                f"gave the run {kept.run_id}.",
                fix="Take a new key for each launch; send the same body with the same key.",
            )
        if kept is not None and _is_launched(lab, kept.run_id):
            return kept.run_id, True
        if kept is None:
            kept = Reservation(asked=asked, run_id=new_run_id(), reserved_s=now_s())
            write_atomic(path, orjson.dumps(asdict(kept)))
        try:
            return launch(kept.run_id), False
        except FlipLabError:
            path.unlink(missing_ok=True)
            raise


def sweep(lab: LabDir) -> None:
    """Forget keys that were used long ago."""
    oldest_s = now_s() - KEPT_S
    for path in _folder(lab).glob("*.json"):
        with suppress(OSError), _alone(path):
            if path.stat().st_mtime < oldest_s:
                path.unlink()


def _is_launched(lab: LabDir, run_id: str) -> bool:
    """Say whether the run is there, or was and is gone."""
    return has_begun(lab, run_id) or run_id in audited(lab)[1]


def _folder(lab: LabDir) -> Path:
    return lab.root / "api" / "launches"


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Keep all others from this key; a few keys share a lock."""
    lock = path.with_name(f"{path.name[:2]}.lock")
    with explained(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with explained(lock):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked, not only closed: a child forked meanwhile would hold the lock.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _read(path: Path) -> Reservation | None:
    try:
        return Reservation(**orjson.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):  # none, or none of ours
        return None
