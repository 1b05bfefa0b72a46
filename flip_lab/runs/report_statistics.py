"""What a comparison found: ranks, curves, differences, times to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flip_lab.analysis import (
    Comparison,
)
from flip_lab.analysis.targets import Unit
from flip_lab.runs.report_markup import (
    Html,
    amount,
    code,
    duration,
    element,
    is_missing,
    section,
    size,
    table,
)
from flip_lab.runs.report_page import plot
from flip_lab.views import (
    confidence_bands,
    effect_forest,
    leaderboard_figure,
    target_curves,
)
from flip_lab.views.canvas import counted
from flip_lab.views.theme import Theme

if TYPE_CHECKING:
    import pandas as pd

from flip_lab.runs.report_question import Question

_BANDS = 8  # as many as there are colours, and as its legend has room for


def leaderboard_section(
    found: Comparison, question: Question, themes: tuple[Theme, ...]
) -> Html:
    """Rank the groups, ties marked."""
    board = found.leaderboard(at=question.at, alpha=question.alpha)
    head = ("rank", "group", "mean", "interval", "seeds", "diverged", "best run", "")
    head = (*head, "p to leader", "note")
    rows = [
        (
            _rank_words(row),
            row["group"],
            row["centre"],
            _interval(row["low"], row["high"]),
            row["num_seeds"],
            row["num_diverged"],
            row["best_value"],
            code(row["best_run_id"]),
            _p(row["p_to_leader"]),
            row["note"] or None,
        )
        for row in board.to_dict("records")
    ]
    shown = board.head(_lanes_a_page(board["group"]))
    note = "Groups that share rank 1 were not shown to be worse than the leader."
    if len(shown) < len(board):
        note += f" The figure has the first {len(shown)} of {len(board):,} groups."
    return section(
        "Leaderboard",
        plot(lambda theme: leaderboard_figure(shown, found.metric, theme=theme), themes),
        table(head, rows),
        note=note,
    )


def _lanes_a_page(names: pd.Series[str]) -> int:
    """Say how many lanes fit on paper: long names take several lines each."""
    num_lines = -(-int(names.str.len().max()) // 26)  # a line has at most 32 letters
    return 700 // max(22, 8 + 14 * num_lines)


def _rank_words(row: dict[Any, Any]) -> str:
    if is_missing(row["rank"]):
        return "–"
    return f"{row['rank']}=" if row["is_tied"] else str(row["rank"])


def _interval(low: float, high: float) -> Html | None:
    return None if is_missing(low) else amount(f"{low:.4g} to {high:.4g}")


def _p(value: float) -> Html | None:
    return None if is_missing(value) else amount(f"{value:.2g}")


def curves_section(
    found: Comparison, question: Question, themes: tuple[Theme, ...]
) -> Html:
    """Draw the groups in bands over their seeds."""
    bands = found.bands(confidence=1 - question.alpha)
    best = found.leaderboard(at=question.at, alpha=question.alpha)["group"]
    shown = bands[bands["group"].isin(best.head(_BANDS))]
    note = f"The {_BANDS} best of {len(best):,} groups." if len(best) > _BANDS else ""
    return section(
        "Curves",
        plot(lambda theme: confidence_bands(shown, found.metric, theme=theme), themes),
        note=note,
    )


def differences_section(
    found: Comparison, question: Question, themes: tuple[Theme, ...]
) -> list[Html]:
    """Test the groups against each other; nothing if there is only one."""
    tests = found.pairwise(at=question.at, alpha=question.alpha)
    frame = tests.frame
    if frame.empty:
        return []  # one group has nothing to differ from
    head = ("first", "second", "test", "n", "difference", "interval", "p", "corrected p")
    head = (*head, "Hedges’ g", "Cliff’s δ", "note")
    rows = [
        (
            row["first"],
            row["second"],
            row["test"],
            amount(f"{row['num_first']}, {row['num_second']}"),
            row["difference"],
            _interval(row["low"], row["high"]),
            _p(row["p_value"]),
            _p(row["p_corrected"]),
            row["hedges_g"],
            row["cliffs_delta"],
            row["note"] or None,
        )
        for row in frame.to_dict("records")
    ]
    most = _lanes_a_page(frame["first"] + " – " + frame["second"])
    shown = frame.sort_values("p_corrected", kind="stable").head(most)
    note = (
        f"First minus second. p corrected for {counted(len(rows), 'test')} "
        f"({tests.correction}); "
        "intervals are not."
    )
    if len(shown) < len(frame):
        note += f" The figure has the {len(shown)} pairs with the smallest p."
    notes = [element("li", words) for words in tests.notes]
    return [
        section(
            "Differences",
            plot(lambda theme: effect_forest(shown, found.metric, theme=theme), themes),
            table(head, rows),
            *([element("ul", *notes, class_="note")] if notes else []),
            note=note,
        )
    ]


def target_section(
    found: Comparison, question: Question, themes: tuple[Theme, ...]
) -> list[Html]:
    """Say how soon runs reach the target; nothing if none is asked for."""
    if question.target is None:
        return []
    arrived = found.to_target(question.target)
    parts: list[Html] = []
    units: tuple[Unit, ...] = ("rounds", "seconds", "bytes")
    for unit in units:
        summary = arrived.summary(unit)
        if not summary["num_runs"].sum():
            continue
        parts += [
            plot(
                lambda theme, unit=unit: target_curves(
                    arrived, found.metric, unit=unit, theme=theme
                ),
                themes,
            ),
            table(
                (
                    "group",
                    "runs",
                    "reached it",
                    f"median {unit}",
                    "restricted mean",
                    "note",
                ),
                [
                    (
                        row["group"],
                        row["num_runs"],
                        row["num_reached"],
                        _cost(row["median"], unit),
                        _cost(row["restricted_mean"], unit),
                        row["note"] or None,
                    )
                    for row in summary.to_dict("records")
                ],
            ),
        ]
    return [section(f"Time to {found.metric} of {question.target:g}", *parts)]


def _cost(value: float, unit: Unit) -> Html | None:
    if is_missing(value):
        return None
    if unit == "seconds":
        return duration(value)
    return size(value) if unit == "bytes" else amount(f"{value:.4g}")
