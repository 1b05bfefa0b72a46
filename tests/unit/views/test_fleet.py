"""The figure of a fleet: every node has its place, and what went wrong its shape."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import fleet_figure

CONDITIONS = ("fine", "failed", "failing", "excluded", "idle")


def nodes(count: int = 5) -> pd.DataFrame:
    """Give nodes of all conditions in turn; the last of five took no part."""
    at = np.arange(count)
    idle = at % 5 == 4
    return pd.DataFrame(
        {
            "partition_id": at,
            "node_id": at + 100,
            "condition": [CONDITIONS[each % 5] for each in at],
            "num_examples": 10 * (at + 1),
            "rounds": 3,
            "replies": np.where(idle, 0, 6),
            "failures": np.where(at % 5 == 1, 2, 0),
            "mean_s": np.where(idle, np.nan, 1.0 + at),
            "slowest_s": np.where(idle, np.nan, 2.0 + at),
            "last_metric": np.where(idle, np.nan, 0.5 + at / 100),
        }
    )


def test_each_condition_has_its_own_shape() -> None:
    """Colour alone tells nothing; who took no part is counted in words."""
    figure = fleet_figure(nodes(), metric="eval_accuracy")
    assert [trace.name for trace in figure.data] == [
        "fine (1)",
        "failed at some time (1)",
        "failing now (1)",
        "excluded (1)",
    ]
    assert len({trace.marker.symbol for trace in figure.data}) == 4
    assert list(figure.data[1].x) == [2.0]
    assert list(figure.data[1].y) == [0.51]
    assert "partition 1" in figure.data[1].text[0]
    assert "2 of 6 failed" in figure.data[1].text[0]
    subtitle = figure.layout.title.subtitle.text
    assert subtitle == "5 nodes, 2 of 24 replies failed, 1 took no part"
    assert figure.layout.yaxis.title.text == "accuracy (0 to 1)"
    assert list(figure.layout.xaxis.tickvals)[:4] == [1, 2, 5, 10]


def test_a_metric_that_diverged_lies_on_the_lowest_line() -> None:
    """It is drawn, below all that have one, and said to be NaN."""
    frame = nodes().assign(last_metric=[0.5, np.nan, 0.6, 0.7, np.nan])
    figure = fleet_figure(frame)
    lost, line = figure.data[1], figure.data[-1]
    assert line.name == "no finite metric"
    assert lost.y[0] == line.y[0] < 0.5
    assert "metric NaN" in lost.text[0]


def test_many_nodes_are_small_points() -> None:
    """Ten thousand are drawn at all, and by the graphics card."""
    figure = fleet_figure(nodes(10_000))
    assert {trace.type for trace in figure.data} == {"scattergl"}
    assert sum(len(trace.x) for trace in figure.data) == 8_000
    sizes = fleet_figure(nodes(20)).data[0].marker.size
    assert sizes[0] < sizes[-1]


def test_nobody_yet_gives_words_and_a_missing_column_an_error() -> None:
    """Nothing yet is no mistake; a wrong frame is one."""
    nobody = fleet_figure(nodes().iloc[4:])
    assert "No node has taken part yet." in nobody.layout.annotations[0].text
    with pytest.raises(ViewError, match="mean_s"):
        fleet_figure(nodes().drop(columns="mean_s"))
