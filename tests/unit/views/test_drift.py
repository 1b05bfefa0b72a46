"""Drift over the rounds: the odd ones stand out, among four clients or a thousand."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import drift_figure


def norms(grid: Any, **more: object) -> pd.DataFrame:  # noqa: ANN401  # like an array
    """Give rows of ``client_metrics`` from clients × rounds; ``None`` took no part."""
    rows = [
        {
            "run_id": "a",
            "server_round": server_round,
            "phase": "train",
            "node_id": 2**63 + client,
            "partition_id": client,
            "name": "update_norm",
            "value": value,
            **more,
        }
        for client, row in enumerate(grid)
        for server_round, value in enumerate(row, 1)
        if value is not None
    ]
    return pd.DataFrame(rows)


def names(figure: Any) -> list[str]:  # noqa: ANN401  # plotly ships no types
    """Give the names of all traces in the legend."""
    return [trace.name for trace in figure.data if trace.showlegend is not False]


def test_drift_is_a_norm_over_the_rounds_median() -> None:
    """Worked by hand: 9 of 1, 1, 1, 1, 9 is nine times the median; nobody else is odd."""
    figure = drift_figure(norms([[1, 2], [1, 2], [1, 2], [1, 2], [9, 2]]))
    (odd,) = [trace for trace in figure.data if trace.name == "partition 4"]
    assert list(odd.y) == [9, 1]
    assert names(figure) == ["4 other clients", "partition 4"]


def test_who_is_odd_most_often_comes_first() -> None:
    """Five at most have a colour; the others stay thin lines."""
    grid = [[1 + at / 100] * 4 for at in range(30)]
    grid[3] = [9, 1, 1, 1]
    grid[4] = [5, 5, 5, 5]
    figure = drift_figure(norms(grid))
    assert names(figure)[1:] == ["partition 4", "partition 3"]


def test_a_thousand_clients_are_bands() -> None:
    """Lines would be a surface; the odd one is still seen."""
    rng = np.random.default_rng(0)
    grid = np.exp(rng.normal(0, 0.05, (1000, 5)))
    grid[7] *= 30
    figure = drift_figure(norms(grid))
    assert {"middle half", "lowest to highest", "partition 7"} <= set(names(figure))
    assert len(list(figure.data)) <= 4 + 5
    assert figure.layout.yaxis.type == "log"


def test_what_was_not_finite_is_a_cross() -> None:
    """It is odd by itself, spoils no median, and says who it was."""
    figure = drift_figure(norms([[1, 1], [1, math.nan], [1, 1], [1, math.inf]]))
    (crosses,) = [trace for trace in figure.data if "diverged" in str(trace.name)]
    assert list(crosses.text) == ["partition 1", "partition 3"]
    assert {"partition 1", "partition 3"} <= set(names(figure))


def test_few_clients_sparse_rounds_and_nobody_moving() -> None:
    """Two clients have no quartiles; a client may miss rounds; norms may all be 0."""
    assert names(drift_figure(norms([[1], [100]]))) == ["2 other clients"]
    sparse = drift_figure(norms([[1, None, 1], [None, 2, 2]]))
    assert names(sparse) == ["2 other clients"]
    still = drift_figure(norms([[0, 0], [0, 0]]))
    assert list(still.data[0].y[:2]) == [1, 1]
    lost = drift_figure(norms([[math.nan, math.nan]]))
    assert "partition 0" in names(lost)


def test_nothing_recorded() -> None:
    """The words say how to record it."""
    for frame in (norms([[1]], name="train_loss"), norms([[1]], phase="evaluate")):
        figure = drift_figure(frame)
        assert "record_updates=True" in figure.layout.annotations[0].text


def test_a_frame_that_will_not_do() -> None:
    """Several runs, and missing columns."""
    two = pd.concat([norms([[1]]), norms([[1]], run_id="b")])
    with pytest.raises(ViewError, match="shows one run"):
        drift_figure(two)
    with pytest.raises(ViewError, match="needs the column"):
        drift_figure(norms([[1]]).drop(columns="value"))
