"""Rules that end a run: worked by hand over a few rounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.condition import Condition
from flip_lab.core.errors import ConditionError
from flip_lab.core.round_numbers import RoundNumbers
from flip_lab.core.stopping import RoundPast, StopRule

_LIMITS = st.floats(min_value=1e-6, max_value=1e12)
_RULES = st.builds(
    StopRule,
    condition=st.sampled_from([None, Condition.parse("loss is nan")]),
    budget_s=st.none() | _LIMITS,
    budget_bytes=_LIMITS,
    epsilon=st.none() | _LIMITS,
)


def _history(name: str, *values: float | None) -> list[RoundPast]:
    """Give rounds 1, 2, … with a metric, or without it."""
    return [
        RoundPast(
            numbers=RoundNumbers(
                server_round=at, metrics={} if value is None else {name: value}
            )
        )
        for at, value in enumerate(values, start=1)
    ]


def _ends_after(rule: StopRule, history: list[RoundPast]) -> int | None:
    """Give the first round after which the rule ends the run."""
    for at in range(1, len(history) + 1):
        if rule.after_round(history[:at]):
            return at
    return None


def test_patience_counts_from_the_best_round() -> None:
    """0.9, 0.5 (best), 0.6, 0.5 (no better): two rounds of patience end after round 4."""
    rule = StopRule(patience=2, metric="eval_loss")
    history = _history("eval_loss", 0.9, 0.5, 0.6, 0.5)
    assert _ends_after(rule, history) == 4
    assert rule.after_round(history) == (
        "eval_loss no better for 2 rounds: 0.5 of round 2 stays its best"
    )


def test_what_is_better_follows_from_the_name_or_is_said() -> None:
    """An accuracy shall rise; a goal that is given counts more than the name."""
    rising = _history("eval_accuracy", 0.1, 0.2, 0.3, 0.4)
    assert _ends_after(StopRule(patience=1, metric="eval_accuracy"), rising) is None
    fallen = StopRule(patience=1, metric="eval_accuracy", goal="min")
    assert _ends_after(fallen, rising) == 2


def test_rounds_without_the_metric_do_not_wear_patience_out() -> None:
    """An app that evaluates every third round gets as many evaluations as asked for."""
    rule = StopRule(patience=2, metric="loss")
    sparse = _history("loss", 0.5, None, None, 0.6, None, None, 0.7)
    assert _ends_after(rule, sparse) == 7


def test_nan_betters_nothing() -> None:
    """A run that diverges loses patience, and never takes NaN for its best."""
    rule = StopRule(patience=2, metric="loss")
    assert _ends_after(rule, _history("loss", 0.5, math.nan, math.nan)) == 3
    assert _ends_after(rule, _history("loss", math.nan, 0.5, 0.4)) is None
    never = _history("loss", math.nan, math.nan)
    assert rule.after_round(never) == "loss no better for 2 rounds: it was never a number"


def test_a_condition_ends_the_run_after_its_round() -> None:
    """The newest round counts, not those before it."""
    rule = StopRule(condition=Condition.parse("eval_accuracy >= 0.9"))
    history = _history("eval_accuracy", 0.5, 0.92)
    assert rule.after_round(history) == "eval_accuracy 0.92 >= 0.9: round 2"
    assert rule.after_round([*history, *_history("eval_accuracy", 0.5)]) is None


def test_budgets_are_sums_over_rounds() -> None:
    """3 rounds of 20 s and 400 bytes: 60 s and 1,000 bytes are spent after the third."""
    rounds = [
        RoundPast(numbers=RoundNumbers(server_round=at), duration_s=20.0, num_bytes=400)
        for at in (1, 2, 3)
    ]
    assert _ends_after(StopRule(budget_s=60), rounds) == 3
    assert _ends_after(StopRule(budget_s=60.1), rounds) is None
    assert _ends_after(StopRule(budget_bytes=1000), rounds) == 3
    told = StopRule(budget_bytes=1000).after_round(rounds)
    assert told == "1,200 of 1,000 bytes are spent after round 3"


def test_epsilon_ends_before_the_round_that_would_exceed_it() -> None:
    """1.0, 1.6, 2.2: the next would make 2.8, so 2.5 ends the run after round 3."""
    history = _history("epsilon", 1.0, 1.6, 2.2)
    assert _ends_after(StopRule(epsilon=2.5), history) == 3
    assert _ends_after(StopRule(epsilon=2.8000001), history) is None
    assert _ends_after(StopRule(epsilon=1.5), history) == 1  # the second would make 2.0


def test_the_first_of_several_rules_ends_the_run() -> None:
    """One rule may hold a condition and budgets."""
    rule = StopRule(condition=Condition.parse("loss is nan"), budget_s=1e9)
    assert rule.after_round(_history("train_loss", math.nan)) is not None
    assert rule.after_round(_history("train_loss", 1.0)) is None
    assert str(rule) == "budget_s=1000000000.0 · loss is nan"


def test_no_rounds_no_end() -> None:
    """Nothing has happened yet."""
    assert StopRule(budget_s=1e-9).after_round([]) is None


@given(_RULES)
def test_rules_travel_as_json(rule: StopRule) -> None:
    """A rule in a command is the rule that was asked for."""
    assert StopRule.from_json(rule.to_json()) == rule


@pytest.mark.parametrize(
    ("asked", "help_"),
    [
        ({}, "Give a condition"),
        ({"patience": 3}, "metric='eval_loss'"),
        ({"metric": "loss"}, "patience=5"),
        ({"patience": 0, "metric": "loss"}, "above 0"),
        ({"patience": 1.5, "metric": "loss"}, "a whole number"),
        ({"budget_s": -1.0}, "above 0"),
        ({"budget_s": math.inf}, "above 0"),
        ({"epsilon": math.nan}, "above 0"),
        ({"budget_bytes": True}, "a number"),
        ({"patience": 3, "metric": "x", "goal": "maximum"}, "Did you mean 'max'?"),
        ({"budget": 3}, "Did you mean 'budget_s'?"),
        ({"condition": "loss"}, "Write it like"),
    ],
)
def test_rules_that_mean_nothing_are_refused(asked: dict[str, object], help_: str) -> None:
    """A rule that could never end a run, or end it at once, is a mistake."""
    with pytest.raises(ConditionError) as refused:
        StopRule.from_json(asked)
    assert help_ in refused.value.fix
