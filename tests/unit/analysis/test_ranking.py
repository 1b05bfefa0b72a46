"""The leaderboard: who leads, and who was not shown to be worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from flip_lab.analysis import estimate, leaderboard, pairwise
from flip_lab.core.errors import AnalysisError

if TYPE_CHECKING:
    from conftest import Scores

NAN = float("nan")
FIVE = (0.80, 0.82, 0.81, 0.79, 0.83)
BETTER = (0.83, 0.84, 0.85, 0.81, 0.86)
NEAR = (0.84, 0.83, 0.86, 0.80, 0.85)
FAR = (0.50, 0.52, 0.51, 0.53, 0.50)


def test_ties_share_the_leaders_rank_and_the_others_keep_their_place(
    scores: Scores,
) -> None:
    """A near group is not shown to be worse; the two others are."""
    frame = scores({"far": FAR, "five": FIVE, "near": NEAR, "better": BETTER})
    found = leaderboard(frame, goal="max")
    assert found["group"].tolist() == ["better", "near", "five", "far"]
    assert found["rank"].tolist() == [1, 1, 3, 4]
    assert found["is_tied"].tolist() == [True, True, False, False]
    family = pairwise(frame, against="better")
    expected = [
        family.between("better", name).p_corrected for name in ("near", "five", "far")
    ]
    assert found["p_to_leader"].tolist()[1:] == pytest.approx(expected)
    assert np.isnan(found["p_to_leader"].iloc[0])
    assert found["difference_to_leader"].iloc[2] == pytest.approx(-0.028)
    assert found["best_value"].tolist() == [0.86, 0.86, 0.83, 0.53]
    assert found["best_run_id"].tolist() == ["better-4", "near-2", "five-4", "far-3"]
    own = estimate(BETTER)
    first = found.to_dict("records")[0]
    assert (first["low"], first["centre"], first["high"]) == (own.low, own.centre, own.high)


def test_of_a_loss_the_least_leads(scores: Scores) -> None:
    """And the best run is the one with the smallest value."""
    found = leaderboard(scores({"five": FIVE, "far": FAR}), goal="min")
    assert found["group"].tolist() == ["far", "five"]
    assert found["rank"].tolist() == [1, 2]
    assert not found["is_tied"].any()
    assert found["best_run_id"].tolist() == ["far-0", "five-3"]


def test_one_seed_cannot_tell(scores: Scores) -> None:
    """Nothing was shown, so everybody shares the first rank, and it says why."""
    found = leaderboard(scores({"a": [0.9], "b": [0.1]}), goal="max")
    assert found["rank"].tolist() == [1, 1]
    assert found["is_tied"].all()
    assert np.isnan(found["low"]).all()
    assert found["note"].tolist() == [
        "one seed: no interval",
        "one seed: no interval; one seed: no test",
    ]


def test_a_group_without_a_finite_value_has_no_rank(scores: Scores) -> None:
    """It stands last; diverged and missing values are told apart."""
    frame = scores({"lost": [NAN, NAN], "five": [*FIVE, NAN]})
    frame["outcome"] = ["diverged", "missing", *["value"] * 5, "diverged"]
    found = leaderboard(frame, goal="max")
    assert found["group"].tolist() == ["five", "lost"]
    assert found["rank"].isna().tolist() == [False, True]
    assert found["num_diverged"].tolist() == [1, 1]
    assert found["num_missing"].tolist() == [0, 1]
    assert found["best_run_id"].isna().tolist() == [False, True]
    assert len(leaderboard(frame[:2], goal="max")) == 1
    assert leaderboard(frame[:0], goal="max").empty


def test_equal_means_are_ordered_by_name(scores: Scores) -> None:
    """So that the order of rows does not choose the leader."""
    frame = scores({"b": FIVE, "a": FIVE[::-1]})
    again = leaderboard(frame.iloc[::-1], goal="max")
    pd.testing.assert_frame_equal(leaderboard(frame, goal="max"), again)
    assert again["group"].tolist() == ["a", "b"]


def test_wrong_arguments_are_refused(scores: Scores) -> None:
    """A goal that is none, an alpha outside its range."""
    with pytest.raises(AnalysisError, match="goal = 'maximum'"):
        leaderboard(scores({"a": FIVE}), goal="maximum")  # pyright: ignore[reportArgumentType]  # wrong
    with pytest.raises(AnalysisError, match="alpha = 1"):
        leaderboard(scores({"a": FIVE}), goal="max", alpha=1)
