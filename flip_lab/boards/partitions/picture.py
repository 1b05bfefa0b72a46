"""Draw how data lies on nodes: from a scenario to all that the explorer shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.distances import (
    DISTANCE_WORDS,
    Distance,
    distances_between,
    distances_to_whole,
)
from flip_lab.analysis.skew import SkewSummary, skew_summary
from flip_lab.boards.comparer.payload import counted, plain_number
from flip_lab.boards.partitions.choice import Split
from flip_lab.boards.partitions.columns import (
    PER_MILLE,
    Columns,
    Places,
    columns_of,
    order_of,
    per_mille,
    rows_of,
    shares_of,
)
from flip_lab.boards.partitions.payload import Matrix, Shown, Worst
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.partition import partition_frame

MOST_PAIRED = 100
"""Nodes up to which each is compared with each."""

MOST_WORST = 5
"""Nodes that are named as least like the whole."""

LIVE_NODES = 200
"""Nodes up to which a slider draws while it moves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    """What the nodes hold, and how unlike they are.

    Attributes:
        names: What each is called.
        counts: Examples by node and label.
        positions: Where labels lie that have an order.
        distance: How distributions are compared.
        farthest: The largest possible distance.
        apart: Distance of each node to the whole.
        summary: All in one.
    """

    names: tuple[str, ...]
    counts: Reals
    positions: Reals | None
    distance: Distance
    farthest: float
    apart: Reals
    summary: SkewSummary


def draw_split(scenario: Scenario, split: Split) -> Shown:
    """Draw how a scenario's data lies on its nodes, by the code that a run splits it with.

    Args:
        scenario: The scenario, valid, with the split in it.
        split: How it is looked at.

    Raises:
        PartitionError: If the data cannot be split like this.
        FlipLabError: If the data cannot be loaded.
    """
    dataset = load_dataset(scenario.data.dataset)
    held = _hold(scenario, dataset, split.distance)
    names, distance = held.names, held.distance
    order = order_of(held.counts, held.apart, split.order)
    rows, labels = rows_of(held.counts, dataset.class_names)
    columns = columns_of(rows, held.apart, order)
    return Shown(
        title=f"{scenario.data.dataset} over {counted(len(names), 'node')}: "
        f"{scenario.data.partitioner}",
        facts=_facts(held.summary, names, dataset),
        dataset=dataset.title,
        num_nodes=len(names),
        num_examples=int(dataset.labels.size),
        num_labels=dataset.num_classes,
        most_nodes=_most_nodes(dataset, scenario.data.partitioner),
        named=scenario.data.partitioner == "natural",
        nodes=[names[at] for at in columns["node"]],
        labels=labels,
        columns=columns,
        whole=per_mille(shares_of(rows.sum(axis=0, keepdims=True)))[0],
        distance=distance,
        distance_words=DISTANCE_WORDS[distance],
        farthest=held.farthest,
        distances=[
            [key, words]
            for key, words in DISTANCE_WORDS.items()
            if key != "earth_mover" or held.positions is not None
        ],
        matrix=_matrix(held, order),
        worst=_worst(held, dataset.class_names),
        notes=_notes(held.summary, columns, len(labels), split.distance),
    )


def _hold(scenario: Scenario, dataset: Dataset, distance: Distance) -> _Held:
    """Split the data and measure how unlike the nodes are."""
    frame = partition_frame(scenario)
    num_labels = dataset.num_classes
    counts = np.array(frame["num_examples"], dtype=np.float64).reshape(-1, num_labels)
    positions = _positions(dataset)
    if positions is None and distance == "earth_mover":
        distance = "total_variation"
    farthest = 1.0
    if positions is not None and distance == "earth_mover":
        farthest = float(positions[-1] - positions[0])
    return _Held(
        names=tuple(str(name) for name in frame["node"][::num_labels]),
        counts=counts,
        positions=positions,
        distance=distance,
        farthest=farthest,
        apart=distances_to_whole(counts, distance, positions=positions),
        summary=skew_summary(counts, distance, positions=positions),
    )


def _positions(dataset: Dataset) -> Reals | None:
    """Say where labels lie that are rising numbers; ``None`` where they have no order."""
    try:
        places = np.array([float(name) for name in dataset.class_names])
    except ValueError:
        return None
    rises = np.isfinite(places).all() and (np.diff(places) > 0).all()
    return places if rises and places.size > 2 else None  # noqa: PLR2004  # two have no order


def _most_nodes(dataset: Dataset, partitioner: str) -> int:
    if partitioner == "natural" and dataset.sites is not None:
        return int(np.unique(dataset.sites).size)
    return int(dataset.labels.size // 2)


def _facts(summary: SkewSummary, names: Sequence[str], dataset: Dataset) -> list[list[str]]:
    left_out = int(dataset.labels.size) - summary.num_examples
    examples = f"{summary.num_examples:,}"
    words = DISTANCE_WORDS[summary.distance]
    sizes = f"{summary.smallest:,} · {summary.median:,.0f} · {summary.largest:,}"
    worst = names[summary.worst_node] if summary.worst_node >= 0 else "–"
    return [
        ["examples", f"{examples}, {left_out:,} left out" if left_out else examples],
        ["smallest · median · largest", sizes],
        ["imbalance of sizes (Gini)", f"{summary.gini:.2f}"],
        ["labels per node", f"{summary.labels_per_node:.1f} of {summary.num_labels}"],
        [f"{words} to the whole, mean", f"{summary.mean:.2f}"],
        ["worst", f"{summary.worst:.2f} ({worst})"],
    ]


def _matrix(held: _Held, order: Places) -> Matrix | None:
    if not 1 < len(held.names) <= MOST_PAIRED:
        return None
    counts, positions = held.counts[order], held.positions
    apart = distances_between(counts, held.distance, positions=positions) / held.farthest
    values = np.nan_to_num(np.round(apart * PER_MILLE), nan=PER_MILLE)
    return Matrix(node=order.tolist(), values=values.astype(np.int64).tolist())


def _worst(held: _Held, labels: Sequence[str]) -> list[Worst]:
    known = np.where(np.isfinite(held.apart), held.apart, -1.0)
    found: list[int] = np.argsort(-known, kind="stable")[:MOST_WORST].tolist()
    return [
        Worst(
            node=held.names[at],
            distance=plain_number(float(held.apart[at])) or 0.0,
            num_examples=int(held.counts[at].sum()),
            holds=_holds(held.counts[at], labels),
        )
        for at in found
        if math.isfinite(held.apart[at])
    ]


def _holds(held: Reals, labels: Sequence[str]) -> str:
    first = [at for at in np.argsort(-held, kind="stable")[:3].tolist() if held[at]]
    told = ", ".join(f"{labels[at]} ({held[at] / held.sum():.0%})" for at in first)
    more = int((held > 0).sum()) - len(first)
    return f"{told} and {counted(more, 'other')}" if more else told


def _notes(
    summary: SkewSummary, columns: Columns, num_rows: int, wanted: Distance
) -> list[str]:
    notes: list[str] = []
    if summary.distance != wanted:
        notes.append("The labels have no order that an earth mover could go along.")
    many = max(columns["num_nodes"])
    if many > 1:
        notes.append(
            f"A column stands for about {many} nodes that are next to each other in this "
            "order: its cells are their means, its bars reach from their mean to their "
            "largest value."
        )
    if num_rows < summary.num_labels:
        notes.append(f"{summary.num_labels} labels share {num_rows} rows.")
    if summary.num_nodes > MOST_PAIRED:
        notes.append(f"Nodes are compared in pairs where there are up to {MOST_PAIRED}.")
    return notes
