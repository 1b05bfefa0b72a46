"""When a run shall end by itself: rules that look at the rounds so far.

Sources:
    Patience: L. Prechelt, "Early Stopping – But When?", 1998 (criterion UP, by best value).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from flip_lab.core.condition import Condition
from flip_lab.core.errors import ConditionError, nearest
from flip_lab.core.events import Json
from flip_lab.core.goals import Goal, goal_of
from flip_lab.core.round_numbers import RoundNumbers

EPSILON = "epsilon"
"""The metric under which a private strategy reports what its rounds cost, summed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPast:
    """A round that is over, as rules see it; round 0 is the evaluation before training.

    Attributes:
        numbers: Its metrics, clients and failures.
        duration_s: Seconds that it took; pauses do not count.
        num_bytes: Bytes of arrays and records that its messages carried, both ways.
    """

    numbers: RoundNumbers
    duration_s: float = 0.0
    num_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """When to end a run; where several things are given, the first one to happen ends it.

    Attributes:
        condition: Ends the run after the first round that meets it.
        patience: Ends the run when the metric has not bettered its best for as many rounds
            as this, 1 or more. Rounds that do not report the metric do not count; NaN
            betters nothing.
        metric: The metric that ``patience`` is about.
        goal: Whether ``"max"`` or ``"min"`` of it is better; by default guessed from its
            name.
        budget_s: Seconds, above 0, that rounds may take in all.
        budget_bytes: Bytes, above 0, that may travel in all.
        epsilon: Ends the run before the round that would take the metric ``epsilon``
            beyond this, if it costs what the last one did. Above 0.

    Raises:
        ConditionError: If nothing is asked for, or something that means nothing.
    """

    condition: Condition | None = None
    patience: int | None = None
    metric: str | None = None
    goal: Goal | None = None
    budget_s: float | None = None
    budget_bytes: float | None = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        self._check_patience()
        limits = {
            "patience": self.patience,
            "budget_s": self.budget_s,
            "budget_bytes": self.budget_bytes,
            "epsilon": self.epsilon,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        if self.condition is None and not given:
            raise ConditionError(
                "A rule that asks for nothing would never stop the run.",
                fix="Give a condition, patience= with metric=, budget_s=, budget_bytes= "
                "or epsilon=.",
            )
        for name, value in given.items():
            _require_above_0(name, value)

    def _check_patience(self) -> None:
        if (self.patience is None) != (self.metric is None):
            lacking = "metric" if self.metric is None else "patience"
            raise ConditionError(
                f"Patience needs a metric and a number of rounds; {lacking} is missing.",
                fix="Give both: patience=5, metric='eval_loss'.",
            )
        if self.goal not in {None, "max", "min"}:
            raise ConditionError(
                f"A metric cannot be meant to become {self.goal!r}.",
                fix=nearest(str(self.goal), ("max", "min")),
            )

    @property
    def needs_updates(self) -> bool:
        """Whether the arrays of the replies must be looked at to tell."""
        return self.condition is not None and self.condition.needs_updates

    def after_round(self, history: Sequence[RoundPast]) -> str | None:
        """Say why the run shall end after the newest round; ``None`` to go on.

        Args:
            history: All rounds so far, in order; the newest is the last.
        """
        if not history:
            return None
        met = self.condition.meets(history[-1].numbers) if self.condition else None
        return (
            (met.because if met else None)
            or self._lost_patience(history)
            or self._spent(history)
            or self._private_no_more(history)
        )

    def _lost_patience(self, history: Sequence[RoundPast]) -> str | None:
        if self.patience is None or self.metric is None:
            return None
        goal = self.goal or goal_of(self.metric)
        best, best_round, since = math.nan, 0, 0
        for numbers, value in _reported(history, self.metric):
            is_better = value < best if goal == "min" else value > best
            if is_better or (math.isnan(best) and not math.isnan(value)):
                best, best_round, since = value, numbers.server_round, 0
            else:
                since += 1
        if since < self.patience:
            return None
        found = f"{best:.4g} of round {best_round} stays its best"
        told = "it was never a number" if math.isnan(best) else found
        return f"{self.metric} no better for {since} rounds: {told}"

    def _spent(self, history: Sequence[RoundPast]) -> str | None:
        after = f"after round {history[-1].numbers.server_round}"
        taken_s = math.fsum(each.duration_s for each in history)
        if self.budget_s is not None and taken_s >= self.budget_s:
            return f"{taken_s:.4g} s of {self.budget_s:.4g} s are spent {after}"
        moved = sum(each.num_bytes for each in history)
        if self.budget_bytes is not None and moved >= self.budget_bytes:
            return f"{moved:,} of {self.budget_bytes:,.0f} bytes are spent {after}"
        return None

    def _private_no_more(self, history: Sequence[RoundPast]) -> str | None:
        spent = [value for _, value in _reported(history, EPSILON)]
        if self.epsilon is None or not spent:
            return None
        last_cost = spent[-1] - spent[-2] if len(spent) > 1 else spent[-1]
        expected = spent[-1] + last_cost
        if expected <= self.epsilon:
            return None
        told = f"epsilon is {spent[-1]:.4g}, one more round would make it {expected:.4g}"
        return f"{told}: beyond {self.epsilon:.4g}"

    def __str__(self) -> str:
        """Say in words what ends the run, such as ``budget_s=60 · train_loss is nan``."""
        body = self.to_json()
        told = body.pop("condition", None)
        given = [f"{name}={value}" for name, value in body.items()]
        return " · ".join([*given, *([str(told)] if told else [])])

    def to_json(self) -> dict[str, Json]:
        """Give what is asked for, to be read by ``from_json``."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        told = {name: value for name, value in found.items() if value is not None}
        return told | ({"condition": str(self.condition)} if self.condition else {})

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> StopRule:
        """Read what ``to_json`` wrote, or a user asked for.

        Raises:
            ConditionError: If it asks for nothing, or for something that is not known.
        """
        known = {item.name for item in fields(cls)}
        for name in body:
            if name not in known:
                raise ConditionError(
                    f"There is no rule {name!r} to stop by.", fix=nearest(name, known)
                )
        given = {name: value for name, value in body.items() if value is not None}
        if "condition" in given:
            given["condition"] = Condition.parse(str(given["condition"]))
        return cls(**given)


def _require_above_0(name: str, value: object) -> None:
    whole = name == "patience"
    is_number = isinstance(value, int if whole else (int, float))
    if isinstance(value, bool) or not is_number or not 0 < float(str(value)) < math.inf:
        kind = "a whole number" if whole else "a number"
        raise ConditionError(f"{name}={value!r} is no limit.", fix=f"Give {kind} above 0.")


def _reported(
    history: Sequence[RoundPast], metric: str
) -> list[tuple[RoundNumbers, float]]:
    return [
        (each.numbers, each.numbers.metrics[metric])
        for each in history
        if metric in each.numbers.metrics
    ]
