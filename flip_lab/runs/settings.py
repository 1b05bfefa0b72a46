"""What was in force in a run, round by round, as one frame to read."""

from __future__ import annotations

import pandas as pd


def settings_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay out the table ``settings`` of one run, see ``Run.settings_by_round``.

    Args:
        rows: ``from_round``, ``scope``, ``name``, ``value``, ``number``.
    """
    named = rows.assign(setting=rows["scope"] + "." + rows["name"])
    columns: dict[str, pd.Series[float] | pd.Series[str]] = {}
    for setting, told in named.groupby("setting", sort=False):
        kept = "number" if told["number"].notna().all() else "value"
        columns[str(setting)] = pd.Series(told[kept].to_numpy(), told["from_round"])
    return pd.DataFrame(columns).sort_index().rename_axis(index="from_round")
