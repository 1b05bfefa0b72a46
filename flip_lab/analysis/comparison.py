"""Compare groups of runs, seeds as replicates: the object that a notebook works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flip_lab.analysis.columns import reals
from flip_lab.analysis.confidence import BandKind, bands
from flip_lab.analysis.costs import cumulative_costs
from flip_lab.analysis.grouping import Grouping, group_runs, order_of
from flip_lab.analysis.inputs import require_choice, require_columns
from flip_lab.analysis.pair_test import TestKind
from flip_lab.analysis.pairs import Correction, Pairwise, pairwise
from flip_lab.analysis.ranking import leaderboard
from flip_lab.analysis.scores import At, score_runs
from flip_lab.analysis.selection import (
    Candidate,
    Recorded,
    candidates_of,
    leave_out,
    recorded,
)
from flip_lab.analysis.smoothing import Smoothing
from flip_lab.analysis.targets import TimeToTarget, rounds_to_target
from flip_lab.core.errors import AnalysisError
from flip_lab.core.goals import Goal, goal_of

_WORDS = ("final", "best")
_OWN = ("group", "num_runs")  # columns of ours that a parameter may be called like
_KEY = " (key)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """One metric of several groups of runs.

    Frames are the caller's to read; a method never changes them.

    Attributes:
        metric: The metric's name.
        phase: Its phase.
        scope: Its scope.
        goal: Whether more of it is better.
        by: Keys that make the groups.
        groups: ``group`` (its label), one column for each key with its value (None where
            the group has none), ``num_runs``; one row a group that has runs, in order.
        runs: ``group``, ``run_id``, ``seed``; one row a run that is compared.
        curves: ``group``, ``run_id``, ``seed``, ``server_round``, ``value``; one row a
            recorded point. NaN and the infinities are kept.
        costs: ``run_id``, ``server_round``, ``seconds``, ``bytes``, ``epsilon``: what had
            been spent when the round ended. Empty unless ``compare`` was given rounds.
        left_out: ``run_id``, ``group``, ``seed``, ``state``, ``reason``; one row a run
            that is not compared.
        notes: What a reader of any figure made from this must know.
    """

    metric: str
    phase: str
    scope: str
    goal: Goal
    by: tuple[str, ...]
    groups: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame
    costs: pd.DataFrame
    left_out: pd.DataFrame
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        keys = ", ".join(self.by) or "nothing"
        out = f"; {len(self.left_out)} left out" if len(self.left_out) else ""
        return (
            f"<Comparison of {self.metric} ({self.phase}, {self.scope}; {self.goal} is "
            f"best) by {keys}: {len(self.groups)} groups, {len(self.runs)} runs{out}>"
        )

    @property
    def final(self) -> pd.DataFrame:
        """Each run at its own last recorded round; see :meth:`scores`."""
        return self.scores("final")

    @property
    def best(self) -> pd.DataFrame:
        """Each run at its best round; see :meth:`scores`."""
        return self.scores("best")

    def at_round(self, server_round: int) -> pd.DataFrame:
        """Give each run at one round; see :meth:`scores`.

        Args:
            server_round: Round, from 0.
        """
        return self.scores(server_round)

    def scores(self, at: At = "final") -> pd.DataFrame:
        """Give one number for each run.

        Args:
            at: ``"final"``, ``"best"`` or a round.

        Returns:
            ``group``, ``run_id``, ``seed``, ``server_round``, ``value``, ``outcome``
            (*value*, *diverged* or *missing*), as :func:`score_runs` makes them.

        Raises:
            AnalysisError: If ``at`` is another word.
        """
        if isinstance(at, str):
            require_choice(at, _WORDS, name="at")
        return score_runs(self.curves, self.runs, at=at, goal=self.goal)

    def bands(
        self,
        *,
        kind: BandKind = "student",
        confidence: float = 0.95,
        smoothing: Smoothing | None = None,
    ) -> pd.DataFrame:
        """Give the centre and the band of each group and round; see :func:`bands`."""
        return bands(self.curves, kind=kind, confidence=confidence, smoothing=smoothing)

    def pairwise(
        self,
        *,
        at: At = "final",
        test: TestKind = "t",
        alpha: float = 0.05,
        correction: Correction = "holm",
        against: str | None = None,
    ) -> Pairwise:
        """Test every pair of groups, or each against one; see :func:`pairwise`."""
        return pairwise(
            self.scores(at), test=test, alpha=alpha, correction=correction, against=against
        )

    def leaderboard(
        self,
        *,
        at: At = "final",
        test: TestKind = "t",
        alpha: float = 0.05,
        correction: Correction = "holm",
    ) -> pd.DataFrame:
        """Rank the groups, ties marked; see :func:`leaderboard`."""
        return leaderboard(
            self.scores(at), goal=self.goal, test=test, alpha=alpha, correction=correction
        )

    def to_target(self, target: float, *, hold: int = 1) -> TimeToTarget:
        """Say how long each run took to reach a value; see :func:`rounds_to_target`."""
        return rounds_to_target(
            self.curves, target=target, goal=self.goal, costs=self.costs, hold=hold
        )

    def keyed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add the groups' values under the keys to a frame that this made.

        Args:
            frame: Anything with a column ``group``.

        Returns:
            The frame with one more column for each key at its end; one whose name the frame
            has already is called ``NAME (key)``.
        """
        values = self.groups.drop(columns="num_runs")
        return frame.merge(values, on="group", how="left", suffixes=("", _KEY))


def compare(  # noqa: PLR0913  # what to compare, and four choices with a default
    runs: pd.DataFrame,
    metrics: pd.DataFrame,
    parameters: pd.DataFrame | None = None,
    *,
    by: str | Sequence[str],
    metric: str,
    phase: str | None = None,
    scope: str | None = None,
    goal: Goal | None = None,
    seed: str = "seed",
    states: Collection[str] = ("completed",),
    rounds: pd.DataFrame | None = None,
) -> Comparison:
    """Compare one metric over groups of runs.

    Args:
        runs: Rows of the table ``runs`` to choose from; needs ``run_id``. ``state``,
            ``seed`` and ``created_at`` are used if there.
        metrics: Rows of the table ``metrics``; those of other runs are ignored.
        parameters: Rows of the table ``parameters``.
        by: Keys that make the groups: columns of ``runs`` or names of parameters. A run
            that lacks a key belongs to the group without it. An empty list makes one group.
        metric: The metric's name.
        phase: Its phase; by default the one that most runs have, evaluate before train.
        scope: Its scope; by default likewise, federated before central.
        goal: ``"max"`` or ``"min"``; by default guessed from the name (of a loss: min).
        seed: Key of the replicate. Tests pair groups by it.
        states: States of runs to compare.
        rounds: Rows of the table ``rounds``, to count seconds and bytes to a target.

    Returns:
        The comparison. Runs that cannot be compared are in its ``left_out``, with reasons.

    Raises:
        AnalysisError: If no run is left, or the metric, a key, or the goal is unknown.
    """
    require_columns(runs, ("run_id",), what="runs")
    if runs.empty:
        raise AnalysisError("There is no run to compare.", fix="Choose at least one run.")
    if goal is not None:
        require_choice(goal, ("max", "min"), name="goal")
    chosen = runs.drop_duplicates("run_id")
    keys = (by,) if isinstance(by, str) else tuple(by)
    grouping = group_runs(chosen, parameters, by=keys)
    found = recorded(metrics, metric, run_ids=[*grouping.of_run], phase=phase, scope=scope)
    candidates = candidates_of(chosen, parameters, grouping, found.points, seed=seed)
    reasons = leave_out(candidates, states=states)
    kept = [run for run in candidates if run.run_id not in reasons]
    if not kept:
        counts = Counter(reasons.values()).most_common()
        raise AnalysisError(
            "No run is left to compare: "
            f"{', '.join(f'{number} {reason}' for reason, number in counts)}.",
            fix='Choose others, or count them in: states=("completed", "stopped").',
        )
    frame = _runs(kept, grouping)
    curves = frame.merge(found.points, on="run_id", how="inner")
    return Comparison(
        metric=metric,
        phase=found.phase,
        scope=found.scope,
        goal=goal or goal_of(metric),
        by=grouping.by,
        groups=_groups(kept, grouping),
        runs=frame,
        curves=curves,
        costs=cumulative_costs(rounds, metrics, run_ids=list(frame["run_id"])),
        left_out=_left_out(candidates, reasons),
        notes=_notes(found, curves, kept, reasons),
    )


def _runs(kept: Sequence[Candidate], grouping: Grouping) -> pd.DataFrame:
    place = {label: at for at, label in enumerate(grouping.groups)}
    ordered = sorted(
        kept, key=lambda run: (place[run.group], order_of(run.seed), run.run_id)
    )
    return pd.DataFrame(
        {
            "group": [run.group for run in ordered],
            "run_id": [run.run_id for run in ordered],
            "seed": pd.Series([run.seed for run in ordered], dtype=object),
        }
    )


def _groups(kept: Sequence[Candidate], grouping: Grouping) -> pd.DataFrame:
    sizes = Counter(run.group for run in kept)
    labels = [label for label in grouping.groups if sizes[label]]
    columns: dict[str, object] = {"group": labels}
    for at, key in enumerate(grouping.by):
        held = [grouping.groups[label][at] for label in labels]
        columns[f"{key}{_KEY}" if key in _OWN else key] = pd.Series(held, dtype=object)
    return pd.DataFrame({**columns, "num_runs": [sizes[label] for label in labels]})


def _left_out(candidates: Sequence[Candidate], reasons: Mapping[str, str]) -> pd.DataFrame:
    out = sorted((run for run in candidates if run.run_id in reasons), key=_by_run_id)
    return pd.DataFrame(
        {
            "run_id": [run.run_id for run in out],
            "group": [run.group for run in out],
            "seed": pd.Series([run.seed for run in out], dtype=object),
            "state": [run.state for run in out],
            "reason": [reasons[run.run_id] for run in out],
        }
    )


def _by_run_id(run: Candidate) -> str:
    return run.run_id


def _notes(
    found: Recorded,
    curves: pd.DataFrame,
    kept: Sequence[Candidate],
    reasons: Mapping[str, str],
) -> tuple[str, ...]:
    lasts = curves.groupby("run_id")["server_round"].max()
    sizes = Counter(run.group for run in kept)
    single = [label for label, size in sizes.items() if size == 1]
    diverged = curves.loc[~np.isfinite(reals(curves, "value")), "run_id"]
    seedless = sum(run.seed is None for run in kept)
    notes = [
        found.note,
        f"{len(reasons)} run(s) left out; see left_out." if reasons else "",
        f"Runs differ in length: the last round is {lasts.min()} to {lasts.max()}."
        if lasts.min() != lasts.max()
        else "",
        f"{diverged.nunique()} run(s) have values that are NaN or infinite."
        if len(diverged)
        else "",
        f"One seed only, so no interval: {', '.join(single)}." if single else "",
        f"{seedless} run(s) have no seed and cannot be paired." if seedless else "",
    ]
    return tuple(note for note in notes if note)
