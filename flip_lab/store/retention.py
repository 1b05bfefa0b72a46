"""Let go of what takes the room: the facts of single clients, and of whole runs.

Segments never change, so what goes is left out of new ones; the old ones stay for a while,
for those who still read them.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from types import MappingProxyType

import duckdb

from flip_lab.core.clock import now_s
from flip_lab.core.errors import StoreError
from flip_lab.store.database import open_database
from flip_lab.store.layout import LabDir
from flip_lab.store.manifest import Retired, Segment, compacting, publish
from flip_lab.store.rows import SEALED, quoted, sealed_rows
from flip_lab.store.sealing import rewrite
from flip_lab.store.snapshot import Snapshot

DETAILS: Mapping[str, str] = MappingProxyType(
    {
        "event": "kind IN ('dispatched', 'checkpoint', 'resource')",
        "client": "true",
        "client_metrics": "true",
    }
)
"""What a summary does without: files of a segment, and which of their rows, as SQL."""

EVERYTHING: Mapping[str, str] = MappingProxyType(dict.fromkeys(SEALED, "true"))
"""All that is sealed of a run, in the same form."""


def room_taken(
    lab: LabDir, run_ids: Iterable[str], what: Mapping[str, str]
) -> dict[str, int]:
    """Say how many bytes some of the facts of runs take.

    Args:
        lab: The lab.
        run_ids: The runs.
        what: ``DETAILS`` or ``EVERYTHING``.

    Returns:
        Bytes by run: of sealed facts their share of the files, of others the journals;
        runs without such facts are left out.

    Raises:
        StoreError: If the facts cannot be read.
    """
    wanted = frozenset(run_ids)
    snapshot = Snapshot.take(lab, wanted, with_trash=True)
    taken = {
        run_id: sum(path.stat().st_size for path in paths)
        for run_id, paths in snapshot.journals.items()
        if paths
    }
    files = [
        (segment, name)
        for segment in (*snapshot.closed, *snapshot.parts)
        for name in what
        if name in segment.files and segment.files[name].num_rows
    ]
    with _reading(lab) as connection:
        for segment, name in files:
            found = connection.execute(
                "SELECT run_id, count(*) FROM "  # noqa: S608  # our own names
                f"({sealed_rows(snapshot, name, [segment])}) WHERE {what[name]} "
                "GROUP BY run_id"
            ).fetchall()
            file = segment.files[name]
            for run_id, num_rows in found:
                share = file.size_bytes * num_rows / file.num_rows
                taken[run_id] = taken.get(run_id, 0) + round(share)
    return taken


def leave_out(lab: LabDir, run_ids: Collection[str], what: Mapping[str, str]) -> int:
    """Write segments anew without some of the facts of runs.

    Args:
        lab: The lab.
        run_ids: Runs that have ended and are sealed; others stay as they are.
        what: ``DETAILS``; or ``EVERYTHING``, of runs that the log calls removed.

    Returns:
        How many bytes the segments are smaller by. They are free once nobody reads the
        old ones any more.

    Raises:
        StoreBusyError: If another process rearranges the lab for too long.
        StoreNotWritableError: If the disk is full; then nothing has changed.
        StoreError: If the facts cannot be read.
    """
    wanted = frozenset(run_ids)
    with compacting(lab):
        snapshot = Snapshot.take(lab, with_trash=True)
        manifest = snapshot.manifest
        old = [each for each in manifest.closed if wanted & each.counting]
        if not old:
            return 0
        new = {
            each.name: _without(snapshot, each, wanted, what)
            for each in old
            if snapshot.counting(each)
        }
        names = {each.name for each in old}
        kept = [each for each in manifest.segments if each.name not in names]
        retired = [Retired(name=each.name, since_s=now_s()) for each in old]
        after = manifest.next([*kept, *new.values()], [*manifest.retired, *retired])
        publish(lab, after)
    return sum(each.size_bytes for each in old) - sum(
        each.size_bytes for each in new.values()
    )


def _without(
    snapshot: Snapshot, segment: Segment, run_ids: frozenset[str], what: Mapping[str, str]
) -> Segment:
    """Write one segment anew; runs that the log calls removed are left out anyway."""
    gone = ", ".join(map(quoted, sorted(run_ids & snapshot.counting(segment))))
    selects = {
        name: f"SELECT * FROM ({sealed_rows(snapshot, name, [segment])}) "  # noqa: S608  # our own names
        f"WHERE NOT (run_id IN ({gone}) AND {which})"
        for name, which in what.items()
        if gone
    }
    return rewrite(snapshot, segment, selects)


@contextmanager
def _reading(lab: LabDir) -> Generator[duckdb.DuckDBPyConnection]:
    """Give a database to read sealed facts with.

    Raises:
        StoreError: If DuckDB cannot read what it was asked to.
    """
    try:
        with closing(open_database()) as connection:
            yield connection
    except duckdb.Error as error:
        raise StoreError(
            f"The sealed facts of {lab.root} cannot be read.",
            fix="flip-lab doctor looks for damage; restore the lab from a backup.",
            detail=str(error),
        ) from error
