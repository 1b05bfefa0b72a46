"""The report of a comparison, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flip_lab.analysis import (
    Comparison,
    compare,
    configuration_diff,
    fairness,
    fairness_of_groups,
)
from flip_lab.analysis.inputs import Goal
from flip_lab.analysis.scores import At
from flip_lab.analysis.targets import Unit
from flip_lab.core.errors import AnalysisError
from flip_lab.runs.report_facts import Facts, leading_metric
from flip_lab.runs.report_markup import (
    Html,
    Node,
    amount,
    cell,
    code,
    duration,
    element,
    facts,
    is_missing,
    section,
    size,
    table,
    tile,
)
from flip_lab.runs.report_page import plot
from flip_lab.views import (
    confidence_bands,
    effect_forest,
    fairness_figure,
    leaderboard_figure,
    target_curves,
)
from flip_lab.views.canvas import counted, where
from flip_lab.views.configurations import odd_values
from flip_lab.views.theme import Theme

if TYPE_CHECKING:
    import pandas as pd

_NO_GROUPS = frozenset(
    # where a run works changes none of its numbers; prose and seeds make no groups
    {"client_timeout_s", "description", "engine", "expect", "federation"}
    | {"name", "seed", "title", "workers"}
)
_FIRST = ("strategy.", "train.", "model.", "data.")
_INDICES = ("mean", "worst_decile", "std", "gini", "jain")
_SPREADS_A_PAGE = 9  # groups in a figure of clients, so that it fits on paper
_BANDS = 8  # as many as there are colours, and as its legend has room for


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a comparison asks of its runs.

    Attributes:
        by: Keys that make the groups: columns of ``runs`` or names of parameters; ``None``
            takes as few of the settings in which the runs differ as tell all groups apart,
            seed and place of work left out.
        metric: What is compared; ``None`` takes the evaluated accuracy where there is one.
        at: ``"final"``, ``"best"``, or a round.
        target: Value whose time of arrival is compared; ``None`` leaves that out.
        goal: ``"max"`` or ``"min"``; ``None`` guesses from the metric's name.
        alpha: Accepted chance of a false claim; intervals are of 1 - alpha.
    """

    by: tuple[str, ...] | None = None
    metric: str | None = None
    at: At = "final"
    target: float | None = None
    goal: Goal | None = None
    alpha: float = 0.05


def title_of(known: Facts) -> str:
    """Give the report's title."""
    return f"Comparison of {len(known.run_ids):,} runs"


def comparison_sections(
    known: Facts, question: Question, themes: tuple[Theme, ...]
) -> list[Html]:
    """Give all that a report says of several runs.

    Args:
        known: Their tables.
        question: What is asked of them.
        themes: Looks that each figure needs.

    Raises:
        AnalysisError: If the runs cannot be compared as asked.
    """
    runs, parameters = known.table("runs"), known.table("parameters")
    differing = configuration_diff(parameters, list(known.run_ids))
    found = _compared(known, question, runs, parameters, differing)
    return [
        _header(known, found, question),
        _leaderboard(found, question, themes),
        _curves(found, question, themes),
        *_differences(found, question, themes),
        *_target(found, question, themes),
        *_fairness(known, found, themes),
        _configurations(differing),
        _runs(found, runs),
    ]


def _compared(
    known: Facts,
    question: Question,
    runs: pd.DataFrame,
    parameters: pd.DataFrame,
    differing: pd.DataFrame,
) -> Comparison:
    metrics = known.table("metrics")
    metric = question.metric or leading_metric(sorted({str(n) for n in metrics["name"]}))
    if metric is None:
        raise AnalysisError(
            "None of the runs recorded a metric.",
            fix="Compare runs that finished at least one evaluated round.",
        )
    return compare(
        runs,
        metrics,
        parameters,
        by=separating_keys(differing) if question.by is None else question.by,
        metric=metric,
        goal=question.goal,
        rounds=known.table("rounds"),
    )


def separating_keys(differing: pd.DataFrame) -> tuple[str, ...]:
    """Choose few settings that tell all groups of equally configured runs apart.

    Args:
        differing: From ``configuration_diff``: a row per setting, a column per run.

    Returns:
        Names of settings, those of the strategy first; empty if only seeds differ.
    """
    names = [str(name) for name in differing.index if str(name) not in _NO_GROUPS]
    chosen: list[str] = []
    groups: list[tuple[str, ...]] = [() for _ in differing.columns]
    for name in sorted(names, key=_rank):
        values = [str(value) for value in differing.loc[name]]
        finer = [(*group, value) for group, value in zip(groups, values, strict=True)]
        if len(set(finer)) > len(set(groups)):
            chosen.append(name)
            groups = finer
    return tuple(chosen)


def _rank(name: str) -> tuple[int, str]:
    places = [at for at, start in enumerate(_FIRST) if name.startswith(start)]
    return (places[0] if places else len(_FIRST)), name


def _header(known: Facts, found: Comparison, question: Question) -> Html:
    read_at = question.at if isinstance(question.at, str) else f"round {question.at}"
    rows = [
        ("Metric", f"{found.metric} ({found.phase}, {found.scope}; {found.goal} is best)"),
        (
            "Read at",
            f"each run’s {question.at} value" if read_at == question.at else read_at,
        ),
        ("Grouped by", ", ".join(found.by) or "nothing: all runs are one group"),
        ("Intervals", f"{1 - question.alpha:.0%}, over seeds"),
    ]
    seeds = found.runs["seed"].dropna().nunique()
    tiles = [
        tile(f"{len(found.groups):,}", "groups"),
        tile(f"{len(found.runs):,}", "runs compared"),
        tile(f"{seeds:,}", "seeds"),
        tile(f"{len(found.left_out):,}", "runs left out"),
    ]
    notes = [element("ul", *(element("li", note) for note in found.notes))]
    return element(
        "header",
        element("h1", title_of(known)),
        facts(rows),
        *(notes if found.notes else []),
        element("div", *tiles, class_="tiles"),
    )


def _leaderboard(found: Comparison, question: Question, themes: tuple[Theme, ...]) -> Html:
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


def _curves(found: Comparison, question: Question, themes: tuple[Theme, ...]) -> Html:
    bands = found.bands(confidence=1 - question.alpha)
    best = found.leaderboard(at=question.at, alpha=question.alpha)["group"]
    shown = bands[bands["group"].isin(best.head(_BANDS))]
    note = f"The {_BANDS} best of {len(best):,} groups." if len(best) > _BANDS else ""
    return section(
        "Curves",
        plot(lambda theme: confidence_bands(shown, found.metric, theme=theme), themes),
        note=note,
    )


def _differences(
    found: Comparison, question: Question, themes: tuple[Theme, ...]
) -> list[Html]:
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


def _target(found: Comparison, question: Question, themes: tuple[Theme, ...]) -> list[Html]:
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


def _fairness(known: Facts, found: Comparison, themes: tuple[Theme, ...]) -> list[Html]:
    reported = known.client_metric_names()
    name = found.metric if found.metric in reported else leading_metric(reported)
    if name is None:
        return []
    reports = known.last_reports(name)
    try:
        indices = fairness_of_groups(fairness(reports, name), found.runs)
    except AnalysisError:
        return []
    groups = list(dict.fromkeys(found.runs["group"]))
    shown = found.runs[found.runs["group"].isin(groups[:_SPREADS_A_PAGE])]
    note = "Indices are means over seeds, each at its last round."
    if len(groups) > _SPREADS_A_PAGE:
        note += f" The figure has the first {_SPREADS_A_PAGE} of {len(groups):,} groups."
    head = ("group", "seeds", *(index.replace("_", " ") for index in _INDICES))
    return [
        section(
            "Fairness",
            plot(
                lambda theme: fairness_figure(reports, name, runs=shown, theme=theme),
                themes,
            ),
            table(head, _index_rows(indices)),
            note=note,
        )
    ]


def _index_rows(indices: pd.DataFrame) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for group in dict.fromkeys(indices["group"]):
        mine = where(indices, "group", group).set_index("index")
        centres = [mine.loc[index, "centre"] for index in _INDICES]
        rows.append((group, mine["num_seeds"].iloc[0], *centres))
    return rows


def _configurations(differing: pd.DataFrame) -> Html:
    """Show the differences, the longer side down the page; odd values are marked."""
    if differing.empty:
        return section("What differs", element("p", "All runs are configured alike."))
    by_run = differing.T
    marked = [
        [
            _marked(value, is_odd=odd)
            for value, odd in zip(cells, odd_values(cells), strict=True)
        ]
        for cells in (by_run.iloc[:, at].tolist() for at in range(by_run.shape[1]))
    ]
    names = [code(name) for name in by_run.columns]
    run_ids = [code(run_id) for run_id in by_run.index]
    if len(names) > len(run_ids):
        rows = [(name, *cells) for name, cells in zip(names, marked, strict=True)]
        shown = table(["setting", *map(str, by_run.index)], rows)
    else:
        rows = [(run, *cells) for run, *cells in zip(run_ids, *marked, strict=True)]
        shown = table(["run", *map(str, by_run.columns)], rows)
    note = "Settings on which all runs agree are left out."
    return section("What differs", shown, note=note)


def _marked(value: object, *, is_odd: bool) -> Node:
    return element("mark", cell(value)) if is_odd else cell(value)


def _runs(found: Comparison, runs: pd.DataFrame) -> Html:
    final = found.final.set_index("run_id")
    told = {str(row["run_id"]): row for row in runs.to_dict("records")}
    rows: list[Sequence[object]] = []
    for run_id, row in final.iterrows():
        run = told[str(run_id)]
        rows.append(
            (
                code(run_id),
                row["group"],
                row["seed"],
                run["state"],
                run["rounds_done"],
                row["value"] if row["outcome"] == "value" else row["outcome"],
                None if is_missing(run["git_commit"]) else code(run["git_commit"][:10]),
                "yes" if run["git_dirty"] is True else None,
            )
        )
    head = ("run", "group", "seed", "state", "rounds", found.metric, "commit", "changed")
    parts = [table(head, rows)]
    if len(found.left_out):
        columns = ["run_id", "group", "seed", "state", "reason"]
        cells = [
            (code(run_id), *rest)
            for run_id, *rest in found.left_out[columns].itertuples(index=False)
        ]
        parts += [
            element("h3", "Left out"),
            table(("run", "group", "seed", "state", "reason"), cells),
        ]
    return section("Runs", *parts)
