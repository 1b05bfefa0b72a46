"""What the fleet view shows, as JSON-ready dictionaries; its faces only draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from flip_lab.boards.comparer.payload import odd_word, plain_number
from flip_lab.boards.fleet.nodes import CONDITIONS, worst_first
from flip_lab.boards.fleet.scope import Scope
from flip_lab.boards.run.snapshot import bytes_text, number_text
from flip_lab.core.errors import FlipLabError

if TYPE_CHECKING:  # takes long to import
    import pandas as pd

MOST_NODES = 10_000
"""Nodes that are listed; of more, those that failed most, then the slowest."""

_WORDS = {
    "fine": "fine",
    "failed": "failed at some time",
    "failing": "failing now",
    "excluded": "excluded",
    "idle": "took no part yet",
}


class Nodes(TypedDict):
    """Nodes side by side; each list has one entry a node.

    Attributes:
        id: ``p7`` for partition 7, ``n…`` for a node whose partition is not known.
        condition: Position in ``CONDITIONS``.
        examples: Examples of its data.
        rounds: Rounds in which it worked.
        replies: Replies and failures, all phases.
        failures: Failures.
        mean_s: Mean seconds; null where it never worked.
        slowest_s: Its longest.
        down: Bytes sent to it.
        up: Bytes received from it.
        metric: Its last value; null where there is none.
        odd: ``NaN``, ``∞`` or ``-∞`` by position, where null stands for that.
        last_round: The last round in which it took part; 0 for none.
    """

    id: list[str]
    condition: list[int]
    examples: list[float | None]
    rounds: list[int]
    replies: list[int]
    failures: list[int]
    mean_s: list[float | None]
    slowest_s: list[float | None]
    down: list[float | None]
    up: list[float | None]
    metric: list[float | None]
    odd: dict[str, str]
    last_round: list[int]


class Fleet(TypedDict):
    """All that is shown of a fleet.

    Attributes:
        key: Whose nodes, see ``Scope``.
        title: The same in words.
        offered: What else can be looked at: ``key`` and ``words``.
        metric: The metric shown, as ``phase/name``; empty for none.
        metrics: Metrics that can be chosen.
        phase: The phase whose rounds and durations are shown.
        conditions: For each of ``CONDITIONS``: its words, and how many nodes are in it.
        facts: Pairs of a name and its value, in words.
        nodes: The nodes.
        notes: What a reader must know to read them rightly.
        error: Why what was chosen cannot be shown; null when it can.
    """

    key: str
    title: str
    offered: list[dict[str, Any]]
    metric: str
    metrics: list[str]
    phase: str
    conditions: list[list[Any]]
    facts: list[list[str]]
    nodes: Nodes
    notes: list[str]
    error: dict[str, str] | None


def draw_fleet(
    scope: Scope, nodes: pd.DataFrame, metric: str, offered: list[dict[str, Any]]
) -> Fleet:
    """Draw the nodes of a fleet.

    Args:
        scope: Whose nodes.
        nodes: As ``node_frame`` gives them.
        metric: The metric shown.
        offered: What else can be looked at.
    """
    listed = nodes
    notes: list[str] = []
    if len(nodes) > MOST_NODES:
        listed = worst_first(nodes).head(MOST_NODES)
        listed = listed.sort_values(["partition_id", "node_id"], kind="stable")
        notes.append(
            f"Of {len(nodes):,} nodes {MOST_NODES:,} are listed: those that failed most, "
            "then the slowest."
        )
    counts = nodes["condition"].value_counts()
    return Fleet(
        key=scope.key,
        title=scope.title,
        offered=offered,
        metric=metric,
        metrics=[*scope.metrics],
        phase=scope.phase,
        conditions=[[_WORDS[name], int(counts.get(name, 0))] for name in CONDITIONS],
        facts=_facts(nodes),
        nodes=_columns(listed),
        notes=notes,
        error=None,
    )


def refusal(error: FlipLabError) -> dict[str, str]:
    """Give an error as the browser shows it."""
    return {"code": error.code, "what": error.what, "fix": error.fix}


def node_ids(nodes: pd.DataFrame) -> list[str]:
    """Name nodes as questions about them do: ``p7``, or ``n…`` without a partition."""
    pairs = zip(nodes["partition_id"].tolist(), nodes["node_id"].tolist(), strict=True)
    return [f"p{held}" if held >= 0 else f"n{node}" for held, node in pairs]


def node_name(node: str) -> str:
    """Say what a node is called: ``partition 7``, or ``node …``."""
    return f"{'partition' if node.startswith('p') else 'node'} {node[1:]}"


def _facts(nodes: pd.DataFrame) -> list[list[str]]:
    facts = [["nodes", f"{len(nodes):,}"]]
    if not len(nodes):
        return facts
    replies, failures = int(nodes["replies"].sum()), int(nodes["failures"].sum())
    worked = nodes["mean_s"].dropna().to_numpy(dtype=np.float64)
    moved = (bytes_text(float(nodes[name].sum())) for name in ("bytes_down", "bytes_up"))
    facts += [
        ["replies", f"{replies:,}"],
        ["failures", f"{failures:,} ({failures / max(replies, 1):.1%})"],
        ["down · up", " · ".join(moved)],
    ]
    if worked.size:
        told = (np.median(worked), worked.max())
        seconds = " · ".join(f"{number_text(float(each))} s" for each in told)
        facts.append(["mean time: median node · slowest", seconds])
    return facts


def _columns(nodes: pd.DataFrame) -> Nodes:
    last = nodes["last_metric"].to_numpy(dtype=np.float64, na_value=np.nan)
    diverged = np.flatnonzero(nodes["diverged"].to_numpy(dtype=np.bool_)).tolist()
    place = {name: at for at, name in enumerate(CONDITIONS)}
    return Nodes(
        id=node_ids(nodes),
        condition=[place[name] for name in nodes["condition"].tolist()],
        examples=_numbers(nodes, "num_examples"),
        rounds=nodes["rounds"].tolist(),
        replies=nodes["replies"].tolist(),
        failures=nodes["failures"].tolist(),
        mean_s=_numbers(nodes, "mean_s"),
        slowest_s=_numbers(nodes, "slowest_s"),
        down=_numbers(nodes, "bytes_down"),
        up=_numbers(nodes, "bytes_up"),
        metric=[plain_number(float(each)) for each in last],
        odd={str(at): odd_word(float(last[at])) for at in diverged},
        last_round=nodes["last_round"].tolist(),
    )


def _numbers(nodes: pd.DataFrame, name: str) -> list[float | None]:
    values = nodes[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return [plain_number(float(value)) for value in values]
