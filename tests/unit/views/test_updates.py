"""The updates of a round: every client is somewhere, and the odd ones have a name."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views import layer_heatmap, update_figure


def clients(*norms: float, errors: tuple[int, ...] = ()) -> pd.DataFrame:
    """Give clients with these norms, the first along the mean and so on to against it."""
    count = len(norms)
    return pd.DataFrame(
        {
            "node_id": np.arange(count, dtype=np.uint64) + 2**63,
            "partition_id": range(count),
            "update_norm": norms,
            "drift": norms,
            "cosine": np.linspace(1, -1, count),
            "error": ["boom" if at in errors else "" for at in range(count)],
        }
    )


def by_name(figure: Any, name: str) -> Any:  # noqa: ANN401  # plotly ships no types
    """Give the one trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_the_farthest_stands_first() -> None:
    """Sorted by norm, coloured by cosine, named by partition."""
    figure = update_figure(clients(1, 3, 2))
    dots = by_name(figure, "update")
    assert list(dots.y) == [3, 2, 1]
    assert list(dots.marker.color) == [0, -1, 1]
    assert list(figure.layout.xaxis.ticktext) == ["1", "2", "0"]
    assert figure.layout.shapes[0].y0 == 2
    assert figure.layout.yaxis.type is None


def test_who_diverged_and_who_failed() -> None:
    """Crosses stand at the left; a failed client is counted and not drawn."""
    figure = update_figure(clients(1, math.nan, 2, math.inf, math.nan, errors=(4,)))
    assert list(by_name(figure, "update").x) == [2, 3]
    assert len(by_name(figure, "diverged (NaN or ∞)").x) == 2
    words = figure.layout.title.subtitle.text
    assert words == "4 clients, the farthest first · 2 diverged · 1 failed"


def test_all_diverged_and_nobody_replied() -> None:
    """There is always a figure."""
    assert len(by_name(update_figure(clients(math.nan, math.inf)), "diverged (NaN or ∞)").x)
    assert "No client" in update_figure(clients(1)[:0]).layout.annotations[0].text


def test_one_that_is_far_away_makes_the_axis_logarithmic() -> None:
    """Or the others would lie on the floor; not where a norm is 0."""
    figure = update_figure(clients(1, 1, 1e9))
    assert figure.layout.yaxis.type == "log"
    assert update_figure(clients(0, 1, 1e9)).layout.yaxis.type is None


def test_of_many_the_odd_ones_are_named() -> None:
    """A thousand have no room for names: those beyond the fence have, at most five."""
    norms = [1 + at / 1000 for at in range(1000)]
    norms[7], norms[70] = 9.0, 8.0
    figure = update_figure(clients(*norms))
    assert [each.text for each in figure.layout.annotations] == [
        "partition 7",
        "partition 70",
    ]
    assert len(by_name(figure, "update").x) == 1000


def layers(norms: list[list[float]]) -> pd.DataFrame:
    """Give clients × layers as ``by_layer`` does."""
    return pd.DataFrame(
        [
            (100 + client, client, f"layer{layer}", norm)
            for client, row in enumerate(norms)
            for layer, norm in enumerate(row)
        ],
        columns=pd.Index(["node_id", "partition_id", "layer", "update_norm"]),
    )


def test_norms_compare_with_the_median_client_of_their_layer() -> None:
    """Layer 0 has the norms 1, 2, 4: half, once, twice. The farthest client is left."""
    figure = layer_heatmap(layers([[1, 8], [2, 8], [4, 8]]))
    cells = by_name(figure, "norm")
    assert list(cells.y) == ["layer0", "layer1"]
    assert list(figure.layout.xaxis.ticktext) == ["2", "1", "0"]
    np.testing.assert_allclose(cells.z, [[1, 0, -1], [0, 0, 0]])
    assert "1 array" not in figure.layout.title.subtitle.text


def test_layers_that_diverged_have_a_colour_of_their_own() -> None:
    """And the client stands first; a layer that nobody changed says nothing."""
    figure = layer_heatmap(layers([[1, 0], [math.nan, 0], [4, 0]]))
    assert figure.layout.xaxis.ticktext[0] == "1"
    broken = np.array(by_name(figure, "diverged").z, dtype=float)
    np.testing.assert_array_equal(broken, [[1, np.nan, np.nan], [np.nan] * 3])
    layer_heatmap(layers([[math.nan, 0]]))


def test_of_a_thousand_clients_the_farthest_are_drawn() -> None:
    """Two hundred columns can still be told apart."""
    figure = layer_heatmap(layers([[1 + at] for at in range(1000)]))
    assert by_name(figure, "norm").z.shape == (1, 200)
    assert "the 200 clients farthest off" in figure.layout.title.subtitle.text


def test_nothing_to_draw_and_a_frame_that_will_not_do() -> None:
    """Words in place of a figure; a coded error for a wrong frame."""
    assert "No client" in layer_heatmap(layers([])).layout.annotations[0].text
    with pytest.raises(ViewError, match="update_norm"):
        layer_heatmap(layers([[1]]).drop(columns="update_norm"))
    with pytest.raises(ViewError, match="cosine"):
        update_figure(clients(1).drop(columns="cosine"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_names_are_shown_as_they_are(theme: Any) -> None:  # noqa: ANN401  # a theme
    """A layer's name may hold anything."""
    frame = layers([[1]]).assign(layer="<b>w</b>")
    assert list(by_name(layer_heatmap(frame, theme=theme), "norm").y) == [
        "&lt;b&gt;w&lt;/b&gt;"
    ]
