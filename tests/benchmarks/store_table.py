"""What the figures say, beside what they should be, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_Row = tuple[str, str, str, str]

_ROWS: tuple[_Row, ...] = (
    (
        "mlflow_over_ours_log",
        "Logging: MLflow (SQLite) takes so many times as long",
        "≥",
        "100",
    ),
    (
        "tensorboard_over_ours_log",
        "Logging: TensorBoard takes so many times as long",
        "≥",
        "40",
    ),
    ("raw_write_over", "Logging: over a raw write of the same bytes", "≤", "20"),
    ("mlflow_over_emit", "Logging point by point: MLflow over it", "", ""),
    ("tensorboard_over_emit", "Logging point by point: TensorBoard over it", "", ""),
    (
        "tensorboard_over_ours_disk",
        "Disk: TensorBoard takes so many times as much",
        "≥",
        "4",
    ),
    ("mlflow_over_ours_disk", "Disk: MLflow takes so many times as much", "≥", "20"),
    (
        "eight_writers_over_sqlite",
        "Eight writers: rows over one SQLite file (WAL)",
        "≥",
        "10",
    ),
    ("ack_p95_ms", "Eight writers: a batch is kept, p95, ms", "≤", "5"),
    ("live_read_p95_ms", "Live SQL, asked again and again, p95, ms", "≤", "50"),
    (
        "live_read_anew_p95_ms",
        "Live SQL, everything read anew each time, p95, ms",
        "≤",
        "50",
    ),
    ("follow_p95_ms", "Following a run, p95, ms", "≤", "10"),
    ("live_read_seen_after_s", "A row is seen in live SQL, at most, s", "≤", "1"),
    ("follow_seen_after_s", "A row is seen by who follows, at most, s", "≤", "1"),
    ("best_per_run_ms", "Best of each of 1,000 runs, ms", "≤", "25"),
    ("best_per_run_over_single_file", "… over a single DuckDB file", "≤", "3"),
    ("best_per_run_sql_ms", "… by lab.sql, ms", "≤", "25"),
    ("best_per_run_anew_ms", "… by lab.sql, for the first time, ms", "", ""),
    ("curves_20_ms", "20 curves, ms", "≤", "25"),
    ("curves_20_over_single_file", "… over a single DuckDB file", "≤", "3"),
    ("curves_20_sql_ms", "… by lab.sql, ms", "≤", "25"),
    ("curves_20_anew_ms", "… by lab.sql, for the first time, ms", "", ""),
    ("quantiles_ms", "Quantiles over all client rows, ms", "", ""),
    ("quantiles_over_single_file", "… over a single DuckDB file", "≤", "1.3"),
    ("open_lab_ms", "Opening a lab with 1,000 runs, all tables, ms", "≤", "150"),
    ("list_1000_runs_ms", "Listing 1,000 runs with summaries, ms", "≤", "100"),
    ("list_1000_runs_again_ms", "… again, ms", "≤", "100"),
    ("recording_share_of_round", "Recording, as a share of a simulated round", "≤", "0.01"),
    ("kill9_trials", "kill -9: how often", "≥", "500"),
    ("kill9_rows_lost", "kill -9: acknowledged rows lost", "≤", "0"),
    ("kill9_rows_doubled", "kill -9: rows twice", "≤", "0"),
    ("kill9_unreadable", "kill -9: stores that could not be read", "≤", "0"),
)


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Give what was measured: name, figure, target, and whether it is met."""
    found: list[tuple[str, str, str, str]] = []
    for key, title, sign, target in _ROWS:
        value = figures.get(key)
        if value is not None:
            bound = f"{sign} {target}" if sign else ""
            found.append((title, f"{value:,}", bound, _verdict(value, sign, target)))
    return found


def _verdict(value: float, sign: str, target: str) -> str:
    if not sign:
        return ""
    is_met = value >= float(target) if sign == "≥" else value <= float(target)
    return "yes" if is_met else "no"


def as_text(figures: Mapping[str, Any]) -> str:
    """Give the table for a terminal."""
    table = [("", "measured", "target", "met"), *rows(figures)]
    widths = [max(len(row[place]) for row in table) for place in range(4)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return "\n".join([*lines, *_notes(figures)])


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Give the table for a page."""
    lines = ["| | measured | target | met |", "|---|---:|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(figures)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(figures)), ""])


def _notes(figures: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{side} was left out: {why}." for side, why in figures.get("missing", {}).items()
    ]
    for key, what in (
        ("points_per_s", "Points a second"),
        ("bytes_per_point", "Bytes a point on the disk"),
        ("eight_writers_rows_per_s", "Rows a second of eight writers"),
    ):
        if key in figures:
            each = ", ".join(f"{side} {value:,.0f}" for side, value in figures[key].items())
            notes.append(f"{what}: {each}.")
    return notes
