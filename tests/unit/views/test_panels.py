"""Small multiples: same axes, each against the common course, 64 at most."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import small_multiples


def recorded(
    values: Mapping[Any, list[float]], *, name: str = "eval_accuracy"
) -> pd.DataFrame:
    """Give rows with one panel for each key and one value for each round."""
    return pd.DataFrame(
        [
            {"partition_id": key, "server_round": at, "name": name, "value": value}
            for key, row in values.items()
            for at, value in enumerate(row, 1)
        ]
    )


def headings(figure: object) -> list[str]:
    """Give the headings of the panels, in order."""
    notes = figure.layout.annotations  # pyright: ignore[reportAttributeAccessIssue]  # a plotly figure
    return [note.text for note in notes if note.text.startswith("<b>")]


def test_panels_share_axes_and_stand_in_natural_order() -> None:
    """Partition 10 comes after 9, and what is high in one panel is high in all."""
    figure = small_multiples(
        recorded({10: [0.1, 0.2], 9: [0.3, 0.4]}), "eval_accuracy", by="partition_id"
    )
    assert [text.split("</b>")[0] for text in headings(figure)] == [
        "<b>partition 9",
        "<b>partition 10",
    ]
    assert (figure.layout.xaxis2.matches, figure.layout.yaxis2.matches) == ("x", "y")
    assert "0.2" in headings(figure)[1]


def test_the_median_of_all_lies_behind_each() -> None:
    """Worked by hand on three panels."""
    frame = recorded({1: [0.1], 2: [0.2], 3: [0.9]})
    figure = small_multiples(frame, "eval_accuracy", by="partition_id")
    commons = [trace for trace in figure.data if trace.name == "median of all panels"]
    assert [list(trace.y) for trace in commons] == [[0.2]] * 3
    assert [trace.showlegend for trace in commons] == [True, False, False]


def test_lines_in_a_panel_are_named_once() -> None:
    """Seeds have the same colour in each panel, and one entry in the legend."""
    frame = pd.concat(
        [recorded({"a": [0.1, 0.2], "b": [0.3, 0.4]}).assign(seed=seed) for seed in (1, 2)]
    )
    figure = small_multiples(frame, "eval_accuracy", by="partition_id", lines="seed")
    lines = [trace for trace in figure.data if trace.name.startswith("seed")]
    assert [trace.name for trace in lines if trace.showlegend] == ["seed 1", "seed 2"]
    colours = {trace.name: trace.line.color for trace in lines}
    assert all(trace.line.color == colours[trace.name] for trace in lines)


@pytest.mark.parametrize(("name", "first"), [("eval_accuracy", "0"), ("eval_loss", "99")])
def test_of_too_many_panels_the_worst_are_shown(name: str, first: str) -> None:
    """Low accuracy is bad, high loss is bad; the subtitle says that not all are there."""
    frame = recorded({at: [0.5, at / 100] for at in range(100)}, name=name)
    figure = small_multiples(frame, name, by="partition_id")
    assert len(headings(figure)) == 64
    assert headings(figure)[0].startswith(f"<b>partition {first}</b>")
    assert "last value of 100" in figure.layout.title.subtitle.text


def test_a_diverged_panel_says_so() -> None:
    """A gap in the line, and the heading in words; of too many it is among the worst."""
    frame = recorded({1: [0.1, math.nan], 2: [0.3, 0.4]})
    figure = small_multiples(frame, "eval_accuracy", by="partition_id")
    assert "diverged" in headings(figure)[0]
    line = next(trace for trace in figure.data if trace.name == "")
    np.testing.assert_array_equal(line.y, [0.1, math.nan])
    many = recorded({at: [0.5] for at in range(99)} | {99: [math.inf]})
    shown = headings(small_multiples(many, "eval_accuracy", by="partition_id"))
    assert shown[0].startswith("<b>partition 99</b>")


def test_two_values_for_one_point_are_refused_with_the_way_out() -> None:
    """Drawing both would be a zigzag that means nothing."""
    frame = pd.concat([recorded({1: [0.1]}), recorded({1: [0.2]})])
    with pytest.raises(ViewError, match=r"several values for round 1.*lines="):
        small_multiples(frame, "eval_accuracy", by="partition_id")


def test_a_log_axis_and_words_for_nothing() -> None:
    """All panels take the axis; no rows give a sentence."""
    frame = recorded({1: [0.1], 2: [0.2]})
    figure = small_multiples(frame, "eval_accuracy", by="partition_id", log=True)
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", "log")
    nothing = small_multiples(frame, "eval_loss", by="partition_id", theme="dark")
    assert "eval_loss" in nothing.layout.annotations[0].text
    with pytest.raises(ViewError, match="strategy"):
        small_multiples(frame, "eval_accuracy", by="strategy")
