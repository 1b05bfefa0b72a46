"""One batch of events as one line of JSON, columns by table; no files here.

A line is whole as soon as its JSON is: the newline only keeps lines apart. No proper
prefix of a JSON object is JSON, so a line that was cut short is always recognised.
JSON has no word for NaN and the infinities, yet diverged runs are normal: in a typed
column they are the strings ``"nan"``, ``"inf"`` and ``"-inf"``, which Python's ``float``
and DuckDB's DOUBLE both read. Bodies of other events are kept as Python writes JSON,
where they are the bare words ``NaN`` and ``Infinity``, which DuckDB reads too.

A line ends with a hash of itself, so that a byte that decayed does not pass for a number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeAlias

import orjson
import xxhash

from flip_lab.core.errors import StoreError, StoreFormatError
from flip_lab.core.events import ClientFact, EventKind, MetricSeries, RunEvent

VERSION = 1
"""Format of a line; a line of a higher version is refused."""

LIMIT_BYTES = 64 * 2**20
"""The longest line that is written; readers set their buffers by it."""

Row: TypeAlias = tuple[Any, ...]
Columns: TypeAlias = Mapping[str, Sequence[Any]]

_HASH = b',"hash":"'
_FRAME = frozenset({"v", "run_id", "first", "n"})
_HEAD = ("sequence", "time_s", "server_round")
_METRIC = ("phase", "scope", "name", "value")
_CLIENT = tuple(field.name for field in fields(ClientFact))

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "event": (*_HEAD, "kind", "body"),
        "metric": (*_HEAD, *_METRIC),
        "client": (*_HEAD, *_CLIENT),
    }
)
"""The columns of a line by table; metrics and client facts are typed, the rest is not."""

_TYPED = {EventKind.METRIC: ("metric", _METRIC), EventKind.CLIENT: ("client", _CLIENT)}
_FLOATS = frozenset({"time_s", "value", "num_examples", "started_s", "duration_s"})
_body_json = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=dict
).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One line, read but not yet turned into events.

    Attributes:
        run_id: The run that all its events belong to.
        first: Sequence of its first event.
        count: Number of its events; their sequences follow each other.
        tables: The columns by table, as JSON holds them; empty tables are left out.
    """

    run_id: str
    first: int
    count: int
    tables: Mapping[str, Columns]

    @property
    def last(self) -> int:
        """Sequence of the last event."""
        return self.first + self.count - 1

    def events(self) -> list[RunEvent]:
        """Give the events, by sequence.

        Raises:
            StoreFormatError: If one is of a kind that this version does not know.
        """
        found = [
            self._event(table, row)
            for table, columns in self.tables.items()
            for row in zip(*_restored(table, columns), strict=True)
        ]
        return sorted(found, key=attrgetter("sequence"))

    def _event(self, table: str, row: Row) -> RunEvent:
        sequence, time_s, server_round, *rest = row
        if table == "event":
            kind, body = _kind(rest[0]), json.loads(rest[1])
        else:
            kind = EventKind(table)
            body = dict(zip(TABLES[table][len(_HEAD) :], rest, strict=True))
        return RunEvent(
            run_id=self.run_id,
            sequence=sequence,
            time_s=time_s,
            server_round=server_round,
            kind=kind,
            body=body,
        )


def encode(events: Sequence[RunEvent]) -> bytes:
    r"""Write a batch as one line.

    Args:
        events: At least one event of one run, with sequences that follow each other.

    Returns:
        One JSON object in UTF-8, ended by ``\n``. Characters that UTF-8 has no form for
        (lone surrogates, from undecodable bytes in a traceback) become ``?``.

    Raises:
        StoreError: If the body of a metric or client event has other keys than its kind
            promises: kept, it would be missing from the tables.
    """
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for event in events:
        table, rest = _parts(event)
        rows[table].append((event.sequence, event.time_s, event.server_round, *rest))
    frame: dict[str, Any] = {
        "v": VERSION,
        "run_id": events[0].run_id,
        "first": events[0].sequence,
        "n": len(events),
    }
    frame |= {table: _columns(table, some) for table, some in rows.items() if some}
    return _line(frame)


def encode_metrics(
    series: MetricSeries, *, run_id: str, first: int, time_s: float
) -> bytes:
    """Write many metric events as one line, without making the events.

    Args:
        series: At least one value.
        run_id: The run.
        first: Sequence of the first event.
        time_s: When they happened, seconds since the Unix epoch.

    Returns:
        The line that ``encode`` would give for the same events.

    Raises:
        StoreError: If the three columns differ in length.
    """
    count = len(series.values)
    if not len(series.names) == len(series.server_rounds) == count:
        raise StoreError(
            f"{len(series.server_rounds)} rounds, {len(series.names)} names and {count} "
            "values do not make a series.",
            fix="Give one round and one name for each value.",
        )
    metric = {
        "sequence": range(first, first + count),
        "time_s": _repeated(float(time_s), count),
        "server_round": series.server_rounds,
        "phase": _repeated(series.phase, count),
        "scope": _repeated(series.scope, count),
        "name": series.names,
        "value": _numbers(series.values),
    }
    return _line(
        {"v": VERSION, "run_id": run_id, "first": first, "n": count, "metric": metric}
    )


def _repeated(value: float | str, count: int) -> orjson.Fragment:
    """Write a column of equal values: one is turned into text, the others are copies."""
    try:
        one = orjson.dumps(value)
    except TypeError:  # a lone surrogate
        one = orjson.dumps(_scrubbed(value))
    return orjson.Fragment(b"[" + ((one + b",") * count)[:-1] + b"]")


def _line(frame: dict[str, Any]) -> bytes:
    try:
        line = orjson.dumps(frame, default=list)
    except TypeError:  # a lone surrogate; looked for only now, since it is rare
        line = orjson.dumps(_scrubbed(frame), default=list)
    head = line[:-1] + _HASH
    return head + xxhash.xxh3_64_hexdigest(head).encode() + b'"}\n'


def is_sound(line: bytes) -> bool:
    """Say whether a line still is what was written; those of old journals have no hash.

    Args:
        line: One line of a journal that ``parse`` can read, with or without its newline.
    """
    head, mark, end = line.rstrip(b"\n").rpartition(_HASH)
    return not mark or end == xxhash.xxh3_64_hexdigest(head + mark).encode() + b'"}'


def parse(line: bytes) -> Frame | None:
    """Read a line without building its events.

    Args:
        line: One line of a journal, with or without its newline.

    Returns:
        The frame; None for a line that is blank, was cut short or is no frame.

    Raises:
        StoreFormatError: If a newer version of FLIP Lab wrote the line.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not _is_frame(found):
        return None
    if found["v"] > VERSION:
        raise StoreFormatError(
            f"A journal line has version {found['v']}; this code reads up to {VERSION}.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        )
    return Frame(
        run_id=found["run_id"],
        first=found["first"],
        count=found["n"],
        tables={table: found[table] for table in TABLES if table in found},
    )


def _is_frame(found: object) -> bool:
    return isinstance(found, dict) and found.keys() >= _FRAME  # pyright: ignore[reportUnknownMemberType] -- JSON of any shape


def _parts(event: RunEvent) -> tuple[str, Row]:
    """Give the table of an event and its row there, without the columns all tables have.

    Raises:
        StoreError: If the body has other keys than its kind promises.
    """
    typed = _TYPED.get(event.kind)
    if typed is None:
        return "event", (event.kind.value, _body_json(event.body))
    table, names = typed
    try:
        if len(event.body) == len(names):
            return table, tuple(map(event.body.__getitem__, names))
    except KeyError:
        pass
    raise StoreError(
        f"The {event.kind} event {event.sequence} of run {event.run_id} has the keys "
        f"{', '.join(event.body) or 'none'}.",
        fix=f"Give exactly {', '.join(names)}; see flip_lab.core.events.EventKind.",
    )


def _columns(table: str, rows: list[Row]) -> dict[str, Sequence[Any]]:
    columns = zip(*rows, strict=True)
    return {
        name: _kept(name, values)
        for name, values in zip(TABLES[table], columns, strict=True)
    }


def _kept(name: str, values: Row) -> Sequence[Any]:
    if name in _FLOATS:
        return _numbers(values)
    if name == "metrics":
        return [dict(zip(each, _numbers(each.values()), strict=True)) for each in values]
    return values


def _numbers(values: Any) -> list[float | str]:  # noqa: ANN401 -- any iterable of numbers
    numbers = [*map(float, values)]
    if isfinite(sum(numbers)):  # one test for the usual case, where every number is finite
        return numbers  # pyright: ignore[reportReturnType] -- float is among float | str
    return [number if isfinite(number) else str(number) for number in numbers]


def _restored(table: str, columns: Columns) -> list[Sequence[Any]]:
    return [
        [*map(float, columns[name])]
        if name in _FLOATS
        else [{key: float(value) for key, value in each.items()} for each in columns[name]]
        if name == "metrics"
        else columns[name]
        if name in columns
        else [""] * len(columns["sequence"])  # an older journal has no digests
        for name in TABLES[table]
    ]


def _kind(name: str) -> EventKind:
    try:
        return EventKind(name)
    except ValueError:
        raise StoreFormatError(
            f"A journal holds an event of kind {name!r}, which this version does not know.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        ) from None


def _scrubbed(value: Any) -> Any:  # noqa: ANN401 -- JSON in, JSON out
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_scrubbed(key): _scrubbed(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType] -- JSON of any shape
    if isinstance(value, list | tuple):
        return [_scrubbed(each) for each in value]  # pyright: ignore[reportUnknownVariableType] -- JSON of any shape
    return value
