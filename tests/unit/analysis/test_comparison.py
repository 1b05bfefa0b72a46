"""Comparing runs: groups by any key, seeds as replicates, nothing dropped in silence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.analysis import Comparison, compare
from flip_lab.core.errors import AnalysisError

if TYPE_CHECKING:
    from conftest import Frames

NAN, INF = float("nan"), float("inf")


def by_strategy(lab: Frames, **choices: Any) -> Comparison:  # noqa: ANN401  # passed on
    """Compare a lab's runs by their strategy."""
    return compare(
        *lab.frames, **{"by": "strategy.name", "metric": "eval_accuracy", **choices}
    )


def test_runs_are_grouped_by_any_keys_and_a_missing_key_is_a_group(
    five_seeds: Frames,
) -> None:
    """A run without the parameter is in the group without it, last and with None."""
    found = by_strategy(five_seeds, by=["strategy.name", "mu"])
    assert list(found.groups["group"]) == [
        "FedAvg, no mu",
        "FedProx, mu=0.01",
        "no strategy.name, no mu",
    ]
    assert list(found.groups["mu"]) == [None, 0.01, None]
    assert list(found.groups["num_runs"]) == [5, 5, 5]
    assert "strategy.name, mu: 3 groups, 15 runs" in repr(found)


def test_numbers_are_ordered_as_numbers_and_columns_of_runs_are_keys(lab: Frames) -> None:
    """9 comes before 10, true is no 1, and a column of runs goes before a parameter."""
    for at, epochs in enumerate((10, 9, 9)):
        lab.add(f"r{at}", [0.5], seed=at, epochs=epochs, iid=at == 0)
    assert list(by_strategy(lab, by="epochs").groups["group"]) == ["epochs=9", "epochs=10"]
    assert list(by_strategy(lab, by="iid").groups["iid"]) == [False, True]
    assert list(by_strategy(lab, by="seed").groups["seed"]) == [0, 1, 2]
    assert list(by_strategy(lab, by=[]).groups["group"]) == ["all runs"]


def test_long_names_are_kept_where_short_ones_would_be_the_same(lab: Frames) -> None:
    """Two keys that end alike are told apart in the label."""
    lab.add("r", [0.5], server__rate=1, client__rate=2)
    (label,) = by_strategy(lab, by=["server.rate", "client.rate"]).groups["group"]
    assert label == "server.rate=1, client.rate=2"


def test_a_run_is_read_at_a_round_at_its_end_and_at_its_best(lab: Frames) -> None:
    """Nothing is carried forward; the earliest of equal bests counts."""
    lab.add("long", [0.2, 0.9, 0.9, 0.4], seed=0, strategy__name="a")
    lab.add("short", {1: 0.3, 3: 0.6}, seed=1, strategy__name="a")
    found = by_strategy(lab)
    final, best = found.final, found.best
    second = found.at_round(found.curves["server_round"].iloc[1])  # a numpy integer
    assert list(final["value"]) == [0.4, 0.6]
    assert list(final["server_round"]) == [4, 3]
    assert list(best["value"]) == [0.9, 0.6]
    assert list(best["server_round"]) == [2, 3]
    assert list(second["outcome"]) == ["value", "missing"]
    assert math.isnan(second["value"].iloc[1])
    assert any("differ in length: the last round is 3 to 4" in note for note in found.notes)


def test_a_loss_is_minimised_unless_told_otherwise(lab: Frames) -> None:
    """The goal is guessed from the name."""
    lab.add("r", [0.5, 0.2, 0.3], name="train_loss", place=("train", "federated"))
    assert compare(*lab.frames, by=[], metric="train_loss").best["value"].tolist() == [0.2]
    most = compare(*lab.frames, by=[], metric="train_loss", goal="max")
    assert most.best["value"].tolist() == [0.5]


def test_diverged_runs_are_counted_and_never_best(lab: Frames) -> None:
    """NaN and the infinities stay in the curves, are called diverged, and win nothing."""
    lab.add("nan", [0.5, NAN], seed=0)
    lab.add("inf", [INF, 0.7], seed=1)
    lab.add("all", [NAN, -INF], seed=2)
    found = by_strategy(lab, by=[])
    assert list(found.final["outcome"]) == ["diverged", "value", "diverged"]
    assert list(found.best["value"])[:2] == [0.5, 0.7]
    assert list(found.best["outcome"]) == ["value", "value", "diverged"]
    assert np.isinf(found.curves["value"]).sum() == 2
    assert "3 run(s) have values that are NaN or infinite." in found.notes


def test_who_is_left_out_is_said_with_the_reason(lab: Frames) -> None:
    """Failed, unfinished and silent runs, and the older run of a seed."""
    lab.add("fine", [0.5], seed=0, strategy__name="a", created="2026-11-22T02:00:00Z")
    lab.add("older", [0.4], seed=0, strategy__name="a", created="2026-11-22T01:00:00Z")
    lab.add("failed", [0.4], seed=1, state="failed", strategy__name="a")
    lab.add("going", [0.4], seed=2, state="running", strategy__name="a")
    lab.add("silent", [], seed=3, strategy__name="a")
    found = by_strategy(lab)
    assert list(found.runs["run_id"]) == ["fine"]
    reasons = dict(zip(found.left_out["run_id"], found.left_out["reason"], strict=True))
    assert reasons == {
        "older": "seed 0 again, the newer fine counts",
        "failed": "failed",
        "going": "running",
        "silent": "no point of the metric in this phase and scope",
    }
    assert "4 run(s) left out; see left_out." in found.notes
    assert "One seed only, so no interval: a." in found.notes


def test_a_seed_twice_with_other_settings_says_which_key_is_missing(lab: Frames) -> None:
    """Two learning rates in one group are no replicates: the advice names the key."""
    lab.add("one", [0.5], strategy__name="a", rate=0.1)
    lab.add("two", [0.5], strategy__name="a", rate=0.2)
    (reason,) = by_strategy(lab).left_out["reason"]
    assert reason.endswith("they differ in rate: add it to by=")


def test_other_states_can_be_counted_in(lab: Frames) -> None:
    """A stopped run is compared when the caller says so."""
    lab.add("stopped", [0.5], state="stopped")
    with pytest.raises(AnalysisError, match=r"No run is left to compare: 1 stopped\."):
        by_strategy(lab, by=[])
    found = by_strategy(lab, by=[], states=("completed", "stopped"))
    assert list(found.runs["run_id"]) == ["stopped"]


def test_runs_without_seed_are_all_kept_and_said(lab: Frames) -> None:
    """They cannot be duplicates of each other, and cannot be paired."""
    lab.add("one", [0.5], seed=None)
    lab.add("two", [0.6], seed=None)
    found = by_strategy(lab, by=[])
    assert len(found.runs) == 2
    assert "2 run(s) have no seed and cannot be paired." in found.notes


def test_frames_without_state_seed_and_parameters_do(lab: Frames) -> None:
    """Frames of the user's own SQL need run_id only."""
    lab.add("one", [0.5])
    runs, metrics, _ = lab.frames
    found = compare(runs[["run_id"]], metrics, by=[], metric="eval_accuracy")
    assert found.runs["seed"].tolist() == [None]


def test_the_place_that_most_runs_have_is_taken_and_the_others_said(lab: Frames) -> None:
    """Federated before central, unless the caller asks."""
    lab.add("r", [0.5])
    lab.point("r", {1: 0.9}, place=("evaluate", "central"))
    found = by_strategy(lab, by=[])
    assert (found.scope, list(found.final["value"])) == ("federated", [0.5])
    assert found.notes[0].endswith("as evaluate central; taken: evaluate federated.")
    assert list(by_strategy(lab, by=[], scope="central").final["value"]) == [0.9]
    with pytest.raises(AnalysisError, match="not recorded with phase='train'"):
        by_strategy(lab, by=[], phase="train")


def test_the_last_of_several_points_of_a_round_counts(lab: Frames) -> None:
    """As for facts that a resumed run made anew."""
    lab.add("r", {1: 0.9})
    lab.point("r", {1: 0.4})
    assert list(by_strategy(lab, by=[]).final["value"]) == [0.4]


def test_without_a_sequence_the_order_of_rows_decides_nothing(lab: Frames) -> None:
    """Of two points of a round a number goes before NaN, whichever comes first."""
    lab.add("r", {1: NAN})
    lab.point("r", {1: 0.4})
    runs, metrics, parameters = lab.frames
    for rows in (metrics, metrics.iloc[::-1]):
        bare = rows.drop(columns="sequence")
        found = compare(runs, bare, parameters, by=[], metric="eval_accuracy")
        assert list(found.final["value"]) == [0.4]


def test_keys_can_be_added_to_any_frame(five_seeds: Frames) -> None:
    """For small multiples: a band's rows with the values of its group."""
    found = by_strategy(five_seeds)
    banded = found.keyed(found.bands())
    assert list(banded["strategy.name"].unique()) == ["FedAvg", "FedProx", None]
    assert len(banded) == len(found.bands())


def test_a_key_may_be_called_like_a_column_of_ours(lab: Frames) -> None:
    """Neither hides the other, and a key given twice is one."""
    lab.add("one", [0.5], seed=9, group="x", value=1)
    lab.add("two", [0.5], seed=10, group="x", value=1)
    found = by_strategy(lab, by=["group", "value", "value"])
    assert list(found.groups.columns) == ["group", "group (key)", "value", "num_runs"]
    assert found.groups["group (key)"].tolist() == ["x"]
    assert found.keyed(found.final)["value (key)"].tolist() == [1, 1]
    assert found.final["seed"].tolist() == [9, 10]  # as numbers, not as words


def test_methods_are_the_functions_on_its_frames(five_seeds: Frames) -> None:
    """The leader, its test and its target by hand: see the values of the fixture."""
    found = by_strategy(five_seeds)
    assert found.leaderboard()["group"].tolist() == [
        "FedProx",
        "FedAvg",
        "no strategy.name",
    ]
    test = found.pairwise().between("FedProx", "FedAvg")
    assert test.difference == pytest.approx(-0.028)  # 0.810 - 0.838
    reached = found.to_target(0.8).runs
    assert (
        reached["is_reached"].tolist()
        == [True] * 3 + [False, True] + [True] * 5 + [False] * 5
    )


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"metric": "accuracy"}, "No run recorded a metric named 'accuracy'. Fix: Did you"),
        (
            {"by": "strategy.nam"},
            "has the key 'strategy.nam'. Fix: Did you mean 'strategy.na",
        ),
        ({"goal": "most"}, "goal = 'most' means nothing"),
        ({"seed": "sed"}, "No run has the key 'sed'. Fix: Did you mean 'seed'"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(
    five_seeds: Frames, choices: dict[str, Any], message: str
) -> None:
    """Each is FLIP-420 and says what would work."""
    with pytest.raises(AnalysisError, match=r"FLIP-420.*") as caught:
        by_strategy(five_seeds, **choices)
    assert message in str(caught.value)


def test_empty_and_wrong_frames_are_refused(five_seeds: Frames) -> None:
    """No runs, a missing column, a word that is no place to read."""
    runs, metrics, parameters = five_seeds.frames
    with pytest.raises(AnalysisError, match="There is no run to compare"):
        compare(runs[:0], metrics, parameters, by=[], metric="eval_accuracy")
    with pytest.raises(AnalysisError, match="'metrics' lacks the column"):
        compare(runs, metrics.drop(columns="value"), by=[], metric="eval_accuracy")
    with pytest.raises(AnalysisError, match="at = 'last' means nothing"):
        by_strategy(five_seeds).scores("last")  # pyright: ignore[reportArgumentType]  # wrong


VALUES = st.floats(allow_nan=True, allow_infinity=True)
CURVES = st.dictionaries(st.integers(0, 6), VALUES, max_size=5)


@settings(max_examples=30)
@given(curves=st.lists(CURVES, min_size=1, max_size=6), random=st.randoms())
def test_the_order_of_rows_does_not_matter_and_no_value_raises(
    new_lab: Callable[[], Frames],
    curves: list[dict[int, float]],
    random: Any,  # noqa: ANN401  # random.Random
) -> None:
    """Any NaN, infinity, hole or length gives a comparison, and the same one."""
    lab = new_lab()
    for at, curve in enumerate(curves):
        lab.add(f"r{at}", curve, seed=at // 2, group=at % 2)
    runs, metrics, parameters = lab.frames
    if metrics.empty:
        return
    found = compare(runs, metrics, parameters, by="group", metric="eval_accuracy")
    seed = random.randrange(99)
    mixed = (
        runs.sample(frac=1, random_state=seed),
        metrics.sample(frac=1, random_state=seed),
    )
    again = compare(mixed[0], mixed[1], parameters, by="group", metric="eval_accuracy")
    for place in ("final", "best", 3):
        pd.testing.assert_frame_equal(found.scores(place), again.scores(place))
    pd.testing.assert_frame_equal(found.bands(), again.bands())
    pd.testing.assert_frame_equal(found.leaderboard(), again.leaderboard())
    assert found.pairwise().tests == again.pairwise().tests
    assert found.pairwise(test="rank").tests == again.pairwise(test="rank").tests
    pd.testing.assert_frame_equal(
        found.to_target(0.5).summary(), again.to_target(0.5).summary()
    )
