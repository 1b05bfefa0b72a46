"""How well a digital twin foretold what really happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_facts import FleetFacts
from flip_lab.analysis.inputs import require_share
from flip_lab.analysis.twin_prediction import predict
from flip_lab.core.errors import TwinError
from flip_lab.core.policy import RoundPolicy

_FEWEST_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class TwinComparison:
    """What was predicted, beside what was observed.

    Attributes:
        rounds: ``server_round``, ``is_learned`` (whether the fleet was learned from it),
            ``observed_s``, ``predicted_s``, ``low_s``, ``high_s``, ``error_s`` (predicted
            minus observed), ``error_ratio`` (of the observed) and ``is_inside``.
        clients: The same for single messages, with ``phase`` and ``partition_id``.
        fleet: What was learned from the first rounds alone.
        confidence: Share that shall be inside, 0 to 1.
    """

    rounds: pd.DataFrame
    clients: pd.DataFrame
    fleet: Fleet
    confidence: float

    def summary(self) -> pd.DataFrame:
        """Measure the predictions on what the fleet was not learned from.

        Returns:
            One row for rounds and one for messages: ``what``, ``number``; ``mape`` (mean
            absolute error as a share of what was observed), ``bias`` (mean of predicted
            minus observed, as such a share), ``coverage`` (share inside the interval) and
            ``spearman`` (rank correlation; NaN where all predictions are alike).
        """
        rows = [_scores("rounds", self.rounds), _scores("messages", self.clients)]
        return pd.DataFrame(rows)


def compare(
    facts: FleetFacts,
    workload: pd.DataFrame,
    *,
    policy: RoundPolicy | None = None,
    learn_share: float = 0.5,
    confidence: float = 0.9,
    seed: int = 0,
) -> TwinComparison:
    """Learn a fleet from the first rounds of a run, and foretell the others.

    Args:
        facts: What one run recorded.
        workload: Who was asked what; its times, if it has any, are not read.
        policy: The policy that the run was made under, ``None`` for none.
        learn_share: Share of the rounds to learn from, between 0 and 1.
        confidence: Of the intervals, between 0 and 1.
        seed: Of the draws.

    Raises:
        TwinError: If the run has fewer than four rounds, or the first ones do not tell
            enough.
        AnalysisError: If a share is none.
    """
    require_share(learn_share, name="learn_share")
    ended = sorted(facts.rounds["server_round"].unique().tolist())
    if len(ended) < _FEWEST_ROUNDS:
        raise TwinError(
            f"{len(ended)} rounds ended; {_FEWEST_ROUNDS} are the least of which some can "
            "be learned from, and others foretold.",
            fix="Run more rounds.",
        )
    num_learned = min(max(round(learn_share * len(ended)), 2), len(ended) - 1)
    last_learned = ended[num_learned - 1]
    fleet = Fleet.from_facts(facts.between(ended[0], last_learned))
    told = predict(fleet, workload, policy=policy, confidence=confidence, seed=seed)
    seen = {"rounds": facts.rounds, "clients": facts.answered}
    keys = {
        "rounds": ["server_round"],
        "clients": ["server_round", "phase", "partition_id"],
    }
    frames = {
        name: _beside(getattr(told, name), seen[name], keys[name], last_learned)
        for name in keys
    }
    return TwinComparison(**frames, fleet=fleet, confidence=confidence)


def _beside(
    predicted: pd.DataFrame, observed: pd.DataFrame, keys: list[str], last_learned: int
) -> pd.DataFrame:
    columns = [*keys, "predicted_s", "low_s", "high_s"]
    seen = observed[[*keys, "duration_s"]].rename(columns={"duration_s": "observed_s"})
    frame = predicted[columns].merge(seen, on=keys, how="inner")
    frame.insert(len(keys), "is_learned", frame["server_round"] <= last_learned)
    frame["error_s"] = frame["predicted_s"] - frame["observed_s"]
    frame["error_ratio"] = frame["error_s"] / frame["observed_s"]
    frame["is_inside"] = frame["observed_s"].between(frame["low_s"], frame["high_s"])
    return frame


def _scores(what: str, frame: pd.DataFrame) -> dict[str, object]:
    new = frame[~frame["is_learned"]]
    error = reals(new, "error_ratio")
    return {
        "what": what,
        "number": len(new),
        "mape": float(np.abs(error).mean()) if len(new) else np.nan,
        "bias": float(error.mean()) if len(new) else np.nan,
        "coverage": float(new["is_inside"].mean()) if len(new) else np.nan,
        "spearman": _spearman(reals(new, "predicted_s"), reals(new, "observed_s")),
    }


def _spearman(predicted: Reals, observed: Reals) -> float:
    """Correlate ranks, ties in the middle; NaN where all of one side are alike."""
    if min(_num_apart(predicted), _num_apart(observed)) < _TWO:
        return float("nan")
    one, other = (pd.Series(each).rank() for each in (predicted, observed))
    return float(one.corr(other))


_TWO = 2
_ALIKE = 0.02  # predictions closer than that differ by the luck of the draws


def _num_apart(values: Reals) -> int:
    """Count values that lie clearly apart."""
    ordered = np.sort(values)
    if not ordered.size:
        return 0
    return 1 + int((np.diff(ordered) > _ALIKE * ordered[:-1]).sum())
