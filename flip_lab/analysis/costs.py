"""What a run had spent by the end of each round: seconds, bytes, epsilon."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from flip_lab.analysis.inputs import require_columns

COST_COLUMNS = ("run_id", "server_round", "seconds", "bytes", "epsilon")
_NEEDED = ("run_id", "server_round", "duration_s", "bytes_down", "bytes_up")


def cumulative_costs(
    rounds: pd.DataFrame | None, metrics: pd.DataFrame, *, run_ids: Collection[str]
) -> pd.DataFrame:
    """Add up what rounds cost.

    Args:
        rounds: Rows of the table ``rounds``: ``run_id``, ``server_round``,
            ``duration_s``, ``bytes_down``, ``bytes_up``; None gives no costs.
        metrics: Rows of the table ``metrics``, for the metric ``epsilon``: the privacy
            spent so far, which the run itself accounts for. It is not added up.
        run_ids: Runs to look at.

    Returns:
        ``run_id``, ``server_round``, ``seconds``, ``bytes`` (both summed over rounds up to
        this one; NaN from the first round on that lacks them) and ``epsilon`` (its value at
        this round; NaN where none was recorded).

    Raises:
        AnalysisError: If a column is missing.
    """
    if rounds is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in COST_COLUMNS})
    require_columns(rounds, _NEEDED, what="rounds")
    mine = rounds[rounds["run_id"].isin(list(run_ids))]
    ordered = mine.sort_values(["run_id", "server_round"], kind="stable")
    seconds = ordered["duration_s"].astype(np.float64)
    moved = (ordered["bytes_down"] + ordered["bytes_up"]).astype(np.float64)
    runs = ordered["run_id"]
    frame = ordered[["run_id", "server_round"]].assign(
        # a missing addend makes every later sum unknown, which skipping it would hide
        seconds=seconds.groupby(runs).cumsum(skipna=False),
        bytes=moved.groupby(runs).cumsum(skipna=False),
    )
    spent = metrics.loc[metrics["name"] == "epsilon", ["run_id", "server_round", "value"]]
    spent = spent.groupby(["run_id", "server_round"], as_index=False)["value"].max()
    joined = frame.merge(spent, on=["run_id", "server_round"], how="left")
    return joined.rename(columns={"value": "epsilon"})[list(COST_COLUMNS)]
