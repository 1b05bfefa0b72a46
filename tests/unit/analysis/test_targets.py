"""Time to a target: arrivals, censoring, Kaplan and Meier, log-rank; by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from flip_lab.analysis import TimeToTarget, compare, rounds_to_target
from flip_lab.core.errors import AnalysisError

if TYPE_CHECKING:
    from conftest import Frames

NAN = float("nan")


def curves(groups: Mapping[str, Sequence[Sequence[float]]]) -> pd.DataFrame:
    """Give curves by group, one list a run, from round 1."""
    return pd.DataFrame(
        [
            {
                "group": group,
                "run_id": f"{group}{seed}",
                "seed": seed,
                "server_round": at,
                "value": value,
            }
            for group, runs in groups.items()
            for seed, values in enumerate(runs)
            for at, value in enumerate(values, 1)
        ],
        columns=["group", "run_id", "seed", "server_round", "value"],
    )


def arriving(*rounds: int | None, length: int = 10) -> list[list[float]]:
    """Give one curve for each round of arrival; None never arrives."""
    return [
        [1.0 if at is not None and step >= at else 0.0 for step in range(1, length + 1)]
        for at in rounds
    ]


def test_the_first_round_at_the_target_counts_and_the_last_censors() -> None:
    """At or above for a maximum, at or below for a minimum; NaN reaches nothing."""
    frame = curves({"a": [[0.1, 0.8, 0.9], [0.1, NAN, 0.7], [math.inf, 0.8]]})
    found = rounds_to_target(frame, target=0.8, goal="max").runs
    assert found["is_reached"].tolist() == [True, False, True]
    assert found["server_round"].tolist() == [2, 3, 2]
    least = rounds_to_target(frame, target=0.1, goal="min").runs
    assert least["is_reached"].tolist() == [True, True, False]


def test_a_spike_is_no_arrival_if_it_must_hold() -> None:
    """Two values in a row; the first of them is the arrival."""
    frame = curves({"a": [[0.9, 0.1, 0.9, 0.9], [0.1, 0.1, 0.1, 0.9]]})
    found = rounds_to_target(frame, target=0.8, goal="max", hold=2).runs
    assert found["is_reached"].tolist() == [True, False]
    assert found["server_round"].tolist() == [3, 4]
    long = rounds_to_target(frame, target=0.8, goal="max", hold=9).runs
    assert not long["is_reached"].any()


def test_median_and_restricted_mean_by_hand() -> None:
    """Arrivals at 2, 4 and 6, one run still on the way at 10.

    Left on the way: 1 to 2, 3/4 to 4, 1/2 to 6, 1/4 to 10: an area of 2 + 1.5 + 1 + 1.
    """
    found = rounds_to_target(curves({"a": arriving(2, 4, 6, None)}), target=1, goal="max")
    (row,) = found.summary().to_dict("records")
    assert (row["num_runs"], row["num_reached"]) == (4, 3)
    assert row["median"] == 4  # by then half have arrived
    assert row["restricted_mean"] == pytest.approx(5.5)
    assert row["horizon"] == 10
    (short,) = found.summary(horizon=5).to_dict("records")
    assert short["restricted_mean"] == pytest.approx(2 + 1.5 + 0.5)
    steps = found.arrivals()
    assert steps["at"].tolist() == [0, 2, 4, 6, 10]
    assert steps["share"].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 0.75])


def test_the_horizon_is_where_every_group_is_known() -> None:
    """A group that was watched for five rounds says nothing of the tenth."""
    frame = curves({"a": arriving(2, None, length=5), "b": arriving(3, 8)})
    found = rounds_to_target(frame, target=1, goal="max").summary()
    assert found["horizon"].tolist() == [5, 5]
    both = rounds_to_target(
        pd.concat([frame, curves({"c": arriving(4, None, length=8)})]), target=1, goal="max"
    )
    assert both.summary()["horizon"].tolist() == [5, 5, 5]
    # a: 1 to 2, 1/2 to 5; b: 1 to 3, 1/2 to 5
    assert found["restricted_mean"].tolist() == pytest.approx([3.5, 4.0])


def test_censoring_is_kaplan_and_meiers() -> None:
    """Against statsmodels, runs of different length."""
    runs = [*arriving(2, 5, length=6), *arriving(None, length=3), *arriving(None, 7)]
    found = rounds_to_target(curves({"a": runs}), target=1, goal="max")
    times, status = [2, 5, 3, 10, 7], [1, 1, 0, 0, 1]
    reference: Any = SurvfuncRight(np.array(times), np.array(status))
    steps = found.arrivals().iloc[1:-1]
    assert steps["at"].tolist() == reference.surv_times.tolist()
    assert (1 - steps["share"]).tolist() == pytest.approx(reference.surv_prob.tolist())


def test_the_log_rank_test_is_statsmodels() -> None:
    """Early arrivals against late ones."""
    frame = curves({"a": arriving(1, 2, 2, 3), "b": arriving(7, 8, None, 9)})
    found = rounds_to_target(frame, target=1, goal="max").log_rank()
    times, status = np.array([1, 2, 2, 3, 7, 8, 10, 9]), np.array([1] * 6 + [0, 1])
    chi_square, p_value = survdiff(times, status, np.array(["a"] * 4 + ["b"] * 4))
    assert (found.chi_square, found.p_value) == pytest.approx((chi_square, p_value))


def test_a_log_rank_test_that_cannot_be_made_says_so() -> None:
    """One group, or nobody who arrived."""
    one = rounds_to_target(curves({"a": arriving(1)}), target=1, goal="max")
    assert one.log_rank() == (None, None, "fewer than two groups")
    frame = curves({"a": arriving(None), "b": arriving(None)})
    none = rounds_to_target(frame, target=1, goal="max")
    assert none.log_rank() == (None, None, "too few arrivals to compare")
    assert none.summary()["note"].tolist() == ["no run reached it"] * 2
    assert none.summary()["median"].isna().all()


def test_seconds_bytes_and_epsilon_to_the_target(lab: Frames) -> None:
    """Summed up to the round of arrival; epsilon is the run's own count there."""
    lab.add("a", [0.1, 0.9, 0.9], seed=0)
    lab.point("a", {1: 0.5, 2: 1.25, 3: 2.0}, name="epsilon", place=("train", "central"))
    lab.spend("a", [1.5, 2.0, 4.0], moved=100)
    lab.add("b", [0.1, 0.2, 0.3], seed=1)
    lab.spend("b", [1.0, NAN, 1.0], moved=10)
    rounds = pd.DataFrame(lab.rounds)
    found = compare(*lab.frames, by=[], metric="eval_accuracy", rounds=rounds).to_target(
        0.8
    )
    first, second = found.runs.to_dict("records")
    assert (first["seconds"], first["bytes"], first["epsilon"]) == (3.5, 400, 1.25)
    assert (second["is_reached"], second["bytes"]) == (False, 60)
    assert math.isnan(second["seconds"])
    seconds = found.summary("seconds")
    assert seconds["num_runs"].tolist() == [1]
    assert seconds["note"].tolist() == ["1 run(s) of unknown cost"]
    assert found.summary("epsilon")["median"].tolist() == [1.25]


def test_without_costs_only_rounds_are_known() -> None:
    """The others are unknown, not zero."""
    found = rounds_to_target(curves({"a": arriving(2)}), target=1, goal="max")
    (row,) = found.summary("bytes").to_dict("records")
    assert row["num_runs"] == 0
    assert math.isnan(row["restricted_mean"])
    assert row["note"] == "1 run(s) of unknown cost"
    assert found.arrivals("bytes")["share"].tolist() == [0]


@pytest.mark.parametrize("choices", [{"target": NAN}, {"hold": 0}, {"goal": "up"}])
def test_wrong_arguments_are_refused(choices: dict[str, Any]) -> None:
    """A target that cannot be reached, a goal that is none."""
    with pytest.raises(AnalysisError, match="FLIP-420"):
        rounds_to_target(curves({}), **{"target": 1.0, "goal": "max", **choices})


def test_an_unknown_unit_is_refused() -> None:
    """The message names the nearest."""
    found = rounds_to_target(curves({"a": arriving(1)}), target=1, goal="max")
    with pytest.raises(AnalysisError, match="Did you mean 'seconds'"):
        found.summary("second")  # pyright: ignore[reportArgumentType]  # wrong


ARRIVALS = st.lists(st.one_of(st.none(), st.integers(1, 10)), min_size=1, max_size=6)


@settings(max_examples=30)
@given(one=ARRIVALS, two=ARRIVALS)
def test_what_holds_for_any_arrivals(one: list[int | None], two: list[int | None]) -> None:
    """Shares rise from 0 to at most 1; means lie within the horizon; p is a probability."""
    frame = curves({"a": arriving(*one), "b": arriving(*two)})
    found: TimeToTarget = rounds_to_target(frame, target=1, goal="max")
    for _, steps in found.arrivals().groupby("group"):
        assert steps["at"].is_monotonic_increasing
        assert steps["share"].is_monotonic_increasing
        assert steps["share"].between(0, 1).all()
    summary = found.summary()
    assert (summary["restricted_mean"] <= summary["horizon"] + 1e-9).all()
    arrived = [at for at in one if at is not None]
    if arrived == one:  # without censoring the restricted mean is the mean
        horizon = 10.0
        (mean, *_) = found.summary(horizon=horizon)["restricted_mean"]
        assert mean == pytest.approx(float(np.mean(arrived)))
    p_value = found.log_rank().p_value
    assert p_value is None or 0 <= p_value <= 1
