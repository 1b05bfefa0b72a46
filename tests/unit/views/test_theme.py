"""The look keeps its promises: readable text, distinct colours, light imports."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import subprocess
import sys
from typing import cast

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from flip_lab import views
from flip_lab.core.errors import ViewError
from flip_lab.views.canvas import (
    axis_label,
    group_names,
    nothing_yet,
    plain,
    round_step,
    wrapped,
)
from flip_lab.views.theme import PALETTES, Theme, translucent


def luminance(colour: str) -> float:
    """Give the relative luminance of ``#RRGGBB`` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Give the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_reads_and_first_four_colours_stand_out(theme: Theme) -> None:
    """Text has 4.5:1 on its background, the first four lines and failures 3:1."""
    palette = PALETTES[theme]
    assert min(contrast(ink, palette.paper) for ink in (palette.text, palette.muted)) >= 4.5
    drawn = (*palette.series[:4], palette.failed)
    assert min(contrast(colour, palette.paper) for colour in drawn) >= 3
    assert len(set(palette.series)) == len(palette.series) == 8


def test_a_theme_that_there_is_not_is_refused_by_name() -> None:
    """Before anything is drawn, also where there is nothing to draw."""
    with pytest.raises(ViewError, match=r"no theme 'drak'.*Did you mean 'dark'"):
        nothing_yet("title", "words", theme=cast("Theme", "drak"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_apply_theme_works_on_any_figure(theme: Theme) -> None:
    """A user's own figure takes the background of our template."""
    figure = go.Figure(go.Scatter(x=[1], y=[2]))
    assert views.apply_theme(figure, dark=theme == "dark") is figure
    assert figure.layout.template.layout.paper_bgcolor == PALETTES[theme].paper
    assert f"flip_{theme}" in pio.templates


def test_views_are_loaded_on_first_use_only() -> None:
    """``from flip_lab import views`` costs neither pandas nor plotly."""
    program = (
        "import sys; from flip_lab import views; "
        "assert not {'pandas', 'plotly'} & set(sys.modules); "
        "assert set(views.__all__) <= set(dir(views)); "
        "views.results_table; assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_view_is_an_attribute_error() -> None:
    """A typing mistake says which module lacks what."""
    with pytest.raises(AttributeError, match=r"flip_lab\.views.*'training_curve'"):
        _ = views.training_curve


@pytest.mark.parametrize(
    ("last_round", "step"), [(0, 1), (10, 1), (11, 2), (30, 5), (95, 10), (1000, 100)]
)
def test_rounds_are_ticked_at_whole_numbers(last_round: int, step: int) -> None:
    """About ten ticks, never at half a round."""
    assert round_step(last_round) == step


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("eval_accuracy", "accuracy (0 to 1)"),
        ("train_loss", "loss"),
        ("epoch_duration_s", "epoch duration (s)"),
        ("model_bytes", "model (bytes)"),
        ("f1", "f1"),
    ],
)
def test_axes_carry_units(name: str, label: str) -> None:
    """The unit in a metric's name becomes the unit of its axis."""
    assert axis_label(name) == label


def test_foreign_text_is_shown_not_obeyed() -> None:
    """Markup in a name is escaped, and a long name is cut."""
    assert plain("<b>a</b>") == "&lt;b&gt;a&lt;/b&gt;"
    assert plain("x" * 99, at_most=5) == "xxxx…"


def test_nothing_yet_says_so_in_words() -> None:
    """An empty figure has a sentence and no axes."""
    figure = nothing_yet("Title", "Nothing yet.", theme="dark")
    assert [note.text for note in figure.layout.annotations] == ["Nothing yet."]
    assert figure.layout.xaxis.visible is False


def test_translucent_keeps_the_colour() -> None:
    """The three channels survive, the opacity is added."""
    assert translucent("#0072B2", 0.5) == "rgba(0,114,178,0.5)"


def test_long_names_that_begin_alike_stay_two() -> None:
    """A label of many settings is cut, and what was cut off still tells groups apart."""
    frame = pd.DataFrame({"group": ["x" * 100 + "1", "x" * 100 + "2", "y", None, 2.0]})
    names = list(group_names(frame, "group"))
    assert len(set(names)) == 5
    assert max(map(len, names)) <= 80
    assert names[2:] == ["y", "(none)", "2"]
    assert wrapped("strategy=FedAvg, learning_rate=0.1, momentum=0.9") == (
        "strategy=FedAvg,<br>learning_rate=0.1, momentum=0.9"
    )
