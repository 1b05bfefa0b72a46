"""What a run's clients reported: each one, the odd ones, the failures, the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flip_lab.analysis import fairness, odd_clients
from flip_lab.analysis.client_fairness import INDICES
from flip_lab.core.errors import AnalysisError
from flip_lab.runs.report_facts import Facts
from flip_lab.runs.report_markup import (
    Html,
    element,
    section,
    table,
)
from flip_lab.runs.report_page import plot
from flip_lab.views import (
    client_distribution,
    client_heatmap,
    fairness_figure,
)
from flip_lab.views.theme import Theme

if TYPE_CHECKING:
    import pandas as pd

_MOST_IN_DISTRIBUTION = 200  # clients; of more the heat map and the spread say enough
_ODD = 10


def clients_section(
    known: Facts, name: str | None, themes: tuple[Theme, ...]
) -> list[Html]:
    """Show what each client reported, who is odd, who failed; nothing without clients."""
    parts: list[Html] = []
    if name is not None:
        reports = known.client_metric(name)
        parts.append(plot(lambda theme: client_heatmap(reports, name, theme=theme), themes))
        if reports["partition_id"].nunique() <= _MOST_IN_DISTRIBUTION:
            parts.append(
                plot(lambda theme: client_distribution(reports, name, theme=theme), themes)
            )
        parts += _odd_ones(reports, name)
    parts += _failures(known)
    return [section("Clients", *parts)] if parts else []


def _odd_ones(reports: pd.DataFrame, name: str) -> list[Html]:
    try:
        found = odd_clients(reports, name)
    except AnalysisError:
        return []
    odd = found[found["num_odd"] > 0].head(_ODD)
    if odd.empty:
        return []
    head = ("client", "rounds", "odd in", "diverged in", "largest z", "in round")
    columns = ["client", "num_rounds", "num_odd", "num_diverged", "worst_z", "worst_round"]
    words = f"Clients unlike the others of their round in {name} (robust |z| above 3.5)."
    return [
        element("h3", "Odd clients"),
        element("p", words, class_="note"),
        table(head, odd[columns].itertuples(index=False)),
    ]


def _failures(known: Facts) -> list[Html]:
    failed = known.failures()
    if not failed:
        return []
    total = failed[0]["total"]
    title = f"Failures: {total:,}" + (
        f", the first {len(failed)}" if total > len(failed) else ""
    )
    columns = ("server_round", "phase", "partition_id", "error_code", "error")
    head = ("round", "phase", "partition", "code", "error")
    return [
        element("h3", title),
        table(head, [[row[key] for key in columns] for row in failed]),
    ]


def fairness_section(
    known: Facts, name: str | None, themes: tuple[Theme, ...]
) -> list[Html]:
    """Say how evenly a metric is spread over the clients; nothing without reports."""
    if name is None:
        return []
    reports = known.last_reports(name)
    try:
        indices = fairness(reports, name).iloc[-1]
    except AnalysisError:
        return []
    runs = reports[["run_id"]].drop_duplicates().assign(group=known.spec.name)
    rows = [(key.replace("_", " "), indices[key], words) for key, words in INDICES.items()]
    note = (
        f"Over {indices['num_clients']:,.0f} clients in round "
        f"{indices['server_round']:,.0f}; {indices['num_diverged']:,.0f} of them diverged."
    )
    return [
        section(
            "Fairness",
            plot(
                lambda theme: fairness_figure(reports, name, runs=runs, theme=theme), themes
            ),
            table(("index", "value", "meaning"), rows),
            note=note,
        )
    ]
