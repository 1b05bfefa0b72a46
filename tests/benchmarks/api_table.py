"""What the API's figures say, beside what they should be, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_QUANTILES = ("p50", "p95", "p99")

_SPREADS = {
    "read_all": ("All reads, ms", {"p50": 30, "p95": 200}),
    "read_list": ("… the list of runs", {"p95": 200}),
    "read_run": ("… a run", {"p95": 200}),
    "read_metrics": ("… its metrics", {"p95": 200}),
    "read_clients": ("… its clients", {"p95": 200}),
    "read_events": ("… its events", {"p95": 200}),
    "read_scenarios": ("… the gallery", {"p95": 200}),
    "read_first": ("All reads of the first seconds after the start, ms", {}),
    "event_age": ("Age of an event when it reaches a page, ms", {"p95": 300}),
    "list_first": ("5,000 runs: another question each time, ms", {"p95": 50}),
    "list_again": ("… the same question", {"p95": 10}),
    "list_1000": ("… a thousand rows", {"p95": 100}),
}

_SINGLES = {
    "reads": "Reads",
    "reads_failed": "… that failed",
    "reads_known_share": "… share that the reader had already (304)",
    "reads_cpu_ms": "… what one costs the server's processor, on average, ms",
    "reads_server_cores": "… processors that the server took",
    "reads_rounds_meanwhile": "… rounds that the run trained meanwhile",
    "pages": "Pages that watch one run",
    "pages_opened_s": "… opened within, s",
    "pages_messages": "… messages that reached them",
    "pages_gaps": "… events missed or doubled",
    "pages_lost": "… pages lost",
    "pages_server_cores": "… processors that the server took",
    "pages_server_mb": "… memory of the server, MB",
    "list_ready_s": "5,000 runs: the server listens after, s",
    "list_server_mb": "… memory of the server, MB",
}


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Give what was measured: name, three quantiles, and whether targets are met."""
    found: list[tuple[str, str, str, str, str]] = []
    for key, (title, targets) in _SPREADS.items():
        if (spread := figures.get(key)) is not None:
            told = [f"{spread[name]:,}" for name in _QUANTILES]
            wanted = ", ".join(f"{name} < {most}" for name, most in targets.items())
            is_met = all(spread[name] < most for name, most in targets.items())
            verdict = f"{wanted}: {'yes' if is_met else 'no'}" if wanted else ""
            found.append((title, told[0], told[1], told[2], verdict))
    for key, title in _SINGLES.items():
        if (value := figures.get(key)) is not None:
            found.append((title, f"{value:,}", "", "", ""))
    return found


def as_text(figures: Mapping[str, Any]) -> str:
    """Give the table for a terminal."""
    table = [("", *_QUANTILES, "target"), *rows(figures)]
    widths = [max(len(row[place]) for row in table) for place in range(5)]
    lines = [
        "  ".join(
            cell.rjust(width) if 0 < place < 4 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return "\n".join([*lines, _note(figures)])


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Give the table for a page."""
    lines = ["| | p50 | p95 | p99 | target |", "|---|---:|---:|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(figures)]
    return "\n".join([*lines, "", _note(figures), ""])


def _note(figures: Mapping[str, Any]) -> str:
    spread = figures.get("read_all")
    turns = (
        f" p95 of all reads by turn: {spread['p95_lowest']} to {spread['p95_highest']} ms."
        if spread
        else ""
    )
    begin, end = figures["load_at_start"], figures["load_at_end"]
    return f"Load of the machine: {begin} at the start, {end} at the end.{turns}"
