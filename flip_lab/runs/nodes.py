"""What is known of the nodes that took part in runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flip_lab.store import query
from flip_lab.store.layout import LabDir

_NODES = """
    SELECT run_id, node_id, max(partition_id) AS partition_id,
        count(DISTINCT server_round) AS num_rounds, max(server_round) AS last_round,
        count(*) FILTER (error_code = 0) AS num_replies,
        count(*) FILTER (error_code <> 0) AS num_failed,
        coalesce(
            arg_max(num_examples, sequence) FILTER (phase = 'train' AND error_code = 0),
            arg_max(num_examples, sequence)
        ) AS num_examples,
        avg(duration_s) AS mean_duration_s,
        sum(bytes_down)::BIGINT AS bytes_down, sum(bytes_up)::BIGINT AS bytes_up,
        max(time_at) AS last_seen_at,
        coalesce(arg_max(error, sequence) FILTER (error_code <> 0), '') AS last_error
    FROM clients WHERE list_contains($run_ids, run_id)
    GROUP BY run_id, node_id
    ORDER BY run_id DESC, partition_id, node_id
    LIMIT $limit OFFSET $start
"""


def node_page(
    lab: LabDir, run_ids: Sequence[str], *, start: int = 0, limit: int
) -> list[dict[str, Any]]:
    """Give rows about nodes, one for each node of each run.

    Args:
        lab: The lab that keeps the runs.
        run_ids: The runs.
        start: How many rows to leave out, from 0.
        limit: The most rows to give.

    Returns:
        ``run_id``, ``node_id``, ``partition_id`` (-1 if unknown), ``num_rounds``,
        ``last_round``, ``num_replies``, ``num_failed``, ``num_examples`` (of the newest
        training reply, if there is one), ``mean_duration_s``, ``bytes_down``,
        ``bytes_up``, ``last_seen_at``, ``last_error``; newest run first, by partition.

    Raises:
        StoreError: If the lab cannot be read.
    """
    values = {"run_ids": list(run_ids), "limit": limit, "start": start}
    return query.sql(lab, _NODES, values, as_="rows") if run_ids else []
