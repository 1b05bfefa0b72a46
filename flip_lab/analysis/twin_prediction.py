"""How long rounds would take: a workload, a fleet, and the policy of the rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals
from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.inputs import require_share
from flip_lab.analysis.twin_backlog import Backlog
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.analysis.twin_draws import FleetDraws
from flip_lab.analysis.twin_phases import (
    CLIENT_COLUMNS,
    PhaseDraws,
    Terms,
    draw_phase,
)
from flip_lab.core.errors import TwinError
from flip_lab.core.fleet import Estimate
from flip_lab.core.policy import RoundPolicy

NUM_DRAWS = 2_000
_PHASES = ("train", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How long rounds would take, with intervals.

    Attributes:
        what_if: What is otherwise.
        rounds: ``server_round``, ``predicted_s`` (the median), ``low_s``, ``high_s``,
            ``num_asked``, ``num_replies`` (means over the draws), ``quorum_share`` (how
            often as many replied well as the policy needs, 0 to 1) and ``is_warm``
            (whether nobody in it got a first message).
        clients: ``server_round``, ``phase``, ``partition_id``, ``predicted_s``, ``low_s``,
            ``high_s``, from dispatch to reply.
        round_s: Draws of the rounds' times, shape ``(num_draws, rounds)``.
        confidence: Share of cases that shall lie between low and high, 0 to 1.
    """

    what_if: WhatIf
    rounds: pd.DataFrame
    clients: pd.DataFrame
    round_s: Reals
    confidence: float

    @property
    def total(self) -> Estimate:
        """Seconds that all rounds take together."""
        return self._estimate(self.round_s.sum(axis=1))

    @property
    def any_round(self) -> Estimate:
        """Seconds that any one of its rounds takes, once its nodes are warm."""
        warm = self.rounds["is_warm"].to_numpy(dtype=np.bool_)
        return self._estimate(self.round_s[:, warm if warm.any() else ~warm].ravel())

    def summary(self) -> pd.DataFrame:
        """Give the prediction as one row, to stand beside those of other questions.

        Returns:
            ``name``; ``round_s``, ``round_low_s``, ``round_high_s``; ``total_s``,
            ``total_low_s``, ``total_high_s``; ``num_asked`` and ``num_replies`` a round;
            ``quorum_share``.
        """
        one, all_ = self.any_round, self.total
        row = {
            "name": self.what_if.name,
            "round_s": one.value,
            "round_low_s": one.low,
            "round_high_s": one.high,
            "total_s": all_.value,
            "total_low_s": all_.low,
            "total_high_s": all_.high,
            "num_asked": float(self.rounds["num_asked"].mean()),
            "num_replies": float(self.rounds["num_replies"].mean()),
            "quorum_share": float(self.rounds["quorum_share"].mean()),
        }
        return pd.DataFrame([row])

    def _estimate(self, draws: Reals) -> Estimate:
        return Estimate(*map(float, np.quantile(draws, _ends(self.confidence))))


def predict(  # noqa: PLR0913  # what to predict, and choices with a default
    fleet: Fleet,
    workload: pd.DataFrame,
    *,
    what_if: WhatIf | None = None,
    policy: RoundPolicy | None = None,
    confidence: float = 0.9,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Prediction:
    """Predict how long each message and each round takes.

    A round takes as long as the slowest message of each phase, as far as its policy waits
    for it, and what the server does besides. Who is left behind works on, and its next
    message waits. Everything is drawn ``num_draws`` times from a
    seeded generator, so the same question gets the same answer.

    Args:
        fleet: Who works.
        workload: Who is asked what, as ``workload_of`` gives it.
        what_if: What is otherwise; ``None`` for nothing.
        policy: The policy that the workload was made under, ``None`` for none.
        confidence: Of the intervals, between 0 and 1.
        num_draws: How many times to draw, 1 or more.
        seed: Of the generator.

    Raises:
        TwinError: If nobody is left to ask.
        AnalysisError: If the confidence is no share.
    """
    require_share(confidence, name="confidence")
    asked_otherwise = what_if or WhatIf()
    draws = FleetDraws(fleet, asked_otherwise, num_draws=num_draws, seed=seed)
    kept = workload[~workload["partition_id"].isin(list(asked_otherwise.without))]
    if kept.empty:
        raise TwinError(
            "Nobody is left to ask.", fix="Leave fewer nodes out, or take another run."
        )
    rounds = _Rounds(fleet, draws, asked_otherwise, policy)
    for server_round, rows in kept.groupby("server_round"):
        rounds.add(int(str(server_round)), rows, _ends(confidence))
    return Prediction(
        what_if=asked_otherwise,
        rounds=pd.DataFrame(rounds.rows),
        clients=pd.concat(rounds.clients, ignore_index=True)[
            ["server_round", "phase", *CLIENT_COLUMNS]
        ],
        round_s=np.stack(rounds.round_s, axis=1),
        confidence=confidence,
    )


class _Rounds:
    """Draws rounds one after another: what one leaves undone, the next one waits for."""

    def __init__(
        self, fleet: Fleet, draws: FleetDraws, what_if: WhatIf, policy: RoundPolicy | None
    ) -> None:
        """Begin before the first round."""
        self.rows: list[dict[str, object]] = []
        self.clients: list[pd.DataFrame] = []
        self.round_s: list[Reals] = []
        self._fleet = fleet
        self._draws = draws
        self._what_if = what_if
        self._terms = {phase: Terms.of(what_if, policy, phase) for phase in _PHASES}
        self._backlog = Backlog(draws.num_draws)

    def add(self, server_round: int, rows: pd.DataFrame, ends: Reals) -> None:
        """Draw the next round; its rows say who is asked what."""
        taken = self._draws.overhead_s()
        cohorts = {str(phase): cohort for phase, cohort in rows.groupby("phase")}
        told: list[PhaseDraws] = []
        for phase in [each for each in _PHASES if each in cohorts]:
            told.append(self._phase(cohorts[phase], self._terms[phase]))
            # the server adds up after each phase, and what it takes is not told by phase
            self._backlog.go_on(taken / len(cohorts))
            frame = told[-1].clients(ends)
            self.clients.append(frame.assign(server_round=server_round, phase=phase))
        total_s = taken + np.sum([phase.wall_s for phase in told], axis=0)
        self.round_s.append(total_s)
        row = _row(total_s, told, ends) | {"is_warm": not rows["is_first"].any()}
        self.rows.append({"server_round": server_round, **row})

    def _phase(self, cohort: pd.DataFrame, terms: Terms) -> PhaseDraws:
        return draw_phase(
            self._draws, self._fleet, self._what_if, cohort, terms, self._backlog
        )


def _row(taken: Reals, phases: list[PhaseDraws], ends: Reals) -> dict[str, object]:
    middle, low, high = np.quantile(taken, ends)
    first = phases[0]  # training, unless it is a round of evaluation alone
    met = np.all([phase.is_met for phase in phases], axis=0)
    return {
        "predicted_s": float(middle),
        "low_s": float(low),
        "high_s": float(high),
        "num_asked": float(first.is_asked.sum(axis=1).mean()),
        "num_replies": float(first.num_replies.mean()),
        "quorum_share": float(met.mean()),
    }


def _ends(confidence: float) -> Reals:
    """Give the quantiles of middle, low and high."""
    return np.array([0.5, 0.5 - confidence / 2, 0.5 + confidence / 2])
