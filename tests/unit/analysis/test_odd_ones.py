"""Odd clients: robust scores by hand, and who is odd most often."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flip_lab.analysis import odd_clients, robust_scores
from flip_lab.core.errors import AnalysisError

NAN = float("nan")


def reported(rounds: Sequence[Sequence[float]], *, run_id: str = "r") -> pd.DataFrame:
    """Give rows of ``client_metrics``: for each round one value a client."""
    return pd.DataFrame(
        [
            {
                "run_id": run_id,
                "server_round": server_round,
                "phase": "evaluate",
                "node_id": 1000 + client,
                "partition_id": client,
                "num_examples": 10.0 * (client + 1),
                "name": "eval_loss",
                "value": value,
            }
            for server_round, values in enumerate(rounds, 1)
            for client, value in enumerate(values)
        ]
    )


def test_the_robust_score_by_hand() -> None:
    """Median 3, distances 2 1 0 1 7, MAD 1: the last is 0.6745 × 7."""
    scores = robust_scores(reported([[1, 2, 3, 4, 10]]), "eval_loss")["z"]
    unit = stats.norm.ppf(0.75)
    assert scores.tolist() == pytest.approx([-2 * unit, -unit, 0, unit, 7 * unit])


def test_where_most_agree_the_mean_distance_is_the_measure() -> None:
    """Four fives and a ten: MAD 0, mean distance 1. All equal: nobody is odd."""
    scores = robust_scores(reported([[5, 5, 5, 5, 10]]), "eval_loss")["z"]
    assert scores.tolist() == pytest.approx([0, 0, 0, 0, 5 * math.sqrt(2 / math.pi)])
    assert not robust_scores(reported([[0.1] * 4]), "eval_loss")["z"].any()


def test_of_two_clients_nobody_is_odd() -> None:
    """Nobody could say which."""
    assert robust_scores(reported([[1, 9]]), "eval_loss")["z"].isna().all()


def test_who_is_odd_most_often_comes_first() -> None:
    """Client 4 in both of its rounds, client 0 once, upwards and downwards."""
    rounds = [
        [1.0, 1.1, 0.9, 1.05, 9.0],
        [-7.0, 1.1, 0.9, 1.05, 8.0],
        [1.0, 1.1, 0.9, 1.05],
    ]
    found = odd_clients(reported(rounds), "eval_loss")
    assert found["client"].tolist()[:2] == [4, 0]
    worst = found.iloc[0]
    assert (worst["num_rounds"], worst["num_odd"], worst["share_odd"]) == (2, 2, 1.0)
    assert worst["num_examples"] == 50
    assert found.iloc[1][["num_rounds", "num_odd", "worst_round"]].tolist() == [3, 1, 2]
    assert found.iloc[1]["worst_z"] < -3.5
    assert found["num_odd"].tolist()[2:] == [0, 0, 0]


def test_a_client_that_diverges_alone_is_odd() -> None:
    """Where all diverge together nobody is."""
    found = odd_clients(reported([[1, 1.1, NAN], [NAN, NAN, NAN]]), "eval_loss")
    first = found.iloc[0]
    assert (first["client"], first["num_odd"], first["num_diverged"]) == (2, 1, 2)
    assert found["num_odd"].tolist()[1:] == [0, 0]
    assert pd.isna(first["worst_round"])


def test_unknown_partitions_are_told_apart_by_their_node() -> None:
    """Real nodes may not say which partition they hold."""
    frame = reported([[1, 2, 3]])
    frame["partition_id"] = -1
    found = odd_clients(frame, "eval_loss")
    assert sorted(found["client"]) == [1000, 1001, 1002]


def test_runs_are_apart() -> None:
    """The same client of two runs has two rows."""
    frame = pd.concat([reported([[1, 2, 3]]), reported([[1, 2, 90]], run_id="s")])
    found = odd_clients(frame, "eval_loss")
    assert len(found) == 6
    assert found.iloc[0][["run_id", "client"]].tolist() == ["s", 2]


@pytest.mark.parametrize("threshold", [0.0, -1.0, NAN])
def test_a_threshold_that_calls_everybody_odd_is_refused(threshold: float) -> None:
    """It must be above 0."""
    with pytest.raises(AnalysisError, match="would call everybody odd"):
        odd_clients(reported([[1, 2, 3]]), "eval_loss", threshold=threshold)


VALUES = st.lists(st.integers(-100, 100).map(float), min_size=3, max_size=15)


@given(values=VALUES, scale=st.sampled_from([0.25, 8.0]), shift=st.integers(-64, 64))
def test_scores_ignore_scale_and_shift(
    values: list[float], scale: float, shift: int
) -> None:
    """Whoever is odd in seconds is odd in minutes; a negative scale turns the sign."""
    before = robust_scores(reported([values]), "eval_loss")["z"].to_numpy()
    moved = [scale * value + shift for value in values]
    turned = [-value for value in values]
    after = robust_scores(reported([moved]), "eval_loss")["z"].to_numpy()
    against = robust_scores(reported([turned]), "eval_loss")["z"].to_numpy()
    assert after == pytest.approx(before, abs=1e-9)
    assert against == pytest.approx(-before, abs=1e-9)


@given(
    rounds=st.lists(st.lists(st.floats(), min_size=1, max_size=6), min_size=1, max_size=4)
)
def test_no_values_raise(rounds: list[list[float]]) -> None:
    """Every client of every round is in one row, and shares are shares."""
    found = odd_clients(reported(rounds), "eval_loss")
    assert found["num_rounds"].sum() == sum(map(len, rounds))
    assert found["share_odd"].between(0, 1).all()
    assert np.isfinite(found["worst_z"].dropna()).all()
