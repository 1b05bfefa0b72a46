"""One of several writers: ``python store_writer.py KIND FOLDER NAME SECONDS PAUSE_S``.

It says that it is ready, waits for a line, writes batches of a hundred points for so many
seconds with a pause after each, and prints how many rows it wrote and how long each batch
took to be kept.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from store_points import BATCH, Batch, batches

from flip_lab.core.events import MetricSeries
from flip_lab.runs.recorder import Recorder
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab, write_json_atomic

Keep = Callable[[Batch], None]


def _ours(folder: Path, name: str) -> tuple[Keep, Callable[[], None]]:
    lab = open_lab(folder)
    write_json_atomic(lab.run_dir(name) / "run.json", {"run_id": name, "name": name})
    recorder = Recorder(name, JournalWriter(lab, name))

    def keep(batch: Batch) -> None:
        recorder.log(
            MetricSeries(
                phase="train",
                scope="federated",
                server_rounds=batch.server_rounds,
                names=batch.names,
                values=batch.values,
            )
        )

    return keep, recorder.close


def _sqlite(folder: Path, name: str) -> tuple[Keep, Callable[[], None]]:
    database = sqlite3.connect(folder / "shared.db", timeout=60.0, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS metrics "
        "(run_id TEXT, time_s REAL, server_round INTEGER, name TEXT, value REAL)"
    )

    def keep(batch: Batch) -> None:
        now_s = time.time()  # noqa: TID251  # nobody reads it
        rows = zip(batch.server_rounds, batch.names, batch.values, strict=True)
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?)",
            [
                (name, now_s, server_round, metric, value)
                for server_round, metric, value in rows
            ],
        )
        database.execute("COMMIT")

    return keep, database.close


_KINDS = {"ours": _ours, "sqlite": _sqlite}


def main(kind: str, folder: str, name: str, seconds: str, pause_s: str) -> None:
    """Write, and report."""
    some = batches(100 * BATCH)
    keep, close = _KINDS[kind](Path(folder), name)
    with ExitStack() as stack:
        stack.callback(close)
        print("ready", flush=True)
        sys.stdin.readline()
        took_s: list[float] = []
        end_s = time.perf_counter() + float(seconds)
        while (start_s := time.perf_counter()) < end_s:
            keep(some[len(took_s) % len(some)])
            took_s.append(time.perf_counter() - start_s)
            if float(pause_s):
                time.sleep(float(pause_s))
    print(json.dumps({"rows": len(took_s) * BATCH, "took_s": took_s}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
