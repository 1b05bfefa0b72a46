"""Fairness: all clients count, the worst tenth is seen, the lost are counted."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import fairness_figure


def reported(
    values: Iterable[float],
    *,
    run_id: str = "a",
    server_round: int = 1,
    name: str = "eval_accuracy",
) -> pd.DataFrame:
    """Give rows of ``client_metrics`` of one run and round."""
    return pd.DataFrame(
        {
            "run_id": run_id,
            "server_round": server_round,
            "phase": "evaluate",
            "partition_id": range(len(list(values))),
            "name": name,
            "value": list(values),
        }
    )


def traces(figure: Any, name: str) -> list[Any]:  # noqa: ANN401  # plotly ships no types
    """Give the traces of this name."""
    return [trace for trace in figure.data if trace.name == name]


def test_the_worst_tenth_is_marked_and_its_mean_told() -> None:
    """Worked by hand on twenty clients: the two lowest are the worst tenth."""
    figure = fairness_figure(reported(np.arange(20) / 20), "eval_accuracy")
    (worst,) = traces(figure, "worst tenth")
    assert sorted(worst.x) == pytest.approx([0.0, 0.05])
    (mean,) = traces(figure, "mean of the worst tenth")
    assert list(mean.x) == pytest.approx([0.025])
    assert len(traces(figure, "client")[0].x) == 18
    (box,) = [trace for trace in figure.data if trace.type == "box"]
    assert list(box.median) == pytest.approx([0.475])
    assert list(box.q1) == pytest.approx([0.2375])
    assert figure.layout.annotations[0].text == "worst tenth 0.025"


def test_of_a_loss_the_high_ones_are_the_worst() -> None:
    """The goal is guessed from the name, and can be said."""
    frame = reported([0.1, 0.2, 0.9], name="eval_loss")
    assert list(traces(fairness_figure(frame, "eval_loss"), "worst tenth")[0].x) == [0.9]
    told = fairness_figure(frame, "eval_loss", goal="max")
    assert list(traces(told, "worst tenth")[0].x) == [0.1]


def test_seeds_of_a_group_are_pooled_at_their_own_last_round() -> None:
    """A run that ended later does not push the other one out."""
    frame = pd.concat(
        [
            reported([0.1, 0.2]),
            reported([0.5, 0.6], server_round=2),
            reported([0.7, 0.8], run_id="b"),
            reported([0.0, 0.0], run_id="other"),
        ]
    )
    runs = pd.DataFrame({"group": ["g", "g"], "run_id": ["a", "b"]})
    figure = fairness_figure(frame, "eval_accuracy", runs=runs)
    shown = sorted([*traces(figure, "client")[0].x, *traces(figure, "worst tenth")[0].x])
    assert shown == [0.5, 0.6, 0.7, 0.8]
    assert list(figure.layout.yaxis.ticktext) == ["g"]


def test_lost_clients_are_counted_and_in_nothing_else() -> None:
    """A group that diverged everywhere keeps its lane."""
    frame = pd.concat(
        [
            reported([0.5, math.nan, math.inf]),
            reported([math.nan] * 2, run_id="b"),
        ]
    )
    figure = fairness_figure(frame, "eval_accuracy", theme="dark")
    facts = [note.text for note in figure.layout.annotations]
    assert facts == ["worst tenth 0.5 · 2 diverged", "2 diverged"]
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]


def test_ten_thousand_clients_stay_light_and_keep_their_ends() -> None:
    """Points stand for all, the best and the worst are always among them."""
    values = np.random.default_rng(0).normal(size=10_000)
    figure = fairness_figure(reported(values), "eval_accuracy")
    shown = [*traces(figure, "client")[0].x, *traces(figure, "worst tenth")[0].x]
    assert len(shown) == 200
    assert (min(shown), max(shown)) == (values.min(), values.max())
    assert len(str(figure.to_json())) < 50_000


def test_nothing_gives_words_and_half_a_frame_an_error() -> None:
    """Nothing yet is no error."""
    frame = reported([0.1])
    figure = fairness_figure(frame, "eval_loss")
    assert figure.layout.annotations[0].text == "No client has reported eval_loss yet."
    with pytest.raises(ViewError, match="partition_id"):
        fairness_figure(frame.drop(columns="partition_id"), "eval_accuracy")
    with pytest.raises(ViewError, match="group"):
        fairness_figure(frame, "eval_accuracy", runs=pd.DataFrame({"run_id": ["a"]}))
