"""Eight processes write at once: how much, how soon it is kept, how soon it is seen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TextIO, cast

from flip_lab.store import kept, query
from flip_lab.store.events import EventTail
from flip_lab.store.layout import LabDir, open_lab

_WRITER = Path(__file__).with_name("store_writer.py")
_WRITERS = 8
_PAUSE_S = 0.05  # sixteen thousand rows a second over all writers
_LOOK_EVERY_S = 0.1
_LIVE = """
    SELECT run_id, max(sequence) AS last, max(epoch(time_at)) AS newest_s,
        arg_max(value, sequence) AS value
    FROM metrics WHERE name = 'train_loss' GROUP BY run_id
"""


class Writers:
    """Eight writing processes.

    Args:
        kind: ``"ours"`` or ``"sqlite"``.
        folder: Where they write.
        seconds: How long.
        pause_s: How long each rests after a batch.
    """

    def __init__(self, kind: str, folder: Path, seconds: float, pause_s: float) -> None:
        """Start them, and let them begin when all are ready."""
        folder.mkdir(parents=True, exist_ok=True)
        self._seconds = seconds
        self._processes = [
            subprocess.Popen(
                [
                    *(sys.executable, str(_WRITER), kind, str(folder)),
                    *(f"writer-{number}", str(seconds), str(pause_s)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(_WRITERS)
        ]
        for process in self._processes:
            cast("TextIO", process.stdout).readline()
        for process in self._processes:
            pipe = cast("TextIO", process.stdin)
            pipe.write("\n")
            pipe.close()

    @property
    def are_at_it(self) -> bool:
        """Whether one of them still writes."""
        return any(process.poll() is None for process in self._processes)

    def reports(self) -> list[dict[str, Any]]:
        """Wait for all, and give what each says."""
        found = [json.load(cast("TextIO", process.stdout)) for process in self._processes]
        for process in self._processes:
            cast("TextIO", process.stdout).close()
            process.wait(timeout=60)
        return found


def throughput(folder: Path, *, turns: int, seconds: float) -> dict[str, Any]:
    """Let eight writers write as fast as they can: our store and one SQLite file in turn.

    Args:
        folder: Where they write.
        turns: How often each has its turn.
        seconds: How long a turn is.
    """
    rows_per_s: dict[str, list[float]] = {"ours": [], "sqlite": []}
    slowest_s: dict[str, list[float]] = {"ours": [], "sqlite": []}
    for turn in range(turns):
        for kind, found in rows_per_s.items():
            writers = Writers(kind, folder / f"{kind}-{turn}", seconds, 0.0)
            reports = writers.reports()
            found.append(sum(report["rows"] for report in reports) / seconds)
            slowest_s[kind].append(max(_p95(report["took_s"]) for report in reports))
    ratios = [a / b for a, b in zip(rows_per_s["ours"], rows_per_s["sqlite"], strict=True)]
    return {
        "eight_writers_rows_per_s": {k: round(median(v)) for k, v in rows_per_s.items()},
        "eight_writers_p95_ms": {
            kind: round(1000 * median(some), 3) for kind, some in slowest_s.items()
        },
        "eight_writers_over_sqlite": round(median(ratios), 1),
    }


def watched(folder: Path, *, seconds: float) -> dict[str, Any]:
    """Watch eight writers, each with a batch every twentieth of a second.

    Three readers look ten times a second, one after the other: SQL that is asked again,
    SQL of a reader that has never looked before, and a reader that follows one run.

    Args:
        folder: Where they write.
        seconds: How long each reader watches.
    """
    figures: dict[str, Any] = {}
    acknowledged_s: list[float] = []
    readers: dict[str, Callable[[LabDir], Callable[[], float | None]]] = {
        "live_read": _asking,
        "live_read_anew": _asking_anew,
        "follow": _following,
    }
    for name, reader in readers.items():
        place = folder / name
        lab = open_lab(place)
        writers = Writers("ours", place, seconds, _PAUSE_S)
        figures |= _watch(name, writers, reader(lab))
        reports = writers.reports()
        acknowledged_s += [took_s for report in reports for took_s in report["took_s"]]
        figures["live_rows"] = sum(report["rows"] for report in reports)
    figures["ack_p95_ms"] = round(1000 * _p95(acknowledged_s), 3)
    figures["ack_p50_ms"] = round(1000 * median(acknowledged_s), 3)
    return figures


def _asking(lab: LabDir) -> Callable[[], float | None]:
    def look() -> float | None:
        rows = query.sql(lab, _LIVE, as_="rows")
        return min((row["newest_s"] for row in rows), default=None)

    return look


def _asking_anew(lab: LabDir) -> Callable[[], float | None]:
    ask = _asking(lab)

    def look() -> float | None:
        kept.forget(lab)
        return ask()

    return look


def _following(lab: LabDir) -> Callable[[], float | None]:
    tail = EventTail(lab, "writer-0")

    def look() -> float | None:
        new = tail.poll()
        return new[-1].time_s if new else None

    return look


def _watch(
    name: str, writers: Writers, look: Callable[[], float | None]
) -> dict[str, float]:
    """Time each look, and bound how old a row was when it was seen first.

    What was not in the look before was written after the newest row of that look, or
    before it and not seen, which the tests of the store exclude.
    """
    took_s: list[float] = []
    unseen_s: list[float] = []
    before_s: float | None = None
    while writers.are_at_it:
        start_s = time.perf_counter()
        newest_s = look()
        took_s.append(time.perf_counter() - start_s)
        if before_s is not None and newest_s is not None and newest_s > before_s:
            unseen_s.append(time.time() - before_s)  # noqa: TID251  # compared with other processes' clocks
        before_s = newest_s or before_s
        time.sleep(max(0.0, _LOOK_EVERY_S - took_s[-1]))
    return {
        f"{name}_p50_ms": round(1000 * median(took_s), 2),
        f"{name}_p95_ms": round(1000 * _p95(took_s[1:]), 2),
        f"{name}_first_ms": round(1000 * took_s[0], 2),
        f"{name}_seen_after_s": round(max(unseen_s, default=0.0), 3),
    }


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=0.0)
