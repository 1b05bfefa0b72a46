"""Curves as a screen shows them: thinned, with gaps where there is nothing to join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flip_lab.analysis.columns import reals
from flip_lab.analysis.confidence import bands
from flip_lab.analysis.smoothing import Smoothing, smooth, stretches
from flip_lab.boards.comparer.forks import parted, rounds_left_at
from flip_lab.boards.comparer.payload import ForkShown, Line, odd_word, plain_number
from flip_lab.boards.comparer.thinning import Reals, kept

if TYPE_CHECKING:  # see comparer_catalogue
    import pandas as pd

_GAP = -1
_ALL_DIVERGED = "no finite value"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Band:
    """What a group's centre is made of; arrays as long as the curve."""

    low: Reals
    high: Reals
    seeds: npt.NDArray[np.int64]
    lost: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curve:
    """One curve before it is thinned."""

    group: int
    run: str
    rounds: npt.NDArray[np.int64]
    x: Reals
    y: Reals
    band: _Band | None = None


def mean_lines(
    curves: pd.DataFrame, *, span: int, at_most: int, with_round: bool
) -> list[Line]:
    """Draw the centre and the band of each group.

    Args:
        curves: ``group`` (index), ``run_id``, ``server_round``, ``x``, ``value``.
        span: Points that the moving average looks at; 1 for none.
        at_most: Points of each line.
        with_round: Whether ``x`` is not the round, so that the round is told besides.

    Returns:
        One line a group, in order. A point lies at the mean ``x`` of its runs.
    """
    if curves.empty:
        return []
    named = curves.assign(group=curves["group"].astype(str))
    table = bands(named, smoothing=_smoothing(span))
    means = named.groupby(["group", "server_round"])["x"].mean()
    places = table.set_index(["group", "server_round"]).index
    table = table.assign(x=means.reindex(places).to_numpy(dtype=np.float64))
    return [_line(curve, at_most, with_round=with_round) for curve in _centres(table)]


def run_lines(
    curves: pd.DataFrame,
    *,
    span: int,
    at_most: int,
    with_round: bool,
    forks: Sequence[ForkShown] = (),
) -> list[Line]:
    """Draw each run by itself; other arguments as for ``mean_lines``.

    Args:
        curves: As for ``mean_lines``; of forks with the rounds that they share.
        span: Points that the moving average looks at; 1 for none.
        at_most: Points of each line.
        with_round: Whether ``x`` is not the round.
        forks: Which run comes of which: what they share is drawn once.

    Returns:
        What is shared, then one line a run, in the order of groups.
    """
    if curves.empty:
        return []
    smoothing = _smoothing(span)
    table = curves if smoothing is None else smooth(curves, smoothing)
    left_at = rounds_left_at(forks)
    lines: list[Line] = []
    for kind, part in parted(table, forks):
        ordered = part.sort_values(["group", "run_id", "server_round"], kind="stable")
        for curve in _runs(ordered):
            line = _line(curve, at_most, with_round=with_round)
            if kind == "trunk":
                line["trunk"] = True
            elif curve.run in left_at:
                line["fork"] = left_at[curve.run]
            lines.append(line)
    return lines


def _smoothing(span: int) -> Smoothing | None:
    return Smoothing(kind="ema", span=span) if span > 1 else None


def _centres(table: pd.DataFrame) -> Iterator[_Curve]:
    columns = {name: reals(table, name) for name in ("x", "centre", "low", "high")}
    counts = {
        name: table[name].to_numpy(dtype=np.int64)
        for name in ("server_round", "num_seeds", "num_diverged")
    }
    for group, at in table.groupby("group", sort=False).indices.items():
        yield _Curve(
            group=int(str(group)),
            run="",
            rounds=counts["server_round"][at],
            x=columns["x"][at],
            y=columns["centre"][at],
            band=_Band(
                low=columns["low"][at],
                high=columns["high"][at],
                seeds=counts["num_seeds"][at],
                lost=counts["num_diverged"][at],
            ),
        )


def _runs(ordered: pd.DataFrame) -> Iterator[_Curve]:
    rounds = ordered["server_round"].to_numpy(dtype=np.int64)
    groups = ordered["group"].to_numpy(dtype=np.int64)
    x, y = reals(ordered, "x"), reals(ordered, "value")
    for run_id, at in ordered.groupby("run_id", sort=False).indices.items():
        yield _Curve(
            group=int(groups[at[0]]), run=str(run_id), rounds=rounds[at], x=x[at], y=y[at]
        )


def _line(curve: _Curve, at_most: int, *, with_round: bool) -> Line:
    places = _with_gaps(curve, at_most)
    line = Line(
        group=curve.group,
        x=[_x(curve.x, places, at) for at in range(len(places))],
        y=_numbers(curve.y, places),
    )
    if curve.run:
        line["run"] = curve.run
    if with_round:
        line["round"] = [
            int(curve.rounds[place if place != _GAP else places[at - 1]])
            for at, place in enumerate(places)
        ]
    if curve.band is not None:
        line["low"] = _numbers(curve.band.low, places)
        line["high"] = _numbers(curve.band.high, places)
        line["seeds"] = _counts(curve.band.seeds, places)
        line["lost"] = _counts(curve.band.lost, places)
    if odd := _odd(curve, places):
        line["odd"] = odd
    return line


def _with_gaps(curve: _Curve, at_most: int) -> list[int]:
    """Choose points, and put a gap where rounds between two of them are missing."""
    stretch = np.full(curve.y.size, -1)
    for number, inside in enumerate(stretches(curve.rounds, curve.y)):
        stretch[inside] = number
    places: list[int] = []
    for place in kept(curve.y, at_most).tolist():
        before = stretch[places[-1]] if places else stretch[place]
        if _GAP < before < stretch[place]:
            places.append(_GAP)
        places.append(place)
    return places


def _x(x: Reals, places: list[int], at: int) -> float:
    """Give a point's place; a gap lies between its neighbours."""
    place = places[at]
    value = x[place] if place != _GAP else (x[places[at - 1]] + x[places[at + 1]]) / 2
    return float(f"{value:.6g}")


def _numbers(values: Reals, places: list[int]) -> list[float | None]:
    told = values.tolist()
    return [None if place == _GAP else plain_number(told[place]) for place in places]


def _counts(values: npt.NDArray[np.int64], places: list[int]) -> list[int]:
    told = values.tolist()
    return [0 if place == _GAP else told[place] for place in places]


def _odd(curve: _Curve, places: list[int]) -> dict[str, str]:
    words: dict[str, str] = {}
    for at, place in enumerate(places):
        if place != _GAP and (word := odd_word(float(curve.y[place]))):
            words[str(at)] = word if curve.band is None else _ALL_DIVERGED
    return words
