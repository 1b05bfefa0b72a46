"""Bands: each group's line and interval, and nothing hidden that was measured."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import confidence_bands


def bands(
    centres: dict[str, list[float]], *, reach: float = 0.1, diverged: int = 0
) -> pd.DataFrame:
    """Give bands of three seeds, each centre with an interval of the same reach."""
    return pd.DataFrame(
        [
            {
                "group": group,
                "server_round": server_round,
                "centre": centre,
                "low": centre - reach,
                "high": centre + reach,
                "num_seeds": 3,
                "num_diverged": diverged,
            }
            for group, row in centres.items()
            for server_round, centre in enumerate(row, 1)
        ]
    )


def traces(figure: Any, name: str) -> list[Any]:  # noqa: ANN401  # plotly ships no types
    """Give the traces whose name begins so."""
    return [trace for trace in figure.data if (trace.name or "").startswith(name)]


def test_each_group_has_a_line_and_a_closed_band() -> None:
    """Worked by hand: the band goes along the upper ends and back along the lower."""
    figure = confidence_bands(bands({"a": [0.2, 0.4], "b": [0.3, 0.5]}), "eval_accuracy")
    band, line = traces(figure, "a (")
    assert list(band.x) == [1, 2, 2, 1]
    assert list(band.y) == pytest.approx([0.3, 0.5, 0.3, 0.1])
    assert (list(line.y), line.name) == ([0.2, 0.4], "a (3 seeds)")
    assert line.line.dash != traces(figure, "b (3")[0].line.dash
    assert figure.layout.yaxis.title.text == "accuracy (0 to 1)"


def test_a_group_without_an_interval_has_no_band_and_is_counted() -> None:
    """One seed gives a mean, and no idea how sure it is."""
    frame = bands({"a": [0.2, 0.4]}).assign(low=math.nan, high=math.nan, num_seeds=1)
    figure = confidence_bands(frame, "eval_accuracy")
    assert [trace.name for trace in figure.data] == ["a (1 seed)"]
    assert "1 group without an interval" in figure.layout.title.subtitle.text


def test_a_lost_centre_is_a_gap_with_a_cross_and_splits_the_band() -> None:
    """What is NaN or infinite is neither drawn through nor left out in silence."""
    frame = bands({"a": [0.2, 0.4, math.nan, 0.6, math.inf]}, diverged=1)
    figure = confidence_bands(frame, "eval_accuracy")
    (line,) = traces(figure, "a (3 seeds, 1 diverged)")
    np.testing.assert_array_equal(line.y, [0.2, 0.4, math.nan, 0.6, math.nan])
    assert len(traces(figure, "a (interval)")) == 2
    (cross,) = traces(figure, "a (diverged)")
    assert (list(cross.x), list(cross.y)) == ([3, 5], [0.4, 0.6])
    assert ("round 3: NaN" in cross.text[0], "round 5: ∞" in cross.text[1]) == (True, True)
    assert len(traces(figure, "no finite value")) == 1


def test_a_log_axis_says_what_it_cannot_show() -> None:
    """A centre of 0 is counted; a band that reaches below 0 is cut, not dropped."""
    figure = confidence_bands(bands({"a": [0.05, 0.0, 0.2]}), "train_loss", log=True)
    assert figure.layout.yaxis.type == "log"
    assert "1 value of 0 or less left out" in figure.layout.title.subtitle.text
    for band in traces(figure, "a (interval)"):
        assert min(band.y) > 0


def test_smoothing_is_shown_as_such() -> None:
    """The values as measured stay visible, thinner, and the subtitle tells which is."""
    measured = bands({"a": [0.2, 0.6]})
    figure = confidence_bands(bands({"a": [0.3, 0.4]}), "x", measured=measured)
    (thin,) = traces(figure, "a (as measured)")
    assert list(thin.y) == [0.2, 0.6]
    assert thin.line.width < traces(figure, "a (3 seeds)")[0].line.width
    assert "thin: as measured" in figure.layout.title.subtitle.text


def test_missing_values_of_every_kind_of_column_are_understood() -> None:
    """Int64 with NA, objects with None and categories come from SQL and from Arrow."""
    frame = bands({"a": [0.2, 0.4]}).astype({"server_round": "Int64", "group": "category"})
    frame["low"] = pd.array([0.1, None], dtype="Float64")
    frame["high"] = pd.Series([0.3, None], dtype=object)
    figure = confidence_bands(frame, "eval_accuracy")
    (band,) = traces(figure, "a (interval)")
    assert list(band.x) == [1, 1]
    assert band.line.width > 0


def test_a_group_of_markup_is_shown_as_text() -> None:
    """A run may be called anything."""
    figure = confidence_bands(bands({"<script>": [0.2]}), "eval_accuracy")
    names = [trace.name for trace in figure.data]
    assert names == ["&lt;script&gt; (interval)", "&lt;script&gt; (3 seeds)"]


def test_words_where_numbers_belong_are_refused_by_column() -> None:
    """The message names the column, not a line of numpy."""
    frame = bands({"a": [0.2]}).assign(centre="much")
    with pytest.raises(ViewError, match=r"numbers in the column centre.*much"):
        confidence_bands(frame, "eval_accuracy")


def test_no_rows_give_words_and_a_missing_column_is_named() -> None:
    """Nothing yet is no error; half a frame is."""
    empty = bands({"a": [0.1]}).head(0)
    figure = confidence_bands(empty, "eval_accuracy", theme="dark")
    assert figure.layout.annotations[0].text == "No group has a measured round yet."
    with pytest.raises(ViewError, match="num_seeds"):
        confidence_bands(empty.drop(columns="num_seeds"), "eval_accuracy")
