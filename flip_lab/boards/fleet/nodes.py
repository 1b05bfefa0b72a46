"""What each node of a fleet did: one row a node, added up by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.fleet.scope import Scope

if TYPE_CHECKING:  # takes long to import, and is needed only when nodes are read
    import pandas as pd

CONDITIONS = ("fine", "failed", "failing", "excluded", "idle")
"""``fine``; ``failed`` at some time; ``failing``: its last reply was an error;
``excluded`` by somebody; ``idle``: it has taken no part."""

COLUMNS = (
    "partition_id",
    "node_id",
    "condition",
    "num_examples",
    "rounds",
    "replies",
    "failures",
    "failed_share",
    "mean_s",
    "slowest_s",
    "bytes_down",
    "bytes_up",
    "last_metric",
    "diverged",
    "last_round",
)

_NODES = """
    WITH fact AS (
        SELECT *, greatest(partition_id, -1) AS slice,
            CASE WHEN partition_id < 0 THEN node_id END AS lone,
            {'at': time_at, 'sequence': sequence} AS moment,
            CASE WHEN phase = $metric_phase THEN metrics[$metric] END AS value
        FROM clients WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
    )
    SELECT slice AS partition_id, arg_max(node_id, moment) AS node_id,
        coalesce(max(num_examples) FILTER (phase = $phase AND error_code = 0),
            max(num_examples)) AS num_examples,
        count(DISTINCT (run_id, server_round)) FILTER (phase = $phase) AS rounds,
        count(*) AS replies,
        count(*) FILTER (error_code <> 0) AS failures,
        avg(duration_s) FILTER (phase = $phase) AS mean_s,
        max(duration_s) FILTER (phase = $phase) AS slowest_s,
        sum(bytes_down)::BIGINT AS bytes_down, sum(bytes_up)::BIGINT AS bytes_up,
        arg_max(value, moment) FILTER (value IS NOT NULL) AS last_metric,
        coalesce(NOT isfinite(arg_max(value, moment) FILTER (value IS NOT NULL)), false)
            AS diverged,
        arg_max(server_round, moment) AS last_round,
        arg_max(error_code, moment) AS last_error
    FROM fact GROUP BY slice, lone ORDER BY slice, lone
"""


def node_frame(lab: Readable, scope: Scope, metric: str) -> pd.DataFrame:
    """Add up what each node did.

    Args:
        lab: The lab.
        scope: Whose nodes.
        metric: ``phase/name``; empty for none.

    Returns:
        ``COLUMNS``, one row a node, by partition and then by node id. Nodes of a run that
        took no part yet are rows, too, where partitions are numbered. ``partition_id`` is
        -1 and ``node_id`` 0 where unknown; ``rounds``, ``mean_s`` and ``slowest_s`` are of
        ``scope.phase``; ``replies`` and ``failures`` of all phases; ``last_metric`` is NaN
        where there is none, and also where it ``diverged``; ``last_round`` 0.
    """
    import pandas as pd

    metric_phase, _, name = metric.partition("/")
    asked = {
        "ids": [*scope.run_ids],
        "phase": scope.phase,
        "metric_phase": metric_phase,
        "metric": name,
    }
    seen = lab.sql(_NODES, asked)
    held = seen["partition_id"].to_numpy(dtype=np.int64)
    if scope.num_nodes and (held >= 0).all() and held.max(initial=-1) < scope.num_nodes:
        missing = np.setdiff1d(np.arange(scope.num_nodes), held)
        idle = pd.DataFrame({"partition_id": missing}).reindex(columns=seen.columns)
        idle["node_id"] = np.zeros(missing.size, dtype=np.uint64)  # NaN would round others
        both = [each for each in (seen, idle) if len(each)]
        seen = pd.concat(both) if both else seen
        seen = seen.sort_values("partition_id", kind="stable", ignore_index=True)
    return _completed(seen, scope)


def _completed(seen: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """Say in what condition each node is, and give whole numbers as such."""
    replies, failures, last_error, held = (
        seen[name].to_numpy(dtype=np.float64, na_value=0.0)
        for name in ("replies", "failures", "last_error", "partition_id")
    )
    share = np.divide(failures, replies, out=np.zeros_like(failures), where=replies > 0)
    condition = np.select(
        [
            np.isin(held, [*scope.excluded]),
            replies == 0,
            last_error > 0,
            failures > 0,
        ],
        ["excluded", "idle", "failing", "failed"],
        "fine",
    )
    whole = ("partition_id", "rounds", "replies", "failures", "last_round")
    sizes = ("num_examples", "bytes_down", "bytes_up")
    told = seen.assign(
        condition=condition,
        failed_share=share,
        **{name: seen[name].fillna(0).astype(np.int64) for name in (*whole, *sizes)},
        node_id=seen["node_id"].fillna(0).astype(np.uint64),
        diverged=seen["diverged"].eq(True),  # missing ones are not
    )
    return told[[*COLUMNS]]


def worst_first(nodes: pd.DataFrame) -> pd.DataFrame:
    """Put nodes in an order in which somebody who looks for trouble reads them.

    Args:
        nodes: As ``node_frame`` gives them.

    Returns:
        The same rows: first those that failed most, then the slowest.
    """
    return nodes.sort_values(
        ["failed_share", "mean_s"], ascending=False, na_position="last", kind="stable"
    )
