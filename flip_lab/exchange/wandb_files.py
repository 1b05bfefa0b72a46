# protobuf's classes are made at run time, and W&B chooses among versions of them:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""W&B: an offline run directory for each run, as ``wandb sync`` takes them.

A round is a step of W&B's; its points share a row, which bears the time of the last.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flip_lab.core.clock import at_utc
from flip_lab.core.errors import ForeignFormatError
from flip_lab.exchange import sidecar
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import RunRecord, Series
from flip_lab.exchange.wandb_log import LogWriter, read_log

_OLDEST_READER = "0.70.0"  # what wandb 0.31 writes
_PROJECT = "flip-lab"
_STATES = {None: "stopped", 0: "completed", 255: "stopped"}
_EXIT = {"completed": 0, "failed": 1, "stopped": 255}
_FAILED = {"code": "FLIP-300", "what": "W&B says that the run failed.", "fix": ""}


def write(records: Sequence[RunRecord], folder: Path) -> None:
    """Write runs, each into a directory such as ``offline-run-20261122_101500-<run_id>``.

    Args:
        records: The runs.
        folder: An empty directory.
    """
    for record in records:
        keys = keys_of(record.series)
        begun = at_utc(record.started_s or record.created_s)
        home = folder / f"offline-run-{begun:%Y%m%d_%H%M%S}-{record.run_id}"
        sidecar.write(record, keys, home / "files", with_files=True)
        (home / "logs").mkdir()
        with (home / f"run-{record.run_id}.wandb").open("xb") as file:
            log = LogWriter(file)
            for number, message in enumerate(_messages(record, keys, home), 1):
                message.num = number
                log.write(message.SerializeToString())


def _messages(record: RunRecord, keys: Mapping[str, Series], home: Path) -> Generator[Any]:
    import wandb
    from wandb.proto import wandb_internal_pb2 as pb

    head = pb.Record()
    head.header.version_info.producer = wandb.__version__
    head.header.version_info.min_consumer = _OLDEST_READER
    yield head
    yield _run(record)
    files = pb.Record()
    for path in sorted((home / "files").iterdir()):
        files.files.files.add(path=path.name, policy=pb.FilesItem.PolicyType.END)
    yield files
    summary: dict[str, str] = {}
    begun_s = record.started_s or record.created_s
    for server_round, time_s, values in _rows(keys):
        row = pb.Record()
        row.history.step.num = server_round
        texts = {key: json.dumps(value) for key, value in values.items()}
        texts |= {
            "_step": json.dumps(server_round),
            "_timestamp": json.dumps(time_s),
            "_runtime": json.dumps(time_s - begun_s),
        }
        for key, text in texts.items():
            row.history.item.add(nested_key=[key], value_json=text)
        summary |= texts
        yield row
    last = pb.Record()
    for key, text in summary.items():
        last.summary.update.add(nested_key=[key], value_json=text)
    yield last
    end = pb.Record()
    end.exit.exit_code = _EXIT[record.state]
    end.exit.runtime = max(0, int(record.ended_s - begun_s))
    yield end


def _run(record: RunRecord) -> Any:  # noqa: ANN401  # a protobuf message
    from wandb.proto import wandb_internal_pb2 as pb

    message = pb.Record()
    run = message.run
    run.run_id, run.display_name = record.run_id, record.name
    run.project, run.notes = record.experiment or _PROJECT, record.note
    run.run_group = record.sweep or record.parent_run_id or ""
    run.tags.extend(record.tags)
    run.start_time.FromNanoseconds(int((record.started_s or record.created_s) * 1e9))
    links = {
        "flip_lab.run_id": record.run_id,
        "flip_lab.parent_run_id": record.parent_run_id,
        "flip_lab.forked_at_round": record.forked_at_round,
    }
    for name, value in links.items():
        run.config.update.add(key=name, value_json=json.dumps(value))
    for name, text in record.parameters.items():
        run.config.update.add(key=name, value_json=_json(text))
    return message


def _json(text: str) -> str:
    """Give a parameter's JSON: parameters are kept as text, numbers and lists as JSON."""
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text


def _rows(keys: Mapping[str, Series]) -> Generator[tuple[int, float, dict[str, float]]]:
    """Give the rows of W&B's history: a key comes once in each, steps never go back."""
    points = sorted(
        (
            (server_round, time_s, key, value)
            for key, series in keys.items()
            for server_round, time_s, value in zip(
                series.rounds, series.times_s, series.values, strict=True
            )
        ),
        key=lambda point: point[:2],
    )
    row: dict[str, float] = {}
    at: tuple[int, float] | None = None
    for server_round, time_s, key, value in points:
        if at is not None and (server_round != at[0] or key in row):
            yield *at, row
            row = {}
        row[key] = value
        at = server_round, time_s
    if at is not None:
        yield *at, row


def read(path: Path) -> list[RunRecord]:
    """Read every offline run below a directory.

    Args:
        path: A run's directory, the ``wandb`` directory above it, or a ``.wandb`` file.

    Returns:
        The runs, by their directories' names. Of the history only numbers are read.

    Raises:
        ForeignFormatError: If there is no offline run.
        NewerSourceError: If a file has another version.
        DamagedSourceError: If a file is cut short or damaged.
    """
    files = [path] if path.is_file() else sorted(path.rglob("run-*.wandb"))
    if not files:
        raise ForeignFormatError(
            f"{path} holds no offline run of W&B: no file run-<id>.wandb.",
            fix="Give the directory offline-run-…, or the wandb directory above it.",
        )
    return [_record(file) for file in files]


@dataclass(kw_only=True)
class _Found:
    """What the records of one run told so far."""

    aside: sidecar.Sidecar
    run: Any = None
    config: dict[str, str] = field(default_factory=dict[str, str])
    series: dict[str, Series] = field(default_factory=dict[str, Series])
    exit_code: int | None = None
    time_s: float = 0.0

    def take(self, record: Any) -> None:  # noqa: ANN401  # a protobuf message
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self._take_config(record.run.config.update)
        elif kind == "config":
            self._take_config(record.config.update)
        elif kind == "history":
            self._take_row(record.history)
        elif kind == "exit":
            self.exit_code = record.exit.exit_code

    def _take_config(self, items: Iterable[Any]) -> None:
        for item in items:
            key = _key(item)
            value = json.loads(item.value_json)
            if key != "_wandb":
                self.config[key] = value if isinstance(value, str) else item.value_json

    def _take_row(self, history: Any) -> None:  # noqa: ANN401  # a protobuf message
        row = {_key(item): json.loads(item.value_json) for item in history.item}
        step = int(row.get("_step", history.step.num))
        self.time_s = float(row.get("_timestamp", self.time_s))
        for key, value in row.items():
            if key.startswith("_") or not isinstance(value, int | float):
                continue
            if key not in self.series:
                self.series[key] = self.aside.series(key)
            self.series[key].add(step, self.time_s, float(value))


def _key(item: Any) -> str:  # noqa: ANN401  # a protobuf message
    return item.key or ".".join(item.nested_key)


def _record(path: Path) -> RunRecord:
    """Read one run.

    Raises:
        ForeignFormatError: If the file tells of no run.
    """
    from wandb.proto import wandb_internal_pb2 as pb

    folder = path.parent / "files"
    found = _Found(aside=sidecar.read(folder / sidecar.FILE))
    for message in read_log(path):
        found.take(pb.Record.FromString(message))
    run = found.run
    if run is None:
        raise ForeignFormatError(
            f"{path} tells of no run.", fix="Give a run that had begun when it was copied."
        )
    begun_s = run.start_time.ToNanoseconds() / 1e9
    state = _STATES.get(found.exit_code, "failed")
    told: dict[str, Any] = {
        "run_id": "",
        "source": run.run_id,
        "name": run.display_name or run.run_id,
        "experiment": run.project,
        "state": state,
        "created_s": begun_s,
        "started_s": begun_s,
        "ended_s": max(found.time_s, begun_s),
        "parameters": found.config,
        "tags": tuple(run.tags),
        "note": run.notes,
        "error": _FAILED if state == "failed" else {},
    }
    return RunRecord(
        **{**told, **found.aside.run},
        series=tuple(found.series.values()),
        files=found.aside.files(folder),
    )
