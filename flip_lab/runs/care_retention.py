"""Retention: which runs are old enough to let go of, and how much of them stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from shutil import rmtree
from typing import Any, Literal, get_args

from flip_lab.core.clock import now_s
from flip_lab.core.errors import InvalidValueError
from flip_lab.runs import life_sign
from flip_lab.runs.care import collect_unused, look_at_all
from flip_lab.runs.care_info import size_below
from flip_lab.runs.sealing import ended_runs
from flip_lab.runs.trash import empty_trash
from flip_lab.store import query
from flip_lab.store.audit_writer import writing
from flip_lab.store.compaction import compact
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import read_manifest
from flip_lab.store.retention import DETAILS, EVERYTHING, leave_out, room_taken

Keep = Literal["summary", "none"]

KEEP_TAG = "keep"
"""Runs with this tag are never let go of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was let go of, or would be.

    Attributes:
        run_ids: The runs, oldest first.
        keep: What stays of them.
        freed_bytes: How much room that frees; about, where it was only asked.
        is_done: Whether it was done.
    """

    run_ids: tuple[str, ...]
    keep: Keep
    freed_bytes: int
    is_done: bool


def prune_runs(
    lab: LabDir,
    *,
    keep_last: int | None = None,
    older_than_s: float | None = None,
    keep: Keep = "summary",
    experiment: str | None = None,
    dry_run: bool = True,
) -> Pruned:
    """Let go of what takes the room in old runs.

    ``summary`` keeps what was launched, the rounds, the metrics and their summaries, the
    kept files and the log; the facts of single clients and the checkpoints go. ``none``
    removes the runs for good, as emptying the trash does.

    Runs are left alone that are under way, that are archived or in the trash, and that
    have the tag ``keep``.

    Args:
        lab: The lab.
        keep_last: So many of the newest runs of each experiment are left alone.
        older_than_s: Only runs that ended at least so long ago, seconds.
        keep: What stays.
        experiment: Only runs of this experiment.
        dry_run: Whether to only say what would be done.

    Returns:
        What was done, or would be.

    Raises:
        InvalidValueError: If neither ``keep_last`` nor ``older_than_s`` is given, or a
            value will not do.
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the lab cannot be written.
        StoreError: If its facts cannot be read.
    """
    _check(keep_last, older_than_s, keep)
    chosen = _chosen(lab, keep_last, older_than_s, experiment)
    room = _room(lab, chosen, keep)
    chosen = [run_id for run_id in chosen if room[run_id] or keep == "none"]
    freed_bytes = sum(room[run_id] for run_id in chosen)
    if chosen and not dry_run:
        with ExitStack() as locks:
            chosen = _put_on_record(lab, _locked(lab, chosen, locks), keep)
            freed_bytes = _summarise(lab, chosen) if keep == "summary" else 0
        if keep == "none":
            freed_bytes = _remove(lab, chosen, room)
    return Pruned(
        run_ids=tuple(chosen), keep=keep, freed_bytes=freed_bytes, is_done=not dry_run
    )


def _check(keep_last: int | None, older_than_s: float | None, keep: str) -> None:
    """Refuse what would let go of more than was meant.

    Raises:
        InvalidValueError: If a value will not do.
    """
    if keep not in get_args(Keep):
        raise InvalidValueError(f"keep is {keep!r}.", fix='Write "summary" or "none".')
    if keep_last is None and older_than_s is None:
        raise InvalidValueError(
            "Nothing says which runs are old.",
            fix="Give keep_last, older_than_s, or both; keep_last=0 takes all.",
        )
    for name, value in (("keep_last", keep_last), ("older_than_s", older_than_s)):
        if value is not None and not value >= 0:
            raise InvalidValueError(f"{name} is {value!r}.", fix="Give 0 or more.")


def _chosen(
    lab: LabDir,
    keep_last: int | None,
    older_than_s: float | None,
    experiment: str | None,
) -> list[str]:
    """Give the runs that are old enough, oldest first."""
    look_at_all(lab)
    ended = {*ended_runs(lab), *read_manifest(lab).closed_runs}
    rows = query.sql(
        lab,
        "SELECT run_id, experiment, tags, is_archived, "
        "date_part('epoch', coalesce(ended_at, created_at)) AS ended_s "
        "FROM runs ORDER BY created_at DESC, run_id DESC",
        as_="rows",
    )
    newer = Counter[str]()
    found: list[str] = []
    for row in rows:
        newer[row["experiment"]] += 1
        is_wanted = experiment is None or row["experiment"] == experiment
        is_old = newer[row["experiment"]] > (keep_last or 0) and (
            older_than_s is None or now_s() - row["ended_s"] >= older_than_s
        )
        if is_wanted and is_old and row["run_id"] in ended and not _is_kept(row):
            found.append(row["run_id"])
    return found[::-1]


def _is_kept(row: Mapping[str, Any]) -> bool:
    return bool(row["is_archived"]) or KEEP_TAG in row["tags"]


def _room(lab: LabDir, run_ids: Iterable[str], keep: Keep) -> dict[str, int]:
    """Say how many bytes letting go of runs frees, about."""
    wanted = [*run_ids]
    facts = room_taken(lab, wanted, DETAILS if keep == "summary" else EVERYTHING)
    found: dict[str, int] = {}
    for run_id in wanted:
        folder = lab.run_dir(run_id)
        gone = folder / "checkpoints" if keep == "summary" else folder
        found[run_id] = facts.get(run_id, 0) + size_below(gone)
    return found


def _locked(lab: LabDir, run_ids: Sequence[str], locks: ExitStack) -> list[str]:
    """Keep runs from being resumed; one that was resumed already is left alone."""
    found: list[str] = []
    for run_id in run_ids:
        with suppress(OSError):  # its process lives
            locks.enter_context(life_sign.held_lock(lab.run_dir(run_id)))
            found.append(run_id)
    return found


def _put_on_record(lab: LabDir, run_ids: Sequence[str], keep: Keep) -> list[str]:
    """Tell the lab's log before anything is done."""
    if run_ids:
        with writing(lab) as log:
            log.append("prune", run_ids=run_ids, body={"keep": keep})
            if keep == "none":
                log.append("empty_trash", body={"run_ids": [*run_ids]})
    return [*run_ids]


def _summarise(lab: LabDir, run_ids: Collection[str]) -> int:
    """Leave out the details of runs; their locks are held. Give the bytes freed."""
    before = sum(room_taken(lab, run_ids, EVERYTHING).values())
    done = compact(lab, run_ids)  # only what is sealed can be rewritten
    sound = [run_id for run_id in run_ids if run_id not in done.damaged]
    leave_out(lab, sound, DETAILS)
    freed = before - sum(room_taken(lab, run_ids, EVERYTHING).values())
    for run_id in sound:
        folder = lab.run_dir(run_id) / "checkpoints"
        freed += size_below(folder)
        rmtree(folder, ignore_errors=True)
    return freed


def _remove(lab: LabDir, run_ids: Sequence[str], room: Mapping[str, int]) -> int:
    """Remove runs that the log calls removed, and what only they spoke of."""
    leave_out(lab, run_ids, EVERYTHING)
    empty_trash(lab, older_than_s=float("inf"))  # nothing but what is removed already
    return sum(room[run_id] for run_id in run_ids) + collect_unused(lab).freed_bytes
