"""Draw one phase of one round: who is asked, who replies in time, and when it closes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import Reals, reals
from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.twin_backlog import Backlog
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.analysis.twin_draws import Asked, Drawn, Flags, FleetDraws
from flip_lab.core.policy import RoundPolicy

CLIENT_COLUMNS = ("partition_id", "predicted_s", "low_s", "high_s")


@dataclass(frozen=True, kw_only=True)
class PhaseDraws:
    """One phase of one round: draws of what happened.

    Attributes:
        partitions: Whom messages could go to.
        drawn: What would become of them; shape ``(num_draws, partitions)``.
        is_asked: Whether it was sent; of the same shape.
        wall_s: Seconds until the phase closed, shape ``(num_draws,)``.
        num_replies: Good replies by then, of the same shape.
        is_met: Whether these are as many as the policy needs.
    """

    partitions: tuple[int, ...]
    drawn: Drawn
    is_asked: Flags
    wall_s: Reals
    num_replies: Reals
    is_met: Flags

    def clients(self, ends: Reals) -> pd.DataFrame:
        """Give the times of single messages; those never asked have no row.

        Args:
            ends: Quantiles of the middle and of both ends.

        Returns:
            The columns ``CLIENT_COLUMNS``.
        """
        rows: list[tuple[object, ...]] = []
        for at, partition_id in enumerate(self.partitions):
            seen = self.drawn.ready_s[self.is_asked[:, at], at]
            seen = seen[np.isfinite(seen)]
            if seen.size:
                rows.append((partition_id, *np.quantile(seen, ends)))
        return pd.DataFrame(rows, columns=list(CLIENT_COLUMNS))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under which policies one phase was, and is to be, run.

    Attributes:
        phase: ``"train"`` or ``"evaluate"``.
        before: The policy that the recorded cohorts were asked under.
        now: The policy to predict.
    """

    phase: str
    before: RoundPolicy
    now: RoundPolicy

    @classmethod
    def of(cls, what_if: WhatIf, policy: RoundPolicy | None, phase: str) -> Terms:
        """Say what holds for a phase; nobody is asked besides to evaluate."""
        before = policy or RoundPolicy()
        now = what_if.policy or before
        if phase != "train":
            before, now = (replace(each, over_selection=0.0) for each in (before, now))
        return cls(phase=phase, before=before, now=now)

    def num_wanted(self, cohort: pd.DataFrame) -> int:
        """Say how many the strategy asked for, when these were asked.

        At times nobody was left to be asked besides. So they are at least as many as
        counted: a round closes once those that were wanted have replied.
        """
        wanted = num_asked = len(cohort)
        least = max(int(cohort["is_counted"].sum()), 1)
        while wanted > least and wanted + self.before.num_more(wanted) > num_asked:
            wanted -= 1
        return wanted


def draw_phase(  # noqa: PLR0917  # what is asked of whom, and under which conditions
    draws: FleetDraws,
    fleet: Fleet,
    what_if: WhatIf,
    cohort: pd.DataFrame,
    terms: Terms,
    backlog: Backlog,
) -> PhaseDraws:
    """Draw one phase of one round.

    Args:
        draws: Draws of the fleet.
        fleet: The fleet, for whom else to ask.
        what_if: What is otherwise.
        cohort: Who was asked what, one row a message.
        terms: The policies.
        backlog: What nodes still do; afterwards as it is when the phase closes.
    """
    wanted = what_if.cohort_size or terms.num_wanted(cohort)
    num_more = terms.now.num_more(wanted)
    may_grow = wanted + num_more > len(cohort) or what_if.cohort_size is not None
    asked = _candidates(cohort, fleet, what_if, may_grow=may_grow)
    drawn = backlog.behind(asked.partitions, draws.messages(terms.phase, asked))
    in_cohort = np.arange(len(asked.partitions)) < len(cohort)
    order = draws.random.random(drawn.ready_s.shape)
    if what_if.cohort_size is None:
        order += ~in_cohort  # the cohort first, others besides
    order += 2.0 * drawn.is_away
    place = order.argsort(axis=1).argsort(axis=1)
    is_asked = (place < wanted + num_more) & ~drawn.is_away
    goal = wanted if num_more else None
    wall_s, num_replies = _close(drawn, is_asked, terms.now.deadline_s, goal)
    backlog.ask(asked.partitions, drawn, is_asked)
    backlog.go_on(wall_s)
    return PhaseDraws(
        partitions=tuple(asked.partitions),
        drawn=drawn,
        is_asked=is_asked,
        wall_s=wall_s,
        num_replies=num_replies,
        is_met=num_replies >= terms.now.num_needed(wanted),
    )


def _candidates(
    cohort: pd.DataFrame, fleet: Fleet, what_if: WhatIf, *, may_grow: bool
) -> Asked:
    """Give the round's cohort, and after it all others, where they may be asked."""
    known = [int(node) for node in cohort["partition_id"]]
    out = {*known, *what_if.without}
    others = [node for node in fleet.by_partition if node not in out] if may_grow else []
    usual = np.full(len(others), np.nan)
    return Asked(
        partitions=[*known, *others],
        num_examples=np.concatenate([reals(cohort, "num_examples"), usual]),
        num_bytes=np.concatenate([reals(cohort, "num_bytes"), usual]),
        is_first=np.concatenate(
            [cohort["is_first"].to_numpy(dtype=np.bool_), np.zeros(len(others), np.bool_)]
        ),
    )


def _close(
    drawn: Drawn,
    is_asked: Flags,
    deadline_s: float | None,
    goal: int | None,
) -> tuple[Reals, Reals]:
    """Say when each draw's phase closes, and with how many good replies."""
    ready = np.where(is_asked, drawn.ready_s, np.inf)
    wall = np.where(is_asked, drawn.known_s, 0.0).max(axis=1)
    if goal is not None and goal <= ready.shape[1]:
        wall = np.minimum(wall, np.sort(ready, axis=1)[:, goal - 1])
    if deadline_s is not None:
        wall = np.minimum(wall, deadline_s)
    replies = (ready <= wall[:, None]).sum(axis=1).astype(np.float64)
    return wall, replies if goal is None else np.minimum(replies, goal)
