# pyarrow has no stubs:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""Parquet: one file for each table, with what is needed to make runs of them again.

::

    README.md, schema.json   what each column is
    manifest.json            the hash of every file
    <table>.parquet          the tables, those of ``docs/reference/tables.md``
    specs/<run_id>.json      what was asked for
    logs/<run_id>.log        what the run's processes printed
    files/<sha256>           models and other kept files
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from flip_lab.core.errors import DamagedSourceError, NewerSourceError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.exchange import sealed
from flip_lab.exchange.parcels import Parcel, checked_id

MADE_AS = "parquet"

_SHA256 = re.compile(r"[0-9a-f]{64}")

_README = """# Runs exported by FLIP Lab

Each `.parquet` file is one table; times are UTC, durations seconds. `specs` holds what each
run was asked to do, `logs` what it printed, `files` the models and other kept files by
their SHA-256. `manifest.json` has the hash of every file.

Read a table with `pandas.read_parquet("metrics.parquet")`, with DuckDB's
`SELECT * FROM 'metrics.parquet'`, or import all of it into a lab:
`flip_lab.Lab().import_(".", format="{made_as}")`.
"""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Tables of some runs, and the files that belong to them.

    Attributes:
        tables: Arrow tables by name; each has a column ``run_id``.
        columns: What each column is, by table: name, type, unit, meaning.
        specs: The runs' ``run.json`` by run.
        logs: What their processes printed, by run.
        files: Their kept files by SHA-256.
    """

    tables: Mapping[str, Any]
    columns: Mapping[str, Sequence[Mapping[str, Any]]]
    specs: Mapping[str, Mapping[str, Any]]
    logs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])


def write(bundle: Bundle, folder: Path) -> None:
    """Write tables and files into an empty directory, and seal it."""
    lay_out(bundle, folder, made_as=MADE_AS)
    sealed.seal(folder, {"made_as": MADE_AS, "runs": sorted(bundle.specs)})


def lay_out(bundle: Bundle, folder: Path, *, made_as: str) -> None:
    """Write all but the manifest.

    Args:
        bundle: The tables and files.
        folder: An empty directory.
        made_as: The format that imports it again.
    """
    import pyarrow.parquet as pq

    for name, table in bundle.tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    for part in ("specs", "logs", "files"):
        (folder / part).mkdir()
    for run_id, spec in bundle.specs.items():
        text = json.dumps(spec, indent=1, default=dict)
        (folder / "specs" / f"{run_id}.json").write_text(text, encoding="utf-8")
    for run_id, path in bundle.logs.items():
        shutil.copyfile(path, folder / "logs" / f"{run_id}.log")
    for sha256, path in bundle.files.items():
        shutil.copyfile(path, folder / "files" / sha256)
    schema = json.dumps(bundle.columns, indent=1)
    (folder / "schema.json").write_text(schema, encoding="utf-8")
    readme = _README.format(made_as=made_as)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def read(path: Path, *, made_as: str = MADE_AS) -> Generator[Parcel]:
    """Read the runs of a sealed directory, one after another.

    Args:
        path: The directory.
        made_as: The format that it was exported as.

    Yields:
        The runs, by id. All files were checked before the first.

    Raises:
        ForeignFormatError: If it is no such directory.
        NewerSourceError: If a newer version of FLIP Lab wrote it.
        DamagedSourceError: If a file is missing or was changed.
    """
    manifest = sealed.check(path, made_as=made_as)
    try:
        labels = {row["run_id"]: row for row in _rows(path / "runs.parquet")}
        groups = groupby(_events(path), key=attrgetter("run_id"))  # in order of the runs
        group = next(groups, None)
        for run_id in map(checked_id, manifest["runs"]):
            events: tuple[RunEvent, ...] = ()
            if group is not None and group[0] == run_id:
                events = tuple(group[1])
                group = next(groups, None)
            spec = _spec(path, run_id)
            log = path / "logs" / f"{run_id}.log"
            yield Parcel(
                run_id=run_id,
                spec=spec,
                events=events,
                tags=tuple(labels[run_id].get("tags") or ()),
                note=labels[run_id].get("note") or "",
                log=log if log.is_file() else None,
                files=_files(path, events, spec),
            )
    except (KeyError, TypeError, OSError, json.JSONDecodeError) as error:
        raise DamagedSourceError(
            f"{path} lacks a part of a run ({error!r}).",
            fix="Export it again from where it was made.",
        ) from error


def _spec(path: Path, run_id: str) -> Mapping[str, Any]:
    """Read what a run was asked to do.

    Raises:
        DamagedSourceError: If it is another run's.
    """
    text = (path / "specs" / f"{run_id}.json").read_text(encoding="utf-8")
    spec = cast("Mapping[str, Any]", json.loads(text))
    if spec["run_id"] != run_id:
        raise DamagedSourceError(
            f"{path} has the specification of run {spec['run_id']!r} for run {run_id}.",
            fix="Export it again from where it was made.",
        )
    return spec


def _events(path: Path) -> Generator[RunEvent]:
    for row in _rows(path / "events.parquet"):
        yield RunEvent(
            run_id=row["run_id"],
            sequence=row["sequence"],
            time_s=row["time_s"],
            server_round=row["server_round"],
            kind=_kind(row["kind"]),
            body=json.loads(row["body"]),
        )


def _kind(name: str) -> EventKind:
    """Find a kind of event.

    Raises:
        NewerSourceError: If this version knows no such kind.
    """
    try:
        return EventKind(name)
    except ValueError:
        raise NewerSourceError(
            f"The export holds events of kind {name!r}, which this version does not know.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        ) from None


def _rows(path: Path) -> Generator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _files(
    path: Path, events: Iterable[RunEvent], spec: Mapping[str, Any]
) -> dict[str, Path]:
    """Find what the run kept, and what stood behind it: packages, uncommitted changes."""
    kept = {
        str(e.body.get("sha256"))
        for e in events
        if e.kind in {EventKind.ARTIFACT, EventKind.LOGGED}
    }
    lineage = (spec.get("lineage") or {}).items()
    kept |= {str(value) for name, value in lineage if name.endswith("_sha256")}
    hashes = filter(_SHA256.fullmatch, kept)  # and no path that leads elsewhere
    return {
        sha256: file for sha256 in hashes if (file := path / "files" / sha256).is_file()
    }
