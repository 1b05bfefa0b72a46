"""What the figures say: one summary for each workload, as JSON, as text, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from engine_contest import Figures, Plan
from engine_workloads import FEW_NODES, Workload

Found = Mapping[tuple[str, str], Figures]

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "round_ms": ("ms a round", "{:,.1f}"),
    "ratio_to_limit": ("over limit", "{:.2f}"),
    "cpu_ms": ("CPU ms a round", "{:,.1f}"),
    "cpu_ratio_to_limit": ("over limit's CPU", "{:.2f}"),
    "recorded_over_not": ("recorded over not", "{:.2f}"),
    "first_round_s": ("first round, s", "{:.1f}"),
    "launch_first_round_s": ("launched, s", "{:.1f}"),
    "second_run_first_round_s": ("again, s", "{:.2f}"),
    "peak_rss_mib": ("memory, MiB", "{:,.0f}"),
    "accuracy": ("accuracy", "{:.3f}"),
    "over_few_nodes": ("over 1,000 nodes", "{:.2f}"),
    "registering_s": ("registering, s", "{:.2f}"),
    "registering_mib": ("registering, MiB", "{:,.0f}"),
}


def summarise(
    workload: Workload, found: Found, plan: Plan, *, limit: str
) -> dict[str, Any]:
    """Reduce what was measured to medians, and to ratios turn by turn.

    Args:
        workload: What was trained.
        found: The figures of each side and workload.
        plan: How long each side ran.
        limit: The side that the others are measured by.
    """
    ours = {side: one for (side, name), one in found.items() if name == workload.name}
    done = {side: one for side, one in ours.items() if not one.skipped}
    summary: dict[str, Any] = {
        "workload": workload.name,
        "title": workload.title,
        "turns": max((len(one.round_s) for one in done.values()), default=0),
        "rounds": plan.rounds,
        "few_turns": {side: len(done[side].round_s) for side in plan.slow if side in done},
        "round_ms": _each(done, lambda one: 1000 * median(one.round_s)),
        "ratio_to_limit": {},
        "cpu_ms": _each(done, lambda one: 1000 * median(one.cpu_s)),
        "cpu_ratio_to_limit": {},
        "recorded_over_not": _each(
            done,
            lambda one: _ratio(one.recorded_s, one.round_s) if one.recorded_s else None,
        ),
        "first_round_s": _each(done, lambda one: one.first_round_s),
        "launch_first_round_s": _each(
            done, lambda one: one.launch_s[0] if one.launch_s else None
        ),
        "second_run_first_round_s": _each(
            done, lambda one: one.launch_s[1] if one.launch_s else None
        ),
        "peak_rss_mib": _each(done, lambda one: one.pss_mib),
        **_accuracies(done),
        "skipped": {side: one.skipped for side, one in ours.items() if one.skipped},
    }
    if limit in done:
        base = done[limit]
        others = {side: one for side, one in done.items() if side != limit}
        summary |= {
            "ratio_to_limit": _each(others, lambda one: _ratio(one.round_s, base.round_s)),
            "cpu_ratio_to_limit": _each(
                others, lambda one: median(one.cpu_s) / median(base.cpu_s)
            ),
        }
    if workload.name in FEW_NODES:
        summary |= _against_few_nodes(done, found, FEW_NODES[workload.name])
    return summary


def _each(
    sides: Mapping[str, Figures], figure: Callable[[Figures], float | None]
) -> dict[str, float]:
    values = {side: figure(one) for side, one in sides.items()}
    return {side: round(value, 4) for side, value in values.items() if value is not None}


def _ratio(above: Iterable[float], below: Iterable[float]) -> float:
    """Give the median of the ratios turn by turn: a drifting machine cancels out."""
    return median(a / b for a, b in zip(above, below, strict=False))


def _accuracies(done: Mapping[str, Figures]) -> dict[str, Any]:
    """Compare the models after the largest number of rounds that all sides have done."""
    known = [set(one.accuracy) for one in done.values()]
    rounds_done = max(set.intersection(*known), default=0) if known else 0
    return {
        "accuracy": _each(done, lambda one: one.accuracy.get(rounds_done)),
        "accuracy_after_rounds": rounds_done,
    }


def _against_few_nodes(
    done: Mapping[str, Figures], found: Found, few: str
) -> dict[str, dict[str, float]]:
    """Say what many nodes cost: in each round, and once, in seconds and memory."""
    pairs = {
        side: (one, found[side, few])
        for side, one in done.items()
        if not found[side, few].skipped
    }

    def compare(figure: Callable[[Figures, Figures], float]) -> dict[str, float]:
        return {side: round(figure(*pair), 4) for side, pair in pairs.items()}

    return {
        "over_few_nodes": compare(lambda many, few: _ratio(many.round_s, few.round_s)),
        "registering_s": compare(lambda many, few: many.first_round_s - few.first_round_s),
        "registering_mib": compare(lambda many, few: many.pss_mib - few.pss_mib),
    }


def as_text(summary: Mapping[str, Any]) -> str:
    """Give the table for a terminal."""
    rows = _rows(summary)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(
        [f"{summary['workload']}: {summary['title']}", *lines, *_notes(summary)]
    )


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Give the table for a page."""
    head, *body = _rows(summary)
    rule = ["---", *("---:" for _ in head[1:])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
    notes = "\n".join(f"- {note}" for note in _notes(summary))
    return f"### {summary['workload']}: {summary['title']}\n\n{table}\n\n{notes}\n"


def _rows(summary: Mapping[str, Any]) -> list[list[str]]:
    shown = {key: title for key, title in _COLUMNS.items() if summary.get(key)}
    rows = [["side", *(title for title, _ in shown.values())]]
    for side in summary["round_ms"]:
        cells = [
            form.format(summary[key][side]) if side in summary[key] else "–"
            for key, (_, form) in shown.items()
        ]
        rows.append([side, *cells])
    return rows


def _notes(summary: Mapping[str, Any]) -> list[str]:
    turns, rounds = summary["turns"], summary["rounds"]
    after = f"accuracy after {summary['accuracy_after_rounds']} rounds"
    few = summary["few_turns"].items()
    return [
        f"Medians over {turns} turns of {rounds} rounds; {after}.",
        *(f"{side} ran {count} turns: it takes long to start." for side, count in few),
        *(f"{side} was left out: {why}." for side, why in summary["skipped"].items()),
    ]
