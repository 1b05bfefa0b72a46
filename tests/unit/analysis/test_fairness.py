"""Fairness over clients: every index by hand, and what holds for any values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flip_lab.analysis import estimate, fairness, fairness_of_groups
from flip_lab.analysis.client_fairness import INDICES
from flip_lab.core.errors import AnalysisError

NAN = float("nan")


def reported(
    values: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    run_id: str = "r",
    server_round: int = 1,
    phase: str = "evaluate",
) -> pd.DataFrame:
    """Give rows of ``client_metrics``, one a client."""
    return pd.DataFrame(
        {
            "run_id": run_id,
            "server_round": server_round,
            "phase": phase,
            "partition_id": range(len(values)),
            "num_examples": [1.0] * len(values) if weights is None else weights,
            "name": "eval_accuracy",
            "value": values,
        }
    )


def indices(values: Sequence[float], **choices: object) -> dict[str, float]:
    """Give the indices of one round."""
    (row,) = fairness(reported(values), "eval_accuracy", **choices).to_dict("records")  # pyright: ignore[reportArgumentType]  # passed on
    return {str(name): value for name, value in row.items()}


def test_every_index_by_hand() -> None:
    """Of 1, 2, 3 and 4: sum 10, sum of squares 30, Σᵢⱼ|xᵢ - xⱼ| = 20."""
    (row,) = fairness(
        reported([4, 1, 3, 2], weights=[4, 1, 3, 2]), "eval_accuracy"
    ).to_dict("records")
    assert row["mean"] == 2.5
    assert row["weighted_mean"] == pytest.approx(30 / 10)
    assert row["variance"] == pytest.approx(1.25)
    assert row["std"] == pytest.approx(1.25**0.5)
    assert row["gap"] == 3
    assert row["jain"] == pytest.approx(100 / 120)
    assert row["gini"] == pytest.approx(20 / (2 * 16 * 2.5))
    shares = (0.1, 0.2, 0.3, 0.4)
    entropy = -sum(share * math.log(share) for share in shares)
    assert row["entropy"] == pytest.approx(entropy / math.log(4))
    assert (row["num_clients"], row["num_diverged"]) == (4, 0)
    assert set(INDICES) == set(row) - {
        "run_id",
        "server_round",
        "num_clients",
        "num_diverged",
    }


def test_the_worst_tenth_is_rounded_up_and_turns_with_the_goal() -> None:
    """Of 11 clients the worst two; of a loss, those with the largest."""
    values = [float(value) for value in range(11)]
    assert indices(values)["worst_decile"] == 0.5
    assert indices(values)["best_decile"] == 9.5
    assert indices(values, goal="min")["worst_decile"] == 9.5
    assert indices([0.3, 0.9])["worst_decile"] == 0.3


def test_the_extremes_of_the_indices() -> None:
    """All equal, and one who has it all."""
    equal, one = indices([0.7] * 5), indices([0, 0, 0, 0, 0.7])
    assert (equal["jain"], equal["gini"], equal["entropy"]) == pytest.approx((1, 0, 1))
    assert (one["jain"], one["gini"], one["entropy"]) == pytest.approx((0.2, 0.8, 0))


def test_shares_are_not_defined_for_negative_values() -> None:
    """Nor for zeros only; the spread still is."""
    for values in ([-1.0, 2.0], [0.0, 0.0]):
        found = indices(values)
        assert math.isnan(found["jain"])
        assert math.isnan(found["gini"])
        assert math.isnan(found["entropy"])
        assert math.isfinite(found["variance"])
    assert math.isnan(indices([0.5])["entropy"])


def test_diverged_clients_are_counted() -> None:
    """They are in no index; when all diverged there is none."""
    found = indices([0.5, NAN, math.inf, 0.7])
    assert (found["num_clients"], found["num_diverged"]) == (4, 2)
    assert found["mean"] == pytest.approx(0.6)
    lost = indices([NAN, NAN])
    assert (lost["num_diverged"], math.isnan(lost["mean"])) == (2, True)


def test_rounds_and_phases_are_chosen() -> None:
    """Each run's last round; or one; or all. Evaluate before train."""
    frame = pd.concat(
        [
            reported([0.1], server_round=1),
            reported([0.2], server_round=2),
            reported([0.3], run_id="s"),
            reported([0.9], server_round=3, phase="train"),
        ]
    )
    assert fairness(frame, "eval_accuracy")["mean"].tolist() == [0.2, 0.3]
    assert fairness(frame, "eval_accuracy", at_round=1)["mean"].tolist() == [0.1, 0.3]
    assert len(fairness(frame, "eval_accuracy", at_round="all")) == 3
    assert fairness(frame, "eval_accuracy", phase="train")["mean"].tolist() == [0.9]


def test_groups_average_over_their_seeds() -> None:
    """Student intervals over runs; runs of no group are ignored."""
    frame = pd.concat([reported([at / 10, 0.5], run_id=f"r{at}") for at in range(4)])
    runs = pd.DataFrame({"group": ["b", "b", "a"], "run_id": ["r0", "r1", "r2"]})
    found = fairness_of_groups(fairness(frame, "eval_accuracy"), runs)
    assert found["group"].unique().tolist() == ["b", "a"]
    mean = found[found["index"] == "mean"]
    expected = estimate([0.25, 0.3])
    assert mean["centre"].tolist() == pytest.approx([0.275, 0.35])
    assert mean["low"].iloc[0] == pytest.approx(expected.low)
    assert mean["note"].iloc[1] == "one seed: no interval"
    assert mean["server_round"].tolist() == [1, 1]


def test_groups_keep_rounds_apart_where_there_are_several() -> None:
    """And say no round where the runs' last ones differ."""
    frame = pd.concat(
        [
            reported([0.1], server_round=1),
            reported([0.2], server_round=2),
            reported([0.3], run_id="s"),
        ]
    )
    runs = pd.DataFrame({"group": ["a", "a"], "run_id": ["r", "s"]})
    every = fairness_of_groups(fairness(frame, "eval_accuracy", at_round="all"), runs)
    mean = every[every["index"] == "mean"]
    assert mean["server_round"].tolist() == [1, 2]
    assert mean["centre"].tolist() == pytest.approx([0.2, 0.2])
    last = fairness_of_groups(fairness(frame, "eval_accuracy"), runs)
    assert last["server_round"].isna().all()


def test_wrong_names_are_answered() -> None:
    """A metric, a phase, a round that nobody recorded."""
    frame = reported([0.1])
    with pytest.raises(AnalysisError, match="Did you mean 'eval_accuracy'"):
        fairness(frame, "eval_acuracy")
    with pytest.raises(AnalysisError, match="phase 'train'"):
        fairness(frame, "eval_accuracy", phase="train")
    with pytest.raises(AnalysisError, match="in round 7"):
        fairness(frame, "eval_accuracy", at_round=7)
    with pytest.raises(AnalysisError, match="goal = 'up'"):
        fairness(frame, "eval_accuracy", goal="up")  # pyright: ignore[reportArgumentType]  # wrong
    with pytest.raises(AnalysisError, match="lacks the column"):
        fairness(frame.drop(columns="phase"), "eval_accuracy")


POSITIVE = st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=25)


@given(values=POSITIVE, scale=st.sampled_from([1e-3, 0.5, 1e6]), random=st.randoms())
def test_shares_ignore_scale_and_order_and_stay_in_range(
    values: list[float], scale: float, random: object
) -> None:
    """Jain in [1/n, 1], Gini in [0, 1 - 1/n], entropy in [0, 1]; worst ≤ mean ≤ best."""
    assume(any(values))
    found = indices(values)
    shuffled = sorted(values, key=lambda _: getattr(random, "random")())  # noqa: B009  # Hypothesis's generator is untyped
    again = indices([scale * value for value in shuffled])
    number = len(values)
    for name, low, high in (
        ("jain", 1 / number, 1),
        ("gini", 0, 1 - 1 / number),
        ("entropy", 0, 1),
    ):
        if math.isnan(found[name]):
            assert (name, number) == ("entropy", 1)
            continue
        assert low - 1e-9 <= found[name] <= high + 1e-9
        assert again[name] == pytest.approx(found[name], abs=1e-9)
    assert found["worst_decile"] <= found["mean"] + 1e-9
    assert found["mean"] <= found["best_decile"] + 1e-9


@given(values=st.lists(st.floats(), min_size=1, max_size=8))
def test_no_values_raise(values: list[float]) -> None:
    """Any NaN, infinity or huge float is counted or gives a number."""
    found = indices(values)
    assert found["num_diverged"] == int((~np.isfinite(values)).sum())
