"""MLflow: read a tracking store, an sqlite file or a directory of text files.

Both are read as they lie, by their documented layout, and never opened for writing:
MLflow's own classes bring a database to their version, or make tables where none are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from flip_lab.core.errors import (
    DamagedSourceError,
    ForeignFormatError,
    NewerSourceError,
)
from flip_lab.exchange import sidecar
from flip_lab.exchange.mlflow_store import ARTIFACTS, DATABASE
from flip_lab.exchange.records import RunRecord, Series

Point = tuple[str, int, int, float]
"""Key, step, time in milliseconds, value."""

_STATES = {"FINISHED": "completed", "FAILED": "failed", "4": "failed", "3": "completed"}
_LARGEST = 1.7976931348623157e308  # MLflow's databases keep the infinities as these
_FAILED = {"code": "FLIP-300", "what": "MLflow says that the run failed.", "fix": ""}


@dataclass(kw_only=True)
class _Told:
    """One run in MLflow's words."""

    uuid: str
    name: str
    experiment: str
    status: str
    start_ms: int | None
    end_ms: int | None
    artifacts: list[Path]
    params: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    points: list[Point] = field(default_factory=list[Point])


def read(path: Path) -> list[RunRecord]:
    """Read all runs of a tracking store that were not deleted in it.

    Args:
        path: The sqlite file, or the directory with ``mlflow.db``, or the directory of a
            file store (``mlruns``).

    Returns:
        The runs, oldest first.

    Raises:
        ForeignFormatError: If it is no tracking store.
        DamagedSourceError: If it cannot be read.
        NewerSourceError: If it lacks what all stores of today have.
    """
    database = path / DATABASE if path.is_dir() else path
    if database.is_file():
        told = _from_database(database)
    elif any(path.glob("*/meta.yaml")):
        told = _from_files(path)
    else:
        raise ForeignFormatError(
            f"{path} is no MLflow store: it has neither an {DATABASE} nor experiments "
            "with a meta.yaml.",
            fix="Give the directory that MLflow calls its tracking store, or the .db file.",
        )
    records = [_record(run) for run in told]
    return sorted(records, key=lambda record: (record.created_s, record.source))


def _record(run: _Told) -> RunRecord:
    home = next((folder for folder in run.artifacts if folder.is_dir()), None)
    aside = sidecar.read(home / sidecar.FILE if home else Path(sidecar.FILE))
    series: dict[str, Series] = {}
    for key, step, time_ms, value in run.points:
        if key not in series:
            series[key] = aside.series(key)
        series[key].add(step, time_ms / 1000, value)
    start_s = (run.start_ms or 0) / 1000
    last_ms = max((time_ms for _, _, time_ms, _ in run.points), default=0)
    state = _STATES.get(run.status, "stopped")
    own = {k: v for k, v in run.tags.items() if not k.startswith(("mlflow.", "flip_lab."))}
    told: dict[str, Any] = {
        "run_id": "",
        "source": run.uuid,
        "name": run.name,
        "experiment": run.experiment,
        "state": state,
        "created_s": start_s,
        "started_s": start_s,
        "ended_s": (run.end_ms or last_ms or run.start_ms or 0) / 1000,
        "parameters": run.params,
        "tags": tuple(f"{key}={text}" if text else key for key, text in own.items()),
        "note": run.tags.get("mlflow.note.content", ""),
        "error": _FAILED if state == "failed" else {},
    }
    return RunRecord(
        **{**told, **aside.run},
        series=tuple(series.values()),
        files=aside.files(home) if home else (),
    )


def _from_database(path: Path) -> list[_Told]:
    with _explained(path), closing(_connect(path)) as connection:
        runs = {
            str(row[0]): _Told(
                uuid=str(row[0]),
                name=str(row[1] or row[0]),
                experiment=str(row[6]),
                status=str(row[2]),
                start_ms=row[3],
                end_ms=row[4],
                artifacts=_homes(path.parent, str(row[5])),
            )
            for row in connection.execute(
                "SELECT run_uuid, r.name, status, start_time, end_time, artifact_uri,"
                " e.name FROM runs r JOIN experiments e USING (experiment_id)"
                " WHERE r.lifecycle_stage = 'active'"
            )
        }
        for uuid, key, value in connection.execute(
            "SELECT run_uuid, key, value FROM params"
        ):
            if uuid in runs:
                runs[uuid].params[key] = value
        for uuid, key, value in connection.execute("SELECT run_uuid, key, value FROM tags"):
            if uuid in runs:
                runs[uuid].tags[key] = value or ""
        for uuid, key, step, time_ms, value, is_nan in connection.execute(
            "SELECT run_uuid, key, step, timestamp, value, is_nan FROM metrics"
            " ORDER BY run_uuid, timestamp, step"
        ):
            if uuid in runs:
                number = float("nan") if is_nan else _infinite(value)
                runs[uuid].points.append((key, step, time_ms, number))
    return list(runs.values())


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    connection.execute("PRAGMA query_only = true")
    return connection


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """Turn sqlite's complaint into ours.

    Raises:
        ForeignFormatError: If the file is no tracking store.
        NewerSourceError: If a table or a column is not where it has always been.
        DamagedSourceError: If the file is damaged.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise ForeignFormatError(
                f"{path} is no MLflow store ({error}).",
                fix="Give the file that mlflow --backend-store-uri sqlite:/// names.",
            ) from error
        if "no such column" in str(error):
            raise NewerSourceError(
                f"{path} has another layout than MLflow 1 to 3 ({error}).",
                fix="Update FLIP Lab, or a very old store: mlflow db upgrade on a copy.",
            ) from error
        raise DamagedSourceError(
            f"{path} cannot be read ({error}).",
            fix="Close what holds the database, or copy it again.",
        ) from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise ForeignFormatError(
                f"{path} is no MLflow store: it is no sqlite database.",
                fix="Give the directory that MLflow calls its tracking store, or its .db.",
            ) from error
        raise DamagedSourceError(
            f"{path} is damaged ({error}).", fix="Copy the database again."
        ) from error


def _infinite(value: float) -> float:
    return value if abs(value) < _LARGEST else float("inf") * (1 if value > 0 else -1)


def _homes(root: Path, uri: str) -> list[Path]:
    """Say where a run's artifacts may be: beside a store that was moved, or as it says."""
    parts = Path(unquote(urlsplit(uri).path)).parts[-3:]
    said = urlsplit(uri)
    place = [Path(unquote(said.path))] if said.scheme in {"", "file"} else []
    return [root.joinpath(ARTIFACTS, *parts), *place]


def _from_files(root: Path) -> list[_Told]:
    found: list[_Told] = []
    for experiment in sorted(root.glob("*/meta.yaml")):
        name = str(_meta(experiment).get("name", experiment.parent.name))
        for file in sorted(experiment.parent.glob("*/meta.yaml")):
            meta = _meta(file)
            if "run_id" not in meta and "run_uuid" not in meta:
                continue  # a logged model, a trace
            if meta.get("lifecycle_stage", "active") == "active":
                found.append(_from_folder(file.parent, meta, name))
    return found


def _from_folder(folder: Path, meta: Mapping[str, Any], experiment: str) -> _Told:
    uuid = str(meta.get("run_id") or meta["run_uuid"])
    return _Told(
        uuid=uuid,
        name=str(meta.get("run_name") or uuid),
        experiment=experiment,
        status=str(meta.get("status")),
        start_ms=meta.get("start_time"),
        end_ms=meta.get("end_time"),
        artifacts=[folder / "artifacts"],
        params=dict(_texts(folder / "params")),
        tags=dict(_texts(folder / "tags")),
        points=sorted(_points(folder / "metrics"), key=lambda point: (point[2], point[1])),
    )


def _texts(folder: Path) -> Iterable[tuple[str, str]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8")


def _points(folder: Path) -> Generator[Point]:
    """Give the points of a file store: lines of time, value and step.

    Raises:
        DamagedSourceError: If a line is something else.
    """
    for key, text in _texts(folder):
        for number, line in enumerate(text.splitlines(), 1):
            try:
                time_ms, value, *step = line.split()[:3]
                yield key, int(step[0]) if step else 0, int(time_ms), float(value)
            except ValueError as error:
                raise DamagedSourceError(
                    f"{folder / key} says {line!r} in line {number}.",
                    fix="Copy the store again from where it was written.",
                ) from error


def _meta(path: Path) -> Mapping[str, Any]:
    """Read a ``meta.yaml``.

    Raises:
        DamagedSourceError: If it is none.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DamagedSourceError(
            f"{path} cannot be read ({error}).", fix="Copy the store again."
        ) from error
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
