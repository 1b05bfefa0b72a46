"""The report of a comparison, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flip_lab.analysis import (
    Comparison,
    compare,
    configuration_diff,
    fairness,
    fairness_of_groups,
)
from flip_lab.core.errors import AnalysisError
from flip_lab.runs.report_facts import Facts, leading_metric
from flip_lab.runs.report_markup import (
    Html,
    Node,
    cell,
    code,
    element,
    facts,
    is_missing,
    section,
    table,
    tile,
)
from flip_lab.runs.report_page import plot
from flip_lab.runs.report_question import Question, separating_keys
from flip_lab.runs.report_statistics import (
    curves_section,
    differences_section,
    leaderboard_section,
    target_section,
)
from flip_lab.views import (
    fairness_figure,
)
from flip_lab.views.canvas import where
from flip_lab.views.configurations import odd_values
from flip_lab.views.theme import Theme

if TYPE_CHECKING:
    import pandas as pd

_INDICES = ("mean", "worst_decile", "std", "gini", "jain")
_SPREADS_A_PAGE = 9  # groups in a figure of clients, so that it fits on paper


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
        leaderboard_section(found, question, themes),
        curves_section(found, question, themes),
        *differences_section(found, question, themes),
        *target_section(found, question, themes),
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
