"""Leaderboard and differences: ties are seen, nothing is claimed that was not tested."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from flip_lab import analysis
from flip_lab.core.errors import ViewError
from flip_lab.views import effect_forest, leaderboard_figure


def scores(**groups: list[float]) -> pd.DataFrame:
    """Give one score for each group and seed."""
    return pd.DataFrame(
        [
            {"group": group, "run_id": f"{group}{seed}", "seed": seed, "value": value}
            for group, values in groups.items()
            for seed, value in enumerate(values)
        ]
    )


CLOSE = scores(best=[0.9, 0.92, 0.91], near=[0.9, 0.93, 0.89], far=[0.3, 0.31, 0.32])


def trace(figure: Any, name: str) -> Any:  # noqa: ANN401  # plotly ships no types
    """Give the one trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_ties_are_filled_and_marked_and_others_hollow() -> None:
    """Two share the lead, the third was shown to be worse."""
    board = analysis.leaderboard(CLOSE, goal="max")
    figure = leaderboard_figure(board, "eval_accuracy")
    assert list(figure.layout.yaxis.ticktext) == [
        "<b>1=</b>  best",
        "<b>1=</b>  near",
        "<b>3</b>  far",
    ]
    first = trace(figure, "not shown to be worse than the leader")
    worse = trace(figure, "worse than the leader")
    assert (list(first.y), list(worse.y)) == ([0, 1], [2])
    assert list(worse.x) == pytest.approx([0.31])
    assert (first.marker.symbol, worse.marker.symbol) == ("circle", "circle-open")
    assert "2 share the lead" in figure.layout.title.subtitle.text
    assert list(trace(figure, "best run").x) == pytest.approx([0.92, 0.93, 0.32])


def test_intervals_lie_in_their_lanes() -> None:
    """One line for each group that has an interval, at its height."""
    board = analysis.leaderboard(CLOSE, goal="max")
    figure = leaderboard_figure(board, "eval_accuracy")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [list(line.x) for line in lines] == [
        pytest.approx([low, high]) for low, high in board[["low", "high"]].to_numpy()
    ]
    assert [line.y[0] for line in lines] == [0, 1, 2]


def test_a_group_that_diverged_has_no_rank_and_a_cross() -> None:
    """It is in the figure, last, and said to have no finite value."""
    board = analysis.leaderboard(
        pd.concat([CLOSE, scores(lost=[math.nan, math.inf])]), goal="max"
    )
    figure = leaderboard_figure(board, "eval_accuracy", theme="dark")
    assert figure.layout.yaxis.ticktext[-1] == "<b>–</b>  lost"
    assert list(trace(figure, "no finite value").y) == [3]
    assert figure.layout.annotations[-1].text == "no finite value"


def test_one_group_of_one_seed_is_a_dot() -> None:
    """No interval, no test, no crash."""
    board = analysis.leaderboard(scores(only=[0.5]), goal="min")
    figure = leaderboard_figure(board, "eval_loss")
    assert not [trace for trace in figure.data if trace.mode == "lines"]
    assert "1 group" in figure.layout.title.subtitle.text


def test_differences_are_filled_where_a_test_showed_them() -> None:
    """Two of three pairs differ; the zero line is there to judge by."""
    pairs = analysis.pairwise(CLOSE).frame
    figure = effect_forest(pairs, "eval_accuracy")
    assert list(figure.layout.yaxis.ticktext) == [
        "best – near",
        "best – far",
        "near – far",
    ]
    assert list(trace(figure, "differ").y) == [1, 2]
    assert list(trace(figure, "not shown to differ").y) == [0]
    assert trace(figure, "differ").x[0] == pytest.approx(0.6)
    assert figure.layout.shapes[0].x0 == figure.layout.shapes[0].x1 == 0
    assert "2 of 3 pairs shown to differ" in figure.layout.title.subtitle.text
    assert "Hedges’ g" in trace(figure, "differ").text[0]


def test_a_pair_that_cannot_be_tested_says_so() -> None:
    """Equal seeds give a difference of 0 without a test; a lost group gives nothing."""
    frame = scores(one=[0.5, 0.6], same=[0.5, 0.6], lost=[math.nan, math.nan])
    figure = effect_forest(analysis.pairwise(frame).frame, "eval_accuracy")
    facts = [note.text for note in figure.layout.annotations]
    assert facts == ["no test", "nothing to compare", "nothing to compare"]
    assert len(trace(figure, "no finite value").x) == 2


def test_of_many_pairs_those_with_the_smallest_p_are_shown() -> None:
    """Twelve groups are 66 pairs, more than fit; the subtitle says so."""
    frame = scores(**{f"g{at}": [at + 0.1, at + 0.3, at - 0.2] for at in range(12)})
    figure = effect_forest(analysis.pairwise(frame).frame, "x")
    assert len(figure.layout.yaxis.ticktext) == 60
    assert "the 60 with the smallest p" in figure.layout.title.subtitle.text


def test_a_group_of_markup_is_shown_as_text() -> None:
    """A group is called after a user's values."""
    frame = scores(**{"<b>x": [0.1, 0.2], "y": [0.3, 0.4]})
    board = leaderboard_figure(analysis.leaderboard(frame, goal="max"), "v")
    assert "&lt;b&gt;x" in board.layout.yaxis.ticktext[1]
    forest = effect_forest(analysis.pairwise(frame).frame, "v")
    assert forest.layout.yaxis.ticktext[0] == "&lt;b&gt;x – y"


def test_nothing_to_rank_gives_words_and_half_a_frame_an_error() -> None:
    """Nothing yet is no error."""
    board = analysis.leaderboard(CLOSE, goal="max")
    pairs = analysis.pairwise(CLOSE).frame
    assert (
        "measured yet" in leaderboard_figure(board.head(0), "x").layout.annotations[0].text
    )
    assert "no two groups" in effect_forest(pairs.head(0), "x").layout.annotations[0].text
    with pytest.raises(ViewError, match="p_to_leader"):
        leaderboard_figure(board.drop(columns="p_to_leader"), "x")
    with pytest.raises(ViewError, match="is_significant"):
        effect_forest(pairs.drop(columns="is_significant"), "x")
