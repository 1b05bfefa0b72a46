"""The process of one side that logs, spoken to by pipe: ``python store_side.py SIDE``.

It needs nothing of ours but for our own sides, so that another Python can run it where
MLflow cannot be installed beside us. A line with a folder and a number of points comes in,
a line with seconds and bytes goes out; the clock runs from the first point to the moment
at which a kill of the process costs none.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from store_points import Batch, batches

Logged = dict[str, Any]
_RUN = "run"


def _clocked(log: Callable[[], None]) -> Logged:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    log()
    return {
        "seconds": time.perf_counter() - wall_s,
        "cpu_s": time.process_time() - cpu_s,
    }


def size_of(folder: Path) -> int:
    """Add up the files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def flip_series(folder: Path, some: Sequence[Batch]) -> Logged:
    """Log a batch at once, as ``MetricSeries``."""
    events = importlib.import_module("flip_lab.core.events")

    def log(recorder: Any) -> None:  # noqa: ANN401  # ours, imported only here
        for each in some:
            recorder.log(
                events.MetricSeries(
                    phase="train",
                    scope="federated",
                    server_rounds=each.server_rounds,
                    names=each.names,
                    values=each.values,
                )
            )

    return _flip(folder, log)


def flip_emit(folder: Path, some: Sequence[Batch]) -> Logged:
    """Log point by point; a thread hands them over within a fifth of a second."""
    metric = importlib.import_module("flip_lab.core.events").EventKind.METRIC

    def log(recorder: Any) -> None:  # noqa: ANN401  # ours, imported only here
        for each in some:
            for server_round, name, value in zip(
                each.server_rounds, each.names, each.values, strict=True
            ):
                body = {
                    "phase": "train",
                    "scope": "federated",
                    "name": name,
                    "value": value,
                }
                recorder.emit(metric, body, server_round=server_round)

    return _flip(folder, log)


def _flip(folder: Path, log: Callable[[Any], None]) -> Logged:
    journal = importlib.import_module("flip_lab.store.journal")
    layout = importlib.import_module("flip_lab.store.layout")
    recording = importlib.import_module("flip_lab.runs.recorder")
    lab = layout.open_lab(folder)
    layout.write_json_atomic(lab.run_dir(_RUN) / "run.json", {"run_id": _RUN})
    recorder = recording.Recorder(_RUN, journal.JournalWriter(lab, _RUN))

    def all_of_it() -> None:
        log(recorder)
        recorder.flush()

    found = _clocked(all_of_it)
    recorder.close()
    found["journal_bytes"] = size_of(lab.live)
    start_s = time.perf_counter()
    importlib.import_module("flip_lab.store.compaction").compact(lab, [_RUN], grace_s=0.0)
    found["seal_s"] = time.perf_counter() - start_s
    found["disk_bytes"] = size_of(lab.segments) + size_of(lab.live)
    return found


def raw(folder: Path, some: Sequence[Batch]) -> Logged:
    """Write the bytes that our journal has, ready-made; the limit of any file format."""
    events = importlib.import_module("flip_lab.core.events")
    frames = importlib.import_module("flip_lab.store.frames")
    lines: list[bytes] = []
    first = 0
    for each in some:
        series = events.MetricSeries(
            phase="train",
            scope="federated",
            server_rounds=each.server_rounds,
            names=each.names,
            values=each.values,
        )
        lines.append(
            frames.encode_metrics(series, run_id=_RUN, first=first, time_s=time.time())  # noqa: TID251  # nobody reads it
        )
        first += len(each.values)
    file = os.open(folder / "raw.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log() -> None:
        for line in lines:
            os.write(file, line)

    found = _clocked(log)
    os.close(file)
    return found | {"disk_bytes": size_of(folder)}


def tensorboard(folder: Path, some: Sequence[Batch]) -> Logged:
    """Log point by point with PyTorch's writer: it knows no other way."""
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(
        str(folder), flush_secs=1
    )

    def log() -> None:
        for each in some:
            for server_round, name, value in zip(
                each.server_rounds, each.names, each.values, strict=True
            ):
                writer.add_scalar(name, value, server_round)
        writer.flush()

    found = _clocked(log)
    writer.close()
    return found | {"disk_bytes": size_of(folder)}


def mlflow(folder: Path, some: Sequence[Batch]) -> Logged:
    """Log a batch at once with ``log_batch`` into SQLite."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    importlib.import_module("logging").getLogger("mlflow").setLevel("ERROR")
    entities: Any = importlib.import_module("mlflow.entities")
    client = importlib.import_module("mlflow").MlflowClient(f"sqlite:///{folder}/m.db")
    experiment = client.create_experiment("benchmark")
    run_id = client.create_run(experiment).info.run_id
    before = size_of(folder)

    def log() -> None:
        for each in some:
            now_ms = int(time.time() * 1000)  # noqa: TID251  # nobody reads it
            client.log_batch(
                run_id,
                metrics=[
                    entities.Metric(name, value, now_ms, server_round)
                    for server_round, name, value in zip(
                        each.server_rounds, each.names, each.values, strict=True
                    )
                ],
                synchronous=True,
            )

    found = _clocked(log)
    return found | {"disk_bytes": size_of(folder) - before}


LOGGERS = {
    "flip_series": flip_series,
    "flip_emit": flip_emit,
    "raw": raw,
    "tensorboard": tensorboard,
    "mlflow": mlflow,
}
"""Every side by name."""


def main(side: str) -> None:
    """Be one side until the pipe closes."""
    commands, reports = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print

    def report(**facts: object) -> None:
        reports.write(json.dumps(facts) + "\n")
        reports.flush()

    for line in commands:
        command = json.loads(line)
        folder = Path(command["folder"])
        folder.mkdir(parents=True)
        try:
            report(**LOGGERS[side](folder, batches(command["points"])))
        except ImportError as error:
            report(skipped=str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
