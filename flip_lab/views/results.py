"""The last and the best value of every metric of every run, as a small table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flip_lab.views.canvas import require_columns

_KEY = ["run_id", "name", "phase", "scope"]
COLUMNS = (*_KEY, "last", "last_round", "best", "best_round")


def lower_is_better(name: str) -> bool:
    """Whether a metric is better when it is smaller: exactly those named ``…loss``."""
    return name.endswith("loss")


def results_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Give the last and the best value of each metric, one row per run and metric.

    Args:
        metrics: Rows of the table ``metrics``: ``run_id``, ``server_round``, ``phase``,
            ``scope``, ``name``, ``value``; values may be NaN or infinite.

    Returns:
        Columns ``run_id, name, phase, scope, last, last_round, best, best_round``, sorted
        by the first four. ``last`` is the value of the highest round, diverged or not;
        ``best`` is the smallest finite value for names that end in ``loss``, else the
        largest; of equals the earliest round counts. Without a finite value ``best`` is
        NaN and ``best_round`` is missing.

    Raises:
        ViewError: If the frame lacks a column.
    """
    require_columns(metrics, (*_KEY, "server_round", "value"), view="results_table")
    ordered = metrics.sort_values("server_round", kind="stable")
    rows = [
        (*key, *_last_and_best(str(key[1]), group))
        for key, group in ordered.groupby(_KEY, sort=True)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    rounds = dict.fromkeys(("last_round", "best_round"), "Int64")
    return table.astype({"last": "float64", "best": "float64", **rounds})


def _last_and_best(name: str, group: pd.DataFrame) -> tuple[float, int, float, int | None]:
    values = group["value"].to_numpy(dtype=np.float64)
    rounds = group["server_round"].to_numpy(dtype=np.int64)
    last, last_round = float(values[-1]), int(rounds[-1])
    sign = -1.0 if lower_is_better(name) else 1.0
    merit = np.where(np.isfinite(values), sign * values, -np.inf)
    at = int(merit.argmax())
    if not np.isfinite(merit[at]):
        return last, last_round, float("nan"), None
    return last, last_round, float(values[at]), int(rounds[at])
