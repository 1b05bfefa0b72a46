"""Learn from recorded facts how a fleet behaves; what they do not tell stays unknown.

The model, a message at a time: the logarithm of its duration is the node's own middle for
this phase, plus what all nodes of the round share, plus chance. Spreads of single nodes are
drawn towards the spread of all (as Smyth, 2004, does for variances of few observations),
so that a node seen three times gets a sensible one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.fleet_facts import FleetFacts
from flip_lab.analysis.fleet_parts import with_parts
from flip_lab.core.fleet import (
    Availability,
    NodeProfile,
    PhaseProfile,
    ServerProfile,
    Timing,
)

PRIOR_WEIGHT = 4.0
"""Observations that the fleet's common spread counts for, beside a node's own."""

_LEAST_S = 1e-4  # clocks of two machines cannot tell less apart


def fit_nodes(facts: FleetFacts) -> tuple[NodeProfile, ...]:
    """Learn how each node behaves.

    Args:
        facts: What was recorded; at least one message was answered.

    Returns:
        One profile for each node that was asked, by partition.
    """
    usual = _usual(facts.answered)
    common = {str(phase): _common_variance(rows) for phase, rows in usual.groupby("phase")}
    asked = facts.clients.groupby("partition_id")
    return tuple(_node(int(str(node)), rows, usual, common, facts) for node, rows in asked)


def fit_server(facts: FleetFacts) -> ServerProfile:
    """Learn what rounds take besides waiting for nodes.

    Args:
        facts: What was recorded; at least one round ended.
    """
    rest = reals(facts.rounds, "duration_s") - reals(facts.rounds, "waited_s")
    return ServerProfile(
        overhead=_timing(np.log(np.maximum(rest[np.isfinite(rest)], _LEAST_S)), None),
        shared_log_sigma={
            str(phase): _shared_sigma(rows)
            for phase, rows in _usual(facts.answered).groupby("phase")
        },
    )


def _usual(answered: pd.DataFrame) -> pd.DataFrame:
    """Leave out each node's first message, where there are others to learn from.

    Adds ``log_s`` and ``residual``: its distance from the node's middle.
    """
    keys = ["partition_id", "phase"]
    alone = answered.groupby(keys)["is_first"].transform("all")
    usual = answered[~answered["is_first"] | alone]
    log_s = np.log(np.maximum(reals(usual, "own_s"), _LEAST_S))
    usual = usual.assign(log_s=log_s)
    middle = usual.groupby(keys)["log_s"].transform("median")
    return usual.assign(residual=usual["log_s"] - middle)


def _common_variance(rows: pd.DataFrame) -> float:
    """Pool the nodes' variances; a middle was taken off each of them."""
    freedom = len(rows) - rows["partition_id"].nunique()
    if freedom <= 0:
        return _ONE_LOOK**2
    return float((rows["residual"] ** 2).sum() / freedom)


_ONE_LOOK = 0.5  # log spread when nothing was seen twice: within a factor of 2.7, mostly


def _shared_sigma(rows: pd.DataFrame) -> float:
    """Estimate what nodes of a round share: analysis of variance, one factor."""
    rounds = rows.groupby(["run_id", "server_round"])["residual"]
    sizes = rounds.size().to_numpy(dtype=np.float64)
    means = rounds.mean().to_numpy(dtype=np.float64)
    freedom = sizes.sum() - sizes.size
    if sizes.size < _FEW or freedom < _FEW:
        return 0.0
    within = float(rounds.apply(lambda each: ((each - each.mean()) ** 2).sum()).sum())
    between = float((sizes * (means - (sizes @ means) / sizes.sum()) ** 2).sum())
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (sizes.size - 1)
    excess = (between / (sizes.size - 1) - within / freedom) / typical
    return float(np.sqrt(max(excess, 0.0)))


_FEW = 3  # rounds, and messages besides one a round, below which nothing shared is seen


def _node(
    node: int,
    rows: pd.DataFrame,
    usual: pd.DataFrame,
    common: Mapping[str, float],
    facts: FleetFacts,
) -> NodeProfile:
    mine = usual[usual["partition_id"] == node]
    phases = {
        str(phase): PhaseProfile(
            timing=_timing(reals(seen, "log_s"), common[str(phase)]),
            num_examples=_usual_amount(seen["num_examples"]),
            num_bytes=_usual_amount(seen["num_bytes"]),
        )
        for phase, seen in mine.groupby("phase")
    }
    return NodeProfile(
        partition_id=node,
        phases=with_parts(phases, mine),
        warm_up_s=_warm_up(rows, phases),
        availability=_availability(node, rows, facts),
    )


def _usual_amount(told: pd.Series) -> float:
    """Give the middle of what messages carried; 0 where none that counted says it."""
    return float(told.median()) if told.notna().any() else 0.0


def _timing(log_s: Reals, common_variance: float | None) -> Timing:
    """Summarise times; a common variance counts like ``PRIOR_WEIGHT`` of them."""
    middle = float(np.median(log_s))
    squares = float(((log_s - middle) ** 2).sum())
    freedom = float(max(log_s.size - 1, 0))
    if common_variance is not None:
        squares += PRIOR_WEIGHT * common_variance
        freedom += PRIOR_WEIGHT
    sigma = float(np.sqrt(squares / freedom)) if freedom else _ONE_LOOK
    return Timing(
        median_s=float(np.exp(middle)), log_sigma=sigma, num_observed=int(log_s.size)
    )


def _warm_up(rows: pd.DataFrame, phases: Mapping[str, PhaseProfile]) -> float:
    """Give what first messages take longer than usual ones of their phase."""
    first = rows[rows["is_first"] & ~rows["failed"]]
    extra = [
        float(own_s) - phases[str(phase)].timing.median_s
        for phase, own_s in zip(first["phase"], first["own_s"], strict=True)
        if str(phase) in phases
    ]
    return max(float(np.median(extra)), 0.0) if extra else 0.0


def _availability(node: int, rows: pd.DataFrame, facts: FleetFacts) -> Availability:
    failed = rows[rows["failed"]]
    away = facts.outages[facts.outages["partition_id"] == node]
    down_s = float((away["to_s"] - away["from_s"]).sum())
    return Availability(
        num_asked=len(rows),
        num_failed=len(failed),
        failed_s=float(failed["duration_s"].median()) if len(failed) else 0.0,
        up_s=max(facts.watched_s - down_s, 0.0),
        down_s=down_s,
        num_outages=len(away),
    )
