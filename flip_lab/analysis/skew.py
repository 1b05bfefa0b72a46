"""How unequal the nodes of a federation are: one row a node, and all in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.distances import (
    DISTANCES,
    Counts,
    Distance,
    checked_counts,
    distances_to_whole,
    gini,
)
from flip_lab.core.errors import AnalysisError

if TYPE_CHECKING:  # takes long to import; counts need none of it
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewSummary:
    """How unequal the nodes of a federation are.

    Attributes:
        num_nodes: Nodes, those without examples among them.
        num_labels: Labels of the data set.
        num_examples: Examples on all nodes.
        smallest: Examples of the smallest node.
        median: Examples of the median node.
        largest: Examples of the largest node.
        gini: Imbalance of the sizes, 0 (equal) to below 1, see ``gini``.
        labels_per_node: Mean number of labels that a node holds at all.
        distance: How distributions were compared.
        mean: Mean distance of the nodes to the whole; NaN when none has examples.
        worst: The largest of these distances; NaN when none has examples.
        worst_node: Position of the node that has it; -1 when none has examples.
    """

    num_nodes: int
    num_labels: int
    num_examples: int
    smallest: int
    median: float
    largest: int
    gini: float
    labels_per_node: float
    distance: Distance
    mean: float
    worst: float
    worst_node: int


def skew_summary(
    counts: Counts,
    distance: Distance = "total_variation",
    *,
    positions: Reals | None = None,
) -> SkewSummary:
    """Sum up how unequal nodes are, in labels and in sizes.

    Args:
        counts: Examples by node and label, one node or more.
        distance: How distributions are compared.
        positions: Where each label lies, see ``distances_between``.

    Raises:
        AnalysisError: If the counts will not do, or there is no such distance.
    """
    held = checked_counts(counts)
    sizes = held.sum(axis=1)
    apart = distances_to_whole(held, distance, positions=positions)
    known = np.isfinite(apart)
    return SkewSummary(
        num_nodes=held.shape[0],
        num_labels=held.shape[1],
        num_examples=int(sizes.sum()),
        smallest=int(sizes.min()),
        median=float(np.median(sizes)),
        largest=int(sizes.max()),
        gini=gini(sizes),
        labels_per_node=float((held > 0).sum(axis=1).mean()),
        distance=distance,
        mean=float(apart[known].mean()) if known.any() else float("nan"),
        worst=float(apart[known].max()) if known.any() else float("nan"),
        worst_node=int(np.argmax(np.where(known, apart, -1.0))) if known.any() else -1,
    )


def label_skew(partitions: pd.DataFrame) -> pd.DataFrame:
    """Say of each node how large it is and how unlike the whole.

    Args:
        partitions: ``partition_id``, ``label``, ``num_examples``, as
            ``flip_lab.fl.partition.partition_frame`` gives them; ``node`` is optional.
            Labels keep the order in which they first come.

    Returns:
        One row a node, in the order of partitions: ``partition_id``, ``node`` (where
        given), ``num_examples``, ``num_labels`` (labels it holds at all), and a column for
        each of ``DISTANCES``.

    Raises:
        AnalysisError: If a column is missing or the counts will not do.
    """
    lacking = {"partition_id", "label", "num_examples"} - {*map(str, partitions.columns)}
    if lacking:
        raise AnalysisError(
            f"The frame lacks the column(s) {', '.join(sorted(lacking))}.",
            fix="Pass what partition_frame(scenario) gives, as a pandas frame.",
        )
    table = partitions.pivot_table(
        index="partition_id",
        columns="label",
        values="num_examples",
        aggfunc="sum",
        fill_value=0,
    ).reindex(columns=partitions["label"].unique())
    counts = table.to_numpy(dtype=np.float64)
    told = table.index.to_frame(index=False)
    if "node" in partitions.columns:
        names = partitions.drop_duplicates("partition_id").set_index("partition_id")["node"]
        told["node"] = names.reindex(table.index).to_list()
    told["num_examples"] = counts.sum(axis=1).astype(np.int64)
    told["num_labels"] = (counts > 0).sum(axis=1)
    for distance in DISTANCES:
        told[distance] = distances_to_whole(counts, distance)
    return told
