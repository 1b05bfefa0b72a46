"""What people ask of a long history: our store and a DuckDB file made by hand, in turn."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
from store_history import History

from flip_lab.runs.lab import Lab
from flip_lab.store import kept
from flip_lab.store.database import open_database
from flip_lab.store.layout import LabDir

_CURVES = """
    SELECT run_id, server_round, value FROM metrics
    WHERE name = 'eval_accuracy' AND scope = 'central' AND run_id IN ({runs})
    ORDER BY run_id, server_round
"""
_QUANTILES = """
    SELECT server_round, quantile_cont(value, [0.1, 0.5, 0.9]) AS quantiles
    FROM client_metrics WHERE name = 'train_loss'
    GROUP BY server_round ORDER BY server_round
"""
_BEST = """
    SELECT run_id, max AS best, max_round AS best_round FROM run_metrics
    WHERE name = 'eval_accuracy' AND scope = 'central' ORDER BY run_id
"""
_BEST_BY_HAND = """
    SELECT run_id, max(value) AS best, arg_max(server_round, value) AS best_round
    FROM metrics WHERE name = 'eval_accuracy' AND scope = 'central'
    GROUP BY run_id ORDER BY run_id
"""
_NEW_PROCESS = """
import sys, time
start_s = time.perf_counter()
from flip_lab.runs.lab import Lab
import flip_lab.store.query, pandas, pyarrow
imported_s = time.perf_counter()
lab = Lab(sys.argv[1])
runs, summaries = lab.runs(), lab.table("run_metrics")
print(imported_s - start_s, time.perf_counter() - imported_s)
"""


def by_hand(lab: LabDir, path: Path) -> Path:
    """Make one DuckDB file with the same rows, sorted as ours are, or take it as it is.

    Args:
        lab: Where the rows come from.
        path: The file.
    """
    if path.exists():
        return path
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with closing(duckdb.connect(draft)) as connection:
        connection.execute("SET enable_progress_bar = false")
        for table, file, order in (
            ("metrics", "metric", "run_id, sequence"),
            (
                "client_metrics",
                "client_metrics",
                "run_id, server_round, phase, node_id, name",
            ),
        ):
            connection.execute(
                f"CREATE TABLE {table} AS FROM "  # our own names
                f"read_parquet('{lab.segments}/*/{file}.parquet') ORDER BY {order}"
            )
    return draft.rename(path)


def measure(lab: Lab, file: Path, history: History, *, turns: int) -> dict[str, Any]:
    """Ask, side by side, warm and anew.

    Args:
        lab: The lab with the history.
        file: The DuckDB file with the same rows.
        history: What is in both.
        turns: How often each question is asked of each side.
    """
    step = max(1, history.runs // 20)
    chosen = ", ".join(f"'{history.run_id(n)}'" for n in range(0, history.runs, step)[:20])
    curves = _CURVES.format(runs=chosen)
    questions = {
        "best_per_run": (_BEST, _BEST_BY_HAND),
        "curves_20": (curves, curves),
        "quantiles": (_QUANTILES, _QUANTILES),
    }
    with closing(lab.connect()) as ours, closing(_opened(file)) as other:
        figures = _compare(lab, questions, ours, other, turns)
    return figures | _opening(lab, turns) | _in_a_new_process(lab)


def _opened(file: Path) -> duckdb.DuckDBPyConnection:
    """Open the file made by hand with as many threads as our readers take."""
    with closing(open_database()) as model:
        [threads] = model.execute("SELECT current_setting('threads')").fetchone() or (1,)
    connection = duckdb.connect(file, read_only=True, config={"threads": threads})
    connection.execute("SET enable_progress_bar = false")
    return connection


def _compare(
    lab: Lab,
    questions: Mapping[str, tuple[str, str]],
    ours: duckdb.DuckDBPyConnection,
    other: duckdb.DuckDBPyConnection,
    turns: int,
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    place = LabDir(lab.path)

    def anew(question: str) -> None:
        kept.forget(place)
        lab.sql(question, as_="arrow")

    for name, (question, question_by_hand) in questions.items():
        mine, theirs = ours.sql(question).fetchall(), other.sql(question_by_hand).fetchall()
        if mine != theirs or not mine:
            raise RuntimeError(f"The two sides do not answer {name} alike.")
        took = _in_turn(
            {
                "": lambda q=question: ours.sql(q).to_arrow_table(),
                "_by_hand": lambda q=question_by_hand: other.sql(q).to_arrow_table(),
                "_sql": lambda q=question: lab.sql(q, as_="arrow"),
                "_anew": lambda q=question: anew(q),
            },
            turns,
        )
        figures |= {f"{name}{key}_ms": _ms(some) for key, some in took.items()}
        figures |= {
            f"{name}{key}_over_single_file": round(
                median(a / b for a, b in zip(took[key], took["_by_hand"], strict=True)), 2
            )
            for key in ("", "_sql", "_anew")
        }
    return figures


def _opening(lab: Lab, turns: int) -> dict[str, float]:
    place = LabDir(lab.path)

    def open_it() -> None:
        Lab(lab.path).connect().close()

    def list_anew() -> None:
        kept.forget(place)
        list_again()

    def list_again() -> None:
        found = Lab(lab.path)
        found.runs()
        found.table("run_metrics")

    took = _in_turn(
        {
            "open_lab": open_it,
            "list_1000_runs": list_anew,
            "list_1000_runs_again": list_again,
        },
        turns,
    )
    return {f"{name}_ms": _ms(some) for name, some in took.items()}


def _in_a_new_process(lab: Lab) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _NEW_PROCESS, str(lab.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    imports_s, list_s = map(float, done.stdout.split())
    return {
        "new_process_imports_s": round(imports_s, 2),
        "new_process_list_ms": round(1000 * list_s, 1),
    }


def _in_turn(
    sides: Mapping[str, Callable[[], object]], turns: int
) -> dict[str, list[float]]:
    """Ask every side in turn, A B C A B C, after one turn that does not count."""
    took_s: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, ask in sides.items():
            start_s = time.perf_counter()
            ask()
            if turn:
                took_s[name].append(time.perf_counter() - start_s)
    return took_s


def _ms(seconds: list[float]) -> float:
    return round(1000 * median(seconds), 2)
