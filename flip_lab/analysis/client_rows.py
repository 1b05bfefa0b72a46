"""The rows of one metric in the table ``client_metrics``."""

from __future__ import annotations

import pandas as pd

from flip_lab.analysis.inputs import require_columns, require_metric
from flip_lab.core.errors import AnalysisError, nearest

_COLUMNS = (
    "run_id",
    "server_round",
    "phase",
    "partition_id",
    "num_examples",
    "name",
    "value",
)
_KEYS = ["run_id", "server_round", "client"]


def rows_of(client_metrics: pd.DataFrame, name: str, *, phase: str | None) -> pd.DataFrame:
    """Take one metric in one phase, one row a run, round and client.

    Args:
        client_metrics: Rows of the table ``client_metrics``; ``node_id`` is optional.
        name: The metric.
        phase: Its phase; by default evaluate where it was recorded there.

    Returns:
        ``run_id``, ``server_round``, ``client``, ``num_examples``, ``value``, in the order
        of the first three. ``client`` is the partition, or the node where that is not known
        (-1).

    Raises:
        AnalysisError: If a column is missing, or nobody recorded the metric there.
    """
    require_columns(client_metrics, _COLUMNS, what="client_metrics")
    require_metric(name, (str(each) for each in client_metrics["name"].unique()))
    rows = client_metrics[client_metrics["name"] == name]
    phases = sorted(str(each) for each in rows["phase"].unique())
    chosen = phases[0] if phase is None else phase  # "evaluate" sorts first
    if chosen not in phases:
        raise AnalysisError(
            f"{name!r} was not recorded in phase {chosen!r}.", fix=nearest(chosen, phases)
        )
    rows = rows[rows["phase"] == chosen]
    client = rows["partition_id"]
    if "node_id" in rows.columns:
        client = client.astype(object).where(client >= 0, rows["node_id"].astype(object))
    kept = rows[["run_id", "server_round", "num_examples", "value"]].assign(client=client)
    kept = kept.sort_values([*_KEYS, "value"], kind="stable")
    kept = kept.drop_duplicates(_KEYS, keep="last").reset_index(drop=True)
    return kept[[*_KEYS, "num_examples", "value"]]
