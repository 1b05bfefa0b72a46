"""The spread over clients: right quantiles, odd ones out, nobody dropped in silence."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import client_distribution


def reported(values: list[list[float]], *, phase: str = "evaluate") -> pd.DataFrame:
    """Give rows of ``client_metrics``: for each round one value per client."""
    return pd.DataFrame(
        [
            {
                "run_id": "a",
                "server_round": server_round,
                "phase": phase,
                "node_id": 1000 + client,
                "partition_id": client,
                "num_examples": float(client + 1),
                "name": "eval_accuracy",
                "value": value,
            }
            for server_round, row in enumerate(values, 1)
            for client, value in enumerate(row)
        ]
    )


def trace(figure: Any, name: str) -> Any:  # noqa: ANN401  # plotly ships no types
    """Give the one trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_median_quartiles_and_weighted_mean_are_right() -> None:
    """Worked by hand on five clients with weights 1 to 5."""
    figure = client_distribution(reported([[0.0, 0.1, 0.2, 0.3, 0.4]]), "eval_accuracy")
    median = trace(figure, "median client")
    assert list(median.y) == [0.2]
    first, third, low, high, weighted, clients, diverged = median.customdata[0]
    assert (first, third, low, high) == pytest.approx((0.1, 0.3, 0.0, 0.4))
    assert weighted == pytest.approx((0.1 * 2 + 0.2 * 3 + 0.3 * 4 + 0.4 * 5) / 15)
    assert (clients, diverged) == (5, 0)
    assert list(trace(figure, "middle half").y) == pytest.approx([0.3])
    assert list(trace(figure, "lowest to highest").y) == pytest.approx([0.4])


def test_few_clients_are_lines_with_their_examples_in_the_hover() -> None:
    """Each of up to 12 clients can be followed by eye, and weighed."""
    figure = client_distribution(reported([[0.5, 0.6], [0.7, 0.8]]), "eval_accuracy")
    line = trace(figure, "partition 1")
    assert list(line.y) == [0.6, 0.8]
    assert line.text[0] == "<b>partition 1</b><br>round 1: 0.6<br>2 examples"


def test_node_names_are_used_and_escaped() -> None:
    """The optional column ``node`` names the lines."""
    frame = reported([[0.5, 0.6]]).assign(node=["<b>Hungary</b>", "Cleveland"])
    names = {trace.name for trace in client_distribution(frame, "eval_accuracy").data}
    assert {"&lt;b&gt;Hungary&lt;/b&gt;", "Cleveland"} <= names


def test_of_many_clients_only_the_odd_ones_are_points() -> None:
    """Forty equal clients and one far below: one point, no forty lines."""
    values = [[0.8 + 0.001 * (client % 5) for client in range(40)] + [0.2]]
    figure = client_distribution(reported(values), "eval_accuracy")
    odd = trace(figure, "odd one out")
    assert list(odd.y) == [0.2]
    assert "partition 40" in odd.text[0]
    assert len(list(figure.data)) == 6  # two bands of two edges, the odd one, the median


def test_many_clients_of_one_kind_have_no_odd_ones() -> None:
    """No trace is drawn for what is not there."""
    figure = client_distribution(reported([[0.8] * 40]), "eval_accuracy")
    assert "odd one out" not in {trace.name for trace in figure.data}


def test_diverged_clients_are_marked_and_left_out_of_the_quantiles() -> None:
    """NaN and infinity neither bend the median nor vanish."""
    figure = client_distribution(
        reported([[0.2, math.nan, 0.4, math.inf]]), "eval_accuracy"
    )
    median = trace(figure, "median client")
    assert list(median.y) == pytest.approx([0.3])
    assert list(median.customdata[0][-2:]) == [4, 2]
    crosses = trace(figure, "diverged (NaN or ∞)")
    assert list(crosses.y) == pytest.approx([0.3, 0.3])
    assert "partition 1" in crosses.text[0]
    assert "round 1: ∞" in crosses.text[1]


def test_a_round_in_which_all_diverged_is_a_gap() -> None:
    """The figure stands even then, with crosses at the height of the round before."""
    figure = client_distribution(
        reported([[0.4, 0.6], [math.nan, math.nan]]), "eval_accuracy"
    )
    np.testing.assert_array_equal(trace(figure, "median client").y, [0.5, math.nan])
    assert list(trace(figure, "diverged (NaN or ∞)").y) == [0.5, 0.5]


def test_evaluate_is_preferred_and_train_can_be_chosen() -> None:
    """A name reported in both phases is never mixed."""
    both = pd.concat([reported([[0.1]], phase="train"), reported([[0.9]])])
    assert list(trace(client_distribution(both, "eval_accuracy"), "median client").y) == [
        0.9
    ]
    train = client_distribution(both, "eval_accuracy", phase="train")
    assert list(trace(train, "median client").y) == [0.1]


def test_a_metric_nobody_reported_gives_words() -> None:
    """Not an error: the first round may still be under way."""
    figure = client_distribution(reported([[0.1]]), "eval_loss")
    assert figure.layout.annotations[0].text == "No client has reported eval_loss yet."


def test_several_runs_are_refused_with_the_way_out() -> None:
    """A distribution over the clients of two runs would mean nothing."""
    two = pd.concat([reported([[0.1]]), reported([[0.2]]).assign(run_id="b")])
    with pytest.raises(ViewError, match=r"holds 2: a, b.*frame.run_id == 'a'"):
        client_distribution(two, "eval_accuracy")


def test_a_missing_column_is_named() -> None:
    """Weights are needed; the error says so."""
    with pytest.raises(ViewError, match="num_examples"):
        client_distribution(reported([[0.1]]).drop(columns="num_examples"), "eval_accuracy")
