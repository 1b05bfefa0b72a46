# MLflow is typed loosely:
# pyright: reportUnknownMemberType=false
"""MLflow: write a tracking store in one sqlite file, with the artifacts beside it.

MLflow's own ``SqlAlchemyStore`` writes it. ``mlflow ui --backend-store-uri
sqlite:///…/mlflow.db`` shows it. Times are milliseconds there, and the infinities the
largest finite numbers.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from flip_lab.exchange import sidecar
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import RunRecord, Series

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"

# MLflow's limits: mlflow/utils/validation.py
_BATCH, _SMALL_BATCH = 1000, 100
_NAME_CHARS, _TEXT_CHARS = 250, 6000
_REFUSED = re.compile(r"[^/\w.\- ]")
_STATUS = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

T = TypeVar("T")


def write(records: Sequence[RunRecord], folder: Path, *, final: Path) -> None:
    """Write runs into a new tracking store.

    Args:
        records: The runs.
        folder: An empty directory.
        final: Where the directory will be: MLflow keeps the artifacts' absolute place.
    """
    with _opened(folder / DATABASE, final / ARTIFACTS) as store:
        experiments: dict[str, str] = {}
        uuids: dict[str, str] = {}
        for record in _parents_first(records):
            name = record.experiment or "Default"
            if name not in experiments:
                experiments[name] = _experiment(store, name)
            uuid = _run(store, experiments[name], record, uuids)
            uuids[record.run_id] = uuid
            keys = keys_of(record.series, clean=clean_name)
            _log(store, uuid, record, keys)
            home = folder / ARTIFACTS / experiments[name] / uuid / "artifacts"
            sidecar.write(record, keys, home, with_files=True)


def _parents_first(records: Sequence[RunRecord]) -> list[RunRecord]:
    return sorted(records, key=lambda record: (record.created_s, record.run_id))


@contextmanager
def _opened(database: Path, artifacts: Path) -> Generator[Any]:
    # Records of federated studies are not for a vendor's statistics.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with _hushed("alembic"), _hushed("mlflow"):  # they tell of every table that is made
        store = SqlAlchemyStore(f"sqlite:///{database}", artifacts.as_uri())
    try:
        yield store
    finally:
        store.engine.dispose()  # closes the file


@contextmanager
def _hushed(name: str) -> Generator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _experiment(store: Any, name: str) -> str:  # noqa: ANN401  # MLflow's store
    found = store.get_experiment_by_name(name)
    return str(found.experiment_id if found else store.create_experiment(name))


def _run(
    store: Any,  # noqa: ANN401  # MLflow's store
    experiment: str,
    record: RunRecord,
    uuids: Mapping[str, str],
) -> str:
    from mlflow.entities import RunStatus, RunTag

    tags = {
        "flip_lab.run_id": record.run_id,
        "flip_lab.parent_run_id": record.parent_run_id or "",
        "flip_lab.forked_at_round": str(record.forked_at_round or ""),
        "flip_lab.sweep": record.sweep or "",
        "flip_lab.tags": ", ".join(record.tags),
        "flip_lab.error": ": ".join(filter(None, map(record.error.get, ("code", "what")))),
        "mlflow.note.content": record.note,
        "mlflow.parentRunId": uuids.get(record.parent_run_id or "", ""),
    }
    tags |= {f"flip_lab.{name}": str(text or "") for name, text in record.lineage.items()}
    kept = [RunTag(key, text[:_TEXT_CHARS]) for key, text in tags.items() if text]
    begun_s = record.started_s or record.created_s
    info = store.create_run(experiment, "", _milliseconds(begun_s), kept, record.name).info
    status = RunStatus.from_string(_STATUS[record.state])
    store.update_run_info(info.run_id, status, _milliseconds(record.ended_s), record.name)
    return str(info.run_id)


def _log(
    store: Any,  # noqa: ANN401  # MLflow's store
    uuid: str,
    record: RunRecord,
    keys: Mapping[str, Series],
) -> None:
    from mlflow.entities import Metric, Param

    names: dict[str, str] = {}
    for name, text in record.parameters.items():
        names.setdefault(clean_name(name), text[:_TEXT_CHARS])
    params = (Param(name, text) for name, text in names.items())
    for batch in _batches(params, _SMALL_BATCH):
        store.log_batch(uuid, metrics=[], params=batch, tags=[])
    metrics = (
        Metric(key, value, _milliseconds(time_s), server_round)
        for key, series in keys.items()
        for server_round, time_s, value in zip(
            series.rounds, series.times_s, series.values, strict=True
        )
    )
    for batch in _batches(metrics, _BATCH):
        store.log_batch(uuid, metrics=batch, params=[], tags=[])


def clean_name(name: str) -> str:
    """Make a metric's or a parameter's name one that MLflow takes."""
    parts = _REFUSED.sub("_", name).split("/")
    parts = ["_" if part in {"", ".", ".."} else part for part in parts]
    return "/".join(parts)[:_NAME_CHARS].rstrip("/")


def _milliseconds(time_s: float) -> int:
    return math.floor(time_s * 1000)


def _batches(items: Iterable[T], size: int) -> Generator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
