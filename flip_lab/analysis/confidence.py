"""A band for each group: where its seeds are, round by round."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import by_group, reals
from flip_lab.analysis.estimates import BAND_KINDS, BandKind, estimate
from flip_lab.analysis.inputs import require_choice, require_columns, require_share
from flip_lab.analysis.smoothing import Smoothing, smooth

BAND_COLUMNS = (
    "group",
    "server_round",
    "centre",
    "low",
    "high",
    "num_seeds",
    "num_diverged",
    "num_missing",
    "note",
)


def bands(
    curves: pd.DataFrame,
    *,
    kind: BandKind = "student",
    confidence: float = 0.95,
    smoothing: Smoothing | None = None,
) -> pd.DataFrame:
    """Give the centre and the band of each group and round.

    Seeds are taken as independent. The band holds the centre at *one* round with the
    stated confidence; that the whole curve lies within it has a smaller one. A round is
    estimated from the runs that recorded it: where runs end early or diverge, the centre
    is that of the others, which ``num_missing`` and ``num_diverged`` show.

    Args:
        curves: ``group``, ``run_id``, ``server_round``, ``value``; one row a run and round.
        kind: ``"student"``, ``"bootstrap"`` or ``"quartiles"``; see :func:`estimate`.
        confidence: Of the band.
        smoothing: Smooth each run before the band is made; the band is then that of the
            smoothed curves, which is narrower. None leaves the values alone.

    Returns:
        ``group``, ``server_round``, ``centre``, ``low``, ``high`` (NaN where there is
        none), ``num_seeds``, ``num_diverged``, ``num_missing``, ``note``; in the order in
        which groups come, then of rounds.

    Raises:
        AnalysisError: If a column is missing, or an argument is out of range.
    """
    require_columns(curves, ("group", "run_id", "server_round", "value"), what="curves")
    require_share(confidence, name="confidence")
    require_choice(kind, BAND_KINDS, name="kind")
    drawn = curves if smoothing is None else smooth(curves, smoothing)
    rows = _rows(drawn, kind=kind, confidence=confidence)
    frame = pd.DataFrame(list(rows), columns=list(BAND_COLUMNS))
    ends = ["centre", "low", "high"]
    return frame.assign(**{end: frame[end].astype(np.float64) for end in ends})


def _rows(
    curves: pd.DataFrame, *, kind: BandKind, confidence: float
) -> Iterator[dict[str, object]]:
    for label, group in by_group(curves).items():
        num_runs = group["run_id"].nunique()
        values = reals(group, "value")
        # indices, not frames: a thousand small frames take longer than their statistics
        for server_round, here in group.groupby("server_round").indices.items():
            found = estimate(values[here], kind=kind, confidence=confidence)
            yield {
                "group": label,
                "server_round": server_round,
                "centre": found.centre,
                "low": found.low,
                "high": found.high,
                "num_seeds": found.num_seeds,
                "num_diverged": found.num_lost,
                "num_missing": num_runs - len(here),
                "note": found.note,
            }
