"""The report of one run, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flip_lab.runs.report_clients import clients_section, fairness_section
from flip_lab.runs.report_facts import Facts, leading_metric, metric_rank
from flip_lab.runs.report_markup import (
    Html,
    Node,
    amount,
    code,
    duration,
    element,
    facts,
    is_missing,
    joined,
    section,
    size,
    table,
    tile,
)
from flip_lab.runs.report_page import plot
from flip_lab.views import (
    cohort_timeline,
    results_table,
    training_curves,
)
from flip_lab.views.theme import Figure, Theme

if TYPE_CHECKING:
    import pandas as pd

_MOST_IN_TIMELINE = 40
_MOST_TURNS = 2000  # pieces of work that a timeline still shows
_A_PAGE = 6  # panels of curves, so that a figure fits on paper
_COSTS = {
    "duration_s": "duration_s",
    "bytes_down": "sent_bytes",
    "bytes_up": "received_bytes",
}


def run_sections(known: Facts, themes: tuple[Theme, ...]) -> list[Html]:
    """Give all that a report says of one run.

    Args:
        known: The tables of the run, ended or not.
        themes: Looks that each figure needs.
    """
    row = {str(key): value for key, value in known.table("runs").iloc[0].items()}
    metrics, rounds = known.table("metrics"), known.table("rounds")
    reported = leading_metric(known.client_metric_names())
    return [
        _header(known, row, metrics, rounds),
        _results(metrics, themes),
        *clients_section(known, reported, themes),
        *fairness_section(known, reported, themes),
        _time(known, row, rounds, themes),
        _asked(known, row),
        _lineage(known, row),
        *_kept(known),
    ]


def _state(state: str) -> Html:
    """Give a run’s state in its colour."""
    return element("span", state, class_=f"state {state}")


def _header(
    known: Facts, row: Mapping[str, Any], metrics: pd.DataFrame, rounds: pd.DataFrame
) -> Html:
    where = row["federation"] if not is_missing(row["federation"]) else row["engine"]
    moved = float(rounds["bytes_down"].sum() + rounds["bytes_up"].sum())
    asked = "?" if is_missing(row["num_rounds"]) else f"{row['num_rounds']:,}"
    tiles = [
        tile(f"{row['rounds_done']:,} of {asked}", "rounds"),
        tile(f"{row['num_nodes']:,}", f"nodes on {where}"),
        tile(str(row["seed"]), "seed"),
        tile(_took(row), "from start to end"),
        tile(size(moved), "sent and received"),
    ]
    best = results_table(metrics)
    lead = leading_metric(sorted(set(best["name"]))) if len(best) else None
    if lead is not None:
        value = best.loc[best["name"] == lead, "best"].iloc[0]
        tiles.insert(0, tile("–" if is_missing(value) else f"{value:.4g}", f"best {lead}"))
    about = (known.spec.scenario or {}).get("title")
    return element(
        "header",
        element("h1", known.spec.name),
        *([element("p", str(about))] if about else []),
        element("p", _state(str(row["state"])), "  ", code(known.run_ids[0])),
        *_labels(row),
        *_error(known),
        element("div", *tiles, class_="tiles"),
    )


def _labels(row: Mapping[str, Any]) -> list[Html]:
    """Give the experiment, the tags and the note, as far as there are any."""
    tags, experiment = row.get("tags"), row.get("experiment")
    words = [
        ("Experiment", None if experiment == row["name"] else experiment),
        ("Sweep", row.get("sweep")),
        ("Tags", ", ".join(map(str, tags)) if tags is not None and len(tags) else None),
        ("Note", row.get("note")),
    ]
    return [facts(words)] if any(not is_missing(w) and w for _, w in words) else []


def _took(row: Mapping[str, Any]) -> Node:
    began, ended = row["started_at"], row["ended_at"]
    if is_missing(began) or is_missing(ended):
        return "–"
    return duration((ended - began).total_seconds())


def _error(known: Facts) -> list[Html]:
    error = known.error()
    if error is None:
        return []
    parts: list[Node] = [
        element("p", element("b", f"[{error.code}] {error.what}")),
        element("p", f"What to do: {error.fix}"),
    ]
    if error.detail:
        parts.append(element("pre", error.detail))
    return [element("div", *parts, class_="error")]


def _results(metrics: pd.DataFrame, themes: tuple[Theme, ...]) -> Html:
    best = results_table(metrics)
    head = ("metric", "scope", "best", "at round", "last", "at round")
    rows = [
        (
            row["name"],
            row["scope"],
            row["best"],
            row["best_round"],
            amount("NaN") if is_missing(row["last"]) else row["last"],
            row["last_round"],
        )
        for row in best.to_dict("records")
    ]
    names = sorted(dict.fromkeys(str(name) for name in metrics["name"]), key=metric_rank)
    pages = [names[at : at + _A_PAGE] for at in range(0, len(names), _A_PAGE)]
    return section(
        "Results",
        *(
            plot(
                lambda theme, shown=shown: training_curves(
                    metrics, names=shown, theme=theme
                ),
                themes,
            )
            for shown in pages or [None]
        ),
        *([table(head, rows)] if rows else []),
    )


def _time(
    known: Facts,
    row: Mapping[str, Any],
    rounds: pd.DataFrame,
    themes: tuple[Theme, ...],
) -> Html:
    costs = _costs(rounds)
    parts = [
        plot(
            lambda theme: _costs_drawn(costs, theme),
            themes,
        )
    ]
    head = ("phase", "replies", "clients", "median", "95 % within", "slowest")
    head = (*head, "its partition", "sent", "received")
    lines = [
        (
            each["phase"],
            each["replies"],
            each["clients"],
            *(duration(each[key]) for key in ("median_s", "p95_s", "slowest_s")),
            each["slowest"],
            size(each["down"]),
            size(each["up"]),
        )
        for each in known.phases()
    ]
    if lines:
        parts += [element("h3", "Clients’ work"), table(head, lines)]
    used = known.resources()
    if used:
        names = ("name", "lowest", "mean", "highest", "samples")
        cells = [[each[key] for key in names] for each in used]
        parts += [element("h3", "What the run’s processes used"), table(names, cells)]
    if row["num_nodes"] <= _MOST_IN_TIMELINE:
        clients = known.table("clients")
        if len(clients) <= _MOST_TURNS:
            parts.append(plot(lambda theme: cohort_timeline(clients, theme=theme), themes))
    return section("Time and bytes", *parts)


def _costs_drawn(costs: pd.DataFrame, theme: Theme) -> Figure:
    return training_curves(costs, title="What rounds took", from_zero=True, theme=theme)


def _costs(rounds: pd.DataFrame) -> pd.DataFrame:
    """Give what rounds cost in the columns of the table ``metrics``."""
    named = rounds.rename(columns=_COSTS)
    long = named.melt(["run_id", "server_round"], list(_COSTS.values()), "name", "value")
    known = long.dropna(subset="value")
    return known.assign(
        phase="round", scope="federated", value=known["value"].astype(float)
    )


def _asked(known: Facts, row: Mapping[str, Any]) -> Html:
    changed = row.get("overrides")
    parameters = known.table("parameters")
    rows = [
        (code(name), code(value))
        for name, value in zip(parameters["name"], parameters["value"], strict=True)
    ]
    has_changes = not is_missing(changed) and changed not in {"{}", ""}
    said = [element("p", "The launch changed ", code(changed), ".")] if has_changes else []
    return section(
        "What was run",
        *said,
        table(("setting", "value"), rows),
        note="Everything that was configured.",
    )


def _lineage(known: Facts, row: Mapping[str, Any]) -> Html:
    lineage = known.spec.lineage
    dirty = " with uncommitted changes" if lineage.get("git_dirty") else ""
    commit = lineage.get("git_commit")
    return section(
        "Where it came from",
        facts(
            [
                ("Launched", row["created_at"]),
                ("Started", row["started_at"]),
                ("Ended", row["ended_at"]),
                ("Kind", row["kind"]),
                ("Engine", f"{row['engine']}, {row['workers']} side by side"),
                ("Code", joined([code(commit), dirty]) if commit else "no git repository"),
                ("Uncommitted changes", _hash(lineage.get("git_patch_sha256"))),
                ("Installed packages", _hash(lineage.get("env_sha256"))),
                ("Data", _hash(row["data_sha256"])),
                ("Partition", _hash(row["partition_sha256"])),
                ("App", None if row["kind"] == "scenario" else _hash(row["app_sha256"])),
                ("Scenario", _hash(row["scenario_fingerprint"])),
                ("Forked from", row["parent_run_id"]),
                ("At round", row["forked_at_round"]),
                ("Python", lineage.get("python")),
                ("Flower", lineage.get("flwr")),
                ("FLIP Lab", lineage.get("flip_lab")),
            ]
        ),
    )


def _hash(value: object) -> Node | None:
    return None if is_missing(value) else code(value)


def _kept(known: Facts) -> list[Html]:
    parts: list[Html] = []
    checkpoints = known.checkpoints()
    if checkpoints:
        head = ("after round", "written", "size", "model")
        rows = [
            (each.server_round, each.time, size(each.size_bytes), code(each.model_digest))
            for each in checkpoints
        ]
        parts.append(section("Checkpoints", table(head, rows)))
    artifacts = known.table("artifacts")
    if len(artifacts):
        columns = ["name", "server_round", "size_bytes", "sha256", "media_type"]
        rows = [
            (name, at, size(number), code(sha256), kind)
            for name, at, number, sha256, kind in artifacts[columns].itertuples(index=False)
        ]
        head = ("artifact", "round", "size", "SHA-256", "kind")
        parts.append(section("Artifacts", table(head, rows)))
    return parts
