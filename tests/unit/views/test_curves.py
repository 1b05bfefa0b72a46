"""Training curves show every value they are given, or say where it went."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import training_curves


def metrics(
    values: dict[str, list[float]], *, run_id: str = "a", scope: str = "federated"
) -> pd.DataFrame:
    """Give rows of the table ``metrics``: each metric's values by round."""
    return pd.DataFrame(
        [
            {
                "run_id": run_id,
                "sequence": at,
                "server_round": at,
                "phase": "train" if name.startswith("train") else "evaluate",
                "scope": scope,
                "name": name,
                "value": value,
            }
            for name, course in values.items()
            for at, value in enumerate(course, 1)
        ]
    )


def drawn(figure: Any) -> list[Any]:  # noqa: ANN401  # plotly ships no types
    """Give the traces that show data, without the ones that explain the legend."""
    return [trace for trace in figure.data if trace.showlegend is False]


def test_each_metric_has_a_panel_with_its_values_losses_first() -> None:
    """Values and rounds arrive in the panel that bears the metric's name."""
    figure = training_curves(
        metrics({"eval_accuracy": [0.5, 0.7], "eval_loss": [0.9, 0.4]})
    )
    loss, accuracy = drawn(figure)
    assert list(loss.x) == [1, 2]
    assert list(loss.y) == [0.9, 0.4]
    assert list(accuracy.y) == [0.5, 0.7]
    assert (loss.xaxis, accuracy.xaxis) == ("x", "x2")
    assert [note.text for note in figure.layout.annotations] == [
        "<b>eval_loss</b>",
        "<b>eval_accuracy</b>",
    ]
    assert figure.layout.yaxis2.title.text == "accuracy (0 to 1)"
    assert figure.layout.xaxis.title.text == "round"


def test_rounds_are_sorted_whatever_the_order_of_the_rows() -> None:
    """A line never runs back, even when SQL gave the rows in another order."""
    figure = training_curves(metrics({"eval_loss": [3.0, 2.0, 1.0]}).iloc[::-1])
    assert list(drawn(figure)[0].y) == [3.0, 2.0, 1.0]


def test_central_is_dashed_and_federated_solid() -> None:
    """The two scopes differ by dash and by marker, and the legend says which is which."""
    both = pd.concat(
        [metrics({"eval_loss": [1.0]}), metrics({"eval_loss": [2.0]}, scope="central")]
    )
    figure = training_curves(both)
    assert {trace.y[0]: trace.line.dash for trace in drawn(figure)} == {
        1.0: "solid",
        2.0: "dash",
    }
    assert {trace.marker.symbol for trace in drawn(figure)} == {"circle", "circle-open"}
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert legend == ["federated", "central"]


def test_a_diverged_value_leaves_a_gap_and_a_cross() -> None:
    """NaN and infinity are marked at the last finite height, with their name."""
    figure = training_curves(metrics({"eval_loss": [0.5, math.nan, math.inf, 0.25]}))
    line, crosses = drawn(figure)
    np.testing.assert_array_equal(line.y, [0.5, math.nan, math.nan, 0.25])
    assert line.connectgaps is False
    assert list(crosses.x) == [2, 3]
    assert list(crosses.y) == [0.5, 0.5]
    assert list(crosses.text) == ["NaN", "∞"]
    assert crosses.marker.symbol == "x-thin"
    assert any(
        "diverged" in str(trace.name) for trace in figure.data if trace.showlegend is None
    )


def test_a_run_that_diverged_at_once_still_has_its_crosses() -> None:
    """Without any finite value the crosses stand at zero."""
    crosses = drawn(training_curves(metrics({"eval_loss": [math.nan, math.nan]})))[1]
    assert list(crosses.y) == [0.0, 0.0]


def test_a_single_point_is_a_visible_marker() -> None:
    """One evaluated round is something to see."""
    (point,) = drawn(training_curves(metrics({"eval_loss": [0.5]})))
    assert point.mode == "lines+markers"
    assert point.marker.size >= 5


def test_ten_runs_have_ten_looks_and_their_labels() -> None:
    """No two runs share colour and symbol; labels replace ids, and are escaped."""
    runs = pd.concat(
        [metrics({"eval_loss": [1.0, 2.0]}, run_id=f"run{at}") for at in range(10)]
    )
    figure = training_curves(runs, labels={"run3": "<i>lr</i> 0.1"})
    looks = {(trace.line.color, trace.marker.symbol) for trace in drawn(figure)}
    assert len(looks) == 10
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert legend[:4] == ["run0", "run1", "run2", "&lt;i&gt;lr&lt;/i&gt; 0.1"]
    assert "&lt;i&gt;lr&lt;/i&gt; 0.1" in drawn(figure)[3].hovertemplate


def test_names_choose_and_order_the_panels() -> None:
    """Only the metrics asked for, in the order asked for."""
    frame = metrics({"a_loss": [1.0], "b_loss": [2.0], "c_loss": [3.0]})
    figure = training_curves(frame, names=["c_loss", "a_loss"])
    assert [trace.y[0] for trace in drawn(figure)] == [3.0, 1.0]


@pytest.mark.parametrize("num_metrics", [1, 2, 3, 4, 5, 7])
def test_panels_never_overlap(num_metrics: int) -> None:
    """Every two panels are apart in x or in y, and all lie inside the figure."""
    frame = metrics({f"m{at}": [1.0] for at in range(num_metrics)})
    layout = training_curves(frame).layout.to_plotly_json()
    suffixes = ["", *map(str, range(2, num_metrics + 1))]
    boxes = [
        (*layout[f"xaxis{at}"]["domain"], *layout[f"yaxis{at}"]["domain"])
        for at in suffixes
    ]
    for at, (left, right, bottom, top) in enumerate(boxes):
        assert -1e-9 <= left < right <= 1 + 1e-9
        assert -1e-9 <= bottom < top <= 1 + 1e-9
        for other in boxes[at + 1 :]:
            apart = (
                right < other[0] or other[1] < left or top < other[2] or other[3] < bottom
            )
            assert apart


def test_without_rows_the_figure_says_so() -> None:
    """An empty frame is no error: the run has only begun."""
    empty = metrics({"eval_loss": [1.0]}).iloc[:0]
    assert (
        "No metric has been recorded yet"
        in training_curves(empty).layout.annotations[0].text
    )
    other = training_curves(metrics({"eval_loss": [1.0]}), names=["f1"])
    assert "No metric named f1" in other.layout.annotations[0].text


def test_a_missing_column_is_named() -> None:
    """The error names what is missing and what was there."""
    with pytest.raises(
        ViewError, match=r"column\(s\) value; the frame has: run_id"
    ) as caught:
        training_curves(metrics({"eval_loss": [1.0]}).drop(columns="value"))
    assert caught.value.code == "FLIP-410"


def test_costs_begin_at_zero_under_a_title_of_their_own() -> None:
    """What a round took is read against nothing, and is no training curve."""
    frame = pd.DataFrame(
        {
            "run_id": "a",
            "server_round": [1, 2],
            "phase": "round",
            "scope": "federated",
            "name": "duration_s",
            "value": [5.0, 6.0],
        }
    )
    figure = training_curves(frame, title="What <rounds> took", from_zero=True)
    assert figure.layout.title.text == "What &lt;rounds&gt; took"
    assert figure.layout.yaxis.rangemode == "tozero"
    assert training_curves(frame).layout.yaxis.rangemode is None
