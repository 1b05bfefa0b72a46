"""Which clients are unlike the others, and how often."""

from __future__ import annotations

import numpy as np
import pandas as pd

from flip_lab.analysis.client_rows import rows_of
from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.scientific import quiet
from flip_lab.core.errors import AnalysisError

_MAD = 0.6744897501960817  # Φ⁻¹(3/4): a normal's median distance from its median
_MEAN_DISTANCE = (
    0.7978845608028654  # √(2/π): its mean distance, both in standard deviations
)
_ROUNDING = 1e-12  # a distance this small against the values is rounding, not spread
_FEWEST = 3  # of two clients nobody can say which is the odd one


def robust_scores(
    client_metrics: pd.DataFrame, name: str, *, phase: str | None = None
) -> pd.DataFrame:
    """Give how far each client is from the others of its round, in robust units.

    z = 0.6745 (x - median) / MAD, with MAD the median distance from the median (Iglewicz &
    Hoaglin, 1993); half of the clients may be wild without moving it. Where the MAD is 0
    (more than half agree) the mean distance takes its place, z = 0.7979 (x - median) / mean
    distance. Where that is 0 as well all clients agree, and z is 0.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of any runs.
        name: The metric.
        phase: Its phase; by default evaluate where it was recorded there.

    Returns:
        ``run_id``, ``server_round``, ``client``, ``num_examples``, ``value``, ``z``. ``z``
        is NaN where the value is not finite, or fewer than three are.

    Raises:
        AnalysisError: If a column, the metric or the phase is unknown.
    """
    rows = rows_of(client_metrics, name, phase=phase)
    scores = np.full(len(rows), np.nan)
    values = reals(rows, "value")
    for where in rows.groupby(["run_id", "server_round"], sort=False).indices.values():
        scores[where] = _robust_z(values[where])
    return rows.assign(z=scores)


def odd_clients(
    client_metrics: pd.DataFrame,
    name: str,
    *,
    threshold: float = 3.5,
    phase: str | None = None,
) -> pd.DataFrame:
    """Say which clients are odd most often.

    A client is odd in a round where its |z| is above the threshold, or its value is NaN or
    infinite while another's is not. A threshold of 3.5 is Iglewicz and Hoaglin's; among
    1,000 normal clients it calls about one in two rounds one of them odd, so look for
    clients that are odd *often*.

    Args:
        client_metrics: Rows of the table ``client_metrics`` of any runs.
        name: The metric.
        threshold: Above 0.
        phase: Its phase; by default evaluate where it was recorded there.

    Returns:
        ``run_id``, ``client`` (its partition, or its node where that is not known),
        ``num_rounds`` (it took part in), ``num_odd``, ``share_odd``, ``num_diverged``,
        ``median_z``, ``worst_z`` (largest |z|, with its sign), ``worst_round``,
        ``num_examples`` (its median); one row a run and client, oddest first.

    Raises:
        AnalysisError: If a column, the metric or the phase is unknown, or the threshold is
            not above 0.
    """
    if not threshold > 0:
        raise AnalysisError(
            f"threshold = {threshold!r} would call everybody odd.",
            fix="Pass a number above 0, such as 3.5.",
        )
    scores = robust_scores(client_metrics, name, phase=phase)
    diverged = ~np.isfinite(reals(scores, "value"))
    keys = [scores["run_id"], scores["server_round"]]
    lonely = pd.Series(~diverged).groupby(keys).transform("any").to_numpy(np.bool_)
    far = np.abs(reals(scores, "z")) > threshold
    marked = scores.assign(odd=far | (diverged & lonely), diverged=diverged)
    rows = [
        {"run_id": run_id, "client": client, **_habits(group)}
        for (run_id, client), group in marked.groupby(["run_id", "client"], sort=True)
    ]
    frame = pd.DataFrame(rows)
    order = frame.assign(size=frame["worst_z"].abs()).sort_values(
        ["share_odd", "num_odd", "size"], ascending=False, kind="stable"
    )
    return order.drop(columns="size").reset_index(drop=True)


def _robust_z(values: Reals) -> Reals:
    scores = np.full(values.size, np.nan)
    finite = np.isfinite(values)
    if finite.sum() < _FEWEST:
        return scores
    with quiet():
        usable = values[finite]
        away = usable - np.median(usable)
        smallest = _ROUNDING * float(np.abs(usable).max())
        for typical, unit in (
            (float(np.median(np.abs(away))), _MAD),
            (float(np.sort(np.abs(away)).mean()), _MEAN_DISTANCE),
        ):
            if typical > smallest:
                scores[finite] = unit * (away / typical)
                return scores
    scores[finite] = 0.0
    return scores


def _habits(group: pd.DataFrame) -> dict[str, object]:
    scores = reals(group, "z")
    known = np.flatnonzero(np.isfinite(scores))
    worst = int(known[np.abs(scores[known]).argmax()]) if known.size else None
    num_odd = int(group["odd"].sum())
    return {
        "num_rounds": len(group),
        "num_odd": num_odd,
        "share_odd": num_odd / len(group),
        "num_diverged": int(group["diverged"].sum()),
        "median_z": float(np.median(scores[known])) if known.size else float("nan"),
        "worst_z": float("nan") if worst is None else float(scores[worst]),
        "worst_round": pd.NA if worst is None else int(group["server_round"].iloc[worst]),
        "num_examples": float(group["num_examples"].median()),
    }
