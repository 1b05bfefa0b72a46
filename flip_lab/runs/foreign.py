"""Make a run of FLIP Lab from what another tool told of one."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Generator, Mapping
from hashlib import sha256 as hash_of
from typing import Any, TypeAlias

from flip_lab.core.clock import at_utc
from flip_lab.core.errors import ExchangeError
from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.records import RunRecord
from flip_lab.exchange.sealed import sha256_of
from flip_lab.runs.spec import RunSpec

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # as of flip_lab.core.ids
_LETTERS = 4
_LARGEST_ROUND = 2**31 - 1  # as of the column server_round
_OTHER = {"code": "FLIP-300", "what": "The run failed.", "fix": "", "detail": ""}

Fact: TypeAlias = tuple[EventKind, float, int, Mapping[str, Json]]


def foreign_id(record: RunRecord, kind: str) -> str:
    """Make a run id from another tool's: the same each time, sorted by time like ours.

    Args:
        record: The run.
        kind: The format that it comes in.
    """
    number = int.from_bytes(hash_of(f"{kind}:{record.source}".encode()).digest())
    letters = ""
    for _ in range(_LETTERS):
        number, rest = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[rest]
    return f"{at_utc(record.created_s):%y%m%d-%H%M%S}-{letters}"


def parcel_from(record: RunRecord, run_id: str, kind: str) -> Parcel:
    """Give the run whole, as far as the other tool knew it.

    Args:
        record: The run.
        run_id: Its id in the lab.
        kind: The format that it comes in.

    Raises:
        ExchangeError: If a step of a metric is too large to be a round.
    """
    _check(record)
    hashes = {file.path: sha256_of(file.path) for file in record.files}
    facts = _facts(record, {str(path): sha256 for path, sha256 in hashes.items()})
    return Parcel(
        run_id=run_id,
        spec={**(record.spec or _spec(record, run_id, kind).to_json()), "run_id": run_id},
        events=tuple(
            RunEvent(
                run_id=run_id,
                sequence=sequence,
                time_s=time_s,
                server_round=server_round,
                kind=what,
                body=body,
            )
            for sequence, (what, time_s, server_round, body) in enumerate(facts)
        ),
        tags=record.tags,
        note=record.note,
        files={sha256: path for path, sha256 in hashes.items()},
    )


def _check(record: RunRecord) -> None:
    """Look for steps that cannot be rounds.

    Raises:
        ExchangeError: If there is one.
    """
    for series in record.series:
        for step in (min(series.rounds, default=0), max(series.rounds, default=0)):
            if abs(step) > _LARGEST_ROUND:
                raise ExchangeError(
                    f"Metric {series.name!r} of run {record.source} has a step {step}; "
                    f"rounds go up to {_LARGEST_ROUND}.",
                    fix="Divide the steps of a copy, such as tokens by a million.",
                )


def _spec(record: RunRecord, run_id: str, kind: str) -> RunSpec:
    return RunSpec(
        run_id=run_id,
        name=record.name,
        kind="imported",
        created_s=record.created_s,
        seed=0,
        num_rounds=None,
        num_nodes=0,
        engine=kind,
        federation=None,
        workers=0,
        run_config={name: _scalar(text) for name, text in record.parameters.items()},
        overrides={},
        lineage={"imported_as": kind, "imported_id": record.source},
        parent_run_id=record.parent_run_id,
        forked_at_round=record.forked_at_round,
        experiment=record.experiment or record.name,
        sweep=record.sweep,
        tags=list(record.tags),
        note=record.note,
    )


def _scalar(text: str) -> bool | float | str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _facts(record: RunRecord, hashes: Mapping[str, str]) -> Generator[Fact]:
    if record.started_s is not None:
        yield EventKind.STATE, record.started_s, 0, {"state": "starting"}
        yield EventKind.STATE, record.started_s, 0, {"state": "running"}
    if record.lineage:
        yield EventKind.LINEAGE, record.created_s, 0, record.lineage
    for _, _, _, fact in sorted(_ordered(record, hashes), key=lambda each: each[:3]):
        yield fact
    end: dict[str, Json] = {"state": record.state}
    if record.state == "failed":
        end |= {**_OTHER, **record.error}
    yield EventKind.STATE, record.ended_s, 0, end


def _ordered(
    record: RunRecord, hashes: Mapping[str, str]
) -> Generator[tuple[int, int, float, Fact]]:
    """Give the facts of rounds with what puts them in order: round, place in it, time."""
    for span in record.rounds:
        at = span.server_round
        begun: Mapping[str, Json] = {"num_rounds": (record.spec or {}).get("num_rounds")}
        ended: Mapping[str, Json] = {"duration_s": span.duration_s}
        yield at, 0, 0.0, (EventKind.ROUND_STARTED, span.started_s, at, begun)
        yield at, 3, 0.0, (EventKind.ROUND_ENDED, span.ended_s, at, ended)
    for series in record.series:
        names = dict(zip(("phase", "scope", "name"), series.identity, strict=True))
        for at, time_s, value in zip(
            series.rounds, series.times_s, series.values, strict=True
        ):
            yield at, 1, time_s, (EventKind.METRIC, time_s, at, {**names, "value": value})
    for file in record.files:
        body: dict[str, Any] = {
            "name": file.name,
            "sha256": hashes[str(file.path)],
            "size_bytes": file.path.stat().st_size,
            "media_type": file.media_type or mimetypes.guess_type(file.name)[0],
        }
        at = file.server_round
        yield at, 2, record.ended_s, (EventKind.ARTIFACT, record.ended_s, at, body)
