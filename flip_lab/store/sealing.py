"""Turn journals into segments: Parquet files, sorted, that never change.

The order of steps is what makes a kill harmless: write under another name, rename, publish
the manifest, and only then remove what was sealed. Before the manifest is published the
journals count, after it the segment; what a kill leaves behind is never read, and the next
who seals removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import xxhash

from flip_lab.core.errors import CorruptArtifactError, StoreError
from flip_lab.core.events import superseded_spans
from flip_lab.store.database import open_database
from flip_lab.store.frames import is_sound, parse
from flip_lab.store.journal import resumer_events
from flip_lab.store.layout import LabDir, explained, sync_directory, write_json_atomic
from flip_lab.store.manifest import (
    SELF,
    Manifest,
    SealedFile,
    Segment,
    manifest_path,
    publish,
)
from flip_lab.store.rows import SEALED, make_rows, quoted, read_journals, sealed_rows
from flip_lab.store.schema import TABLES
from flip_lab.store.schema_parts import SCHEMA
from flip_lab.store.selects import KEPT, MOMENT, SELECTS
from flip_lab.store.snapshot import Snapshot
from flip_lab.store.tables import make_facts

_PARTS = tuple(name for name in SEALED if name not in KEPT)
_SUM_BYTES = 2**22
_ROWS_OF_A_GROUP = 2**15
"""A quarter of what is usual: one run of many is then read in a third of the time, and
neither a file's size nor a look through all of it suffers."""


def seal_runs(snapshot: Snapshot) -> Segment:
    """Write a segment of runs that have ended; nothing counts differently yet.

    Args:
        snapshot: The runs to seal; nobody writes them any more.

    Raises:
        CorruptArtifactError: If a journal is damaged; it stays as it is.
        StoreNotWritableError: If the segment cannot be written.
    """
    for run_id, paths in snapshot.journals.items():
        first = max((part.last for part in snapshot.manifest.parts(run_id)), default=-1) + 1
        _check(run_id, paths, first=first)
    with _database(snapshot.lab) as connection:
        make_facts(connection, snapshot)
        make_rows(connection, snapshot, _PARTS)
        read_journals(connection, snapshot, _PARTS)
        selects = {part: f"FROM inside.open_{part}" for part in _PARTS}
        selects |= {name: SELECTS[name] for name in KEPT}
        blank = Segment(name="", run_ids=tuple(sorted(snapshot.journals)), files={})
        return _write(connection, snapshot.lab, selects, blank)


def seal_part(snapshot: Snapshot, run_id: str, paths: Sequence[Path]) -> Segment:
    """Write a segment of journal files that are full, of a run that goes on.

    Args:
        snapshot: The run.
        run_id: Its id.
        paths: Files that are written no more.

    Raises:
        CorruptArtifactError: If one is damaged; it stays as it is.
        StoreNotWritableError: If the segment cannot be written.
    """
    last = max(_check(run_id, [path]) for path in paths)
    part = snapshot.only({run_id: list(paths)})
    with _database(snapshot.lab) as connection:
        make_rows(connection, part, _PARTS)
        read_journals(connection, part, _PARTS)
        selects = {name: f"FROM inside.open_{name}" for name in _PARTS}
        blank = Segment(
            name="",
            run_ids=(run_id,),
            is_open=True,
            sources=tuple(path.name for path in paths),
            spans=tuple(superseded_spans(resumer_events(paths))),
            last=last,
            files={},
        )
        return _write(connection, snapshot.lab, selects, blank)


def merge(
    snapshot: Snapshot, segments: Sequence[Segment], run_ids: Iterable[str]
) -> Segment:
    """Write one segment with what counts in several; nothing counts differently yet.

    Args:
        snapshot: Which runs count.
        segments: Segments of ended runs.
        run_ids: The runs to take over.

    Raises:
        StoreNotWritableError: If the segment cannot be written.
        StoreError: If one cannot be read.
    """
    with _database(snapshot.lab) as connection:
        selects = {name: sealed_rows(snapshot, name, segments) for name in SEALED}
        level = max(each.level for each in segments) + 1
        blank = Segment(name="", level=level, run_ids=tuple(sorted(run_ids)), files={})
        return _write(connection, snapshot.lab, selects, blank)


def rewrite(snapshot: Snapshot, segment: Segment, selects: Mapping[str, str]) -> Segment:
    """Write a segment anew with other rows; nothing counts differently yet.

    Args:
        snapshot: Which runs count.
        segment: The segment.
        selects: What some of its files hold from now on, as SQL, such as
            ``make_anew(name)``; the others stay.

    Raises:
        StoreNotWritableError: If it cannot be written.
        StoreError: If the old one cannot be read.
    """
    runs = snapshot.counting(segment)
    with _database(snapshot.lab) as connection:
        rows = {
            name: sealed_rows(snapshot, name, [segment])
            for name in segment.files
            if name not in selects
        }
        if any(selects[name] == SELECTS[name] for name in selects if name in KEPT):
            make_facts(connection, replace(snapshot, journals={run: [] for run in runs}))
            for part in _PARTS:
                facts = selects.get(part) or rows[part]
                connection.execute(f"CREATE VIEW inside.open_{part} AS {facts}")
        blank = replace(segment, run_ids=tuple(sorted(runs)), without=(), schema=SCHEMA)
        return _write(connection, snapshot.lab, {**rows, **selects}, blank)


def make_anew(name: str) -> str:
    """Give the SQL that makes one file of a segment from its facts, see ``rewrite``.

    Args:
        name: A key of ``SEALED``.

    Returns:
        For a table that is kept ready-made, how it is made; for facts, which are made of
        nothing else, no rows.
    """
    if name in KEPT:
        return SELECTS[name]
    nothing = ", ".join(f"CAST(NULL AS {c.sql_type}) AS {c.name}" for c in SEALED[name])
    return f"SELECT {nothing} WHERE false"


def take_out(snapshot: Snapshot, home: Segment, run_id: str) -> Segment:
    """Write the facts of an ended run as the first part of one that goes on.

    Args:
        snapshot: That run, and no other.
        home: The segment that holds it.
        run_id: Its id.

    Raises:
        StoreNotWritableError: If the segment cannot be written.
        StoreError: If it cannot be read.
    """
    with _database(snapshot.lab) as connection:
        selects = {part: sealed_rows(snapshot, part, [home]) for part in _PARTS}
        rows = sealed_rows(snapshot, "event", [home])
        told = connection.execute(
            "SELECT (body->>'resumed_after')::BIGINT, sequence "  # noqa: S608  # our own names
            f"FROM ({rows}) WHERE kind = 'state' AND body->>'resumed_after' IS NOT NULL"
        ).fetchall()
        [last] = connection.execute(_last_of(snapshot, home)).fetchone() or (None,)
        blank = Segment(
            name="",
            run_ids=(run_id,),
            is_open=True,
            spans=tuple((int(after), int(until)) for after, until in told),
            last=-1 if last is None else int(last),
            files={},
        )
        return _write(connection, snapshot.lab, selects, blank)


def _last_of(snapshot: Snapshot, home: Segment) -> str:
    rows = " UNION ALL ".join(
        f"SELECT max(sequence) AS last FROM ({sealed_rows(snapshot, part, [home])})"  # noqa: S608  # our own names only
        for part in _PARTS
    )
    return f"SELECT max(last) FROM ({rows})"  # noqa: S608  # as above


def _check(run_id: str, paths: Iterable[Path], *, first: int | None = None) -> int:
    """Find what decayed on the disk before it is sealed for good; give the last sequence.

    Raises:
        _damaged: If a line differs from its hash, or events are missing.
    """
    spans: list[tuple[int, int]] = []
    for path in paths:
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            frame = parse(line)
            if frame is None:  # cut short by a kill or a full disk: never acknowledged
                continue
            if not is_sound(line):
                raise _damaged(run_id, f"Line {number} of {path.name} has changed")
            spans.append((frame.first, frame.last))
    spans.sort()
    expected = first if first is not None else (spans[0][0] if spans else 0)
    for start, last in spans:
        if start != expected:
            raise _damaged(run_id, f"Events {expected} to {start - 1} are missing")
        expected = last + 1
    return expected - 1


def _damaged(run_id: str, what: str) -> CorruptArtifactError:
    return CorruptArtifactError(
        f"{what} in the journal of run {run_id}.",
        fix="Restore it from a backup; or flip-lab doctor --repair, which keeps the rest.",
    )


@contextmanager
def _database(lab: LabDir) -> Generator[duckdb.DuckDBPyConnection]:
    """Give a database that may use a part of the disk for sorting.

    Raises:
        StoreError: If DuckDB cannot read or write what it was asked to.
    """
    try:
        with closing(open_database(spill=lab.segments / ".spill")) as connection:
            connection.execute("CREATE SCHEMA inside")
            connection.execute(f"CREATE MACRO inside.moment(seconds) AS {MOMENT}")
            yield connection
    except duckdb.Error as error:
        raise StoreError(
            f"The facts of {lab.root} cannot be sealed: {error}",
            fix="Free some space; flip-lab doctor says whether a file is damaged.",
        ) from error


def _write(
    connection: duckdb.DuckDBPyConnection,
    lab: LabDir,
    selects: Mapping[str, str],
    blank: Segment,
) -> Segment:
    """Write a segment's files under another name, then let them appear at once.

    Beside them lies what the segment says of itself, so that a lost manifest can be made
    anew. A lab's first manifest is there before its first segment: no manifest beside
    segments then means that it was lost.

    Raises:
        StoreNotWritableError: If they cannot be written; nothing is left behind.
    """
    if not manifest_path(lab).exists():
        publish(lab, Manifest())
    name = secrets.token_hex(6)
    draft = lab.segments / f".{name}"
    with explained(draft):
        draft.mkdir(parents=True)
        try:
            files = {
                each: _copy(connection, draft, each, selects[each]) for each in selects
            }
            segment = replace(blank, name=name, files=files)
            write_json_atomic(draft / SELF, asdict(segment))
            draft.rename(lab.segments / name)
            sync_directory(lab.segments)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return segment


def _copy(
    connection: duckdb.DuckDBPyConnection, folder: Path, name: str, select: str
) -> SealedFile:
    path = folder / f"{name}.parquet"
    columns = ", ".join(f"CAST({c.name} AS {c.sql_type}) AS {c.name}" for c in SEALED[name])
    order = TABLES[name].order_by if name in KEPT else ("run_id", "sequence")
    [rows] = connection.execute(
        f"COPY (SELECT {columns} FROM ({select}) ORDER BY {', '.join(order)}) "  # noqa: S608  # our own names
        f"TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, "
        f"ROW_GROUP_SIZE {_ROWS_OF_A_GROUP})"
    ).fetchone() or (0,)
    return SealedFile(size_bytes=path.stat().st_size, digest=digest_of(path), num_rows=rows)


def digest_of(path: Path) -> str:
    """Hash a file, and bring it to the disk.

    Args:
        path: The file.

    Returns:
        Its xxh3 hash of 128 bits, 32 hexadecimal digits.
    """
    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while part := file.read(_SUM_BYTES):
            hashed.update(part)
        with suppress(OSError):  # a disk that is only read has nothing to bring
            os.fsync(file.fileno())
    return hashed.hexdigest()
