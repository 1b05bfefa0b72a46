"""Figures of what code logged: sums over clients, shares of rows, images in place."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import flip_lab
from flip_lab.core.errors import ViewError
from flip_lab.core.logged import TYPES, Histogram, Image
from flip_lab.core.logged import ConfusionMatrix as Matrix
from flip_lab.views import confusion_map, histogram_map, image_strip
from flip_lab.views.theme import Figure

Row = tuple[int, int | None, Histogram | Image | Matrix]


def rows(*given: Row, name: str = "x") -> pd.DataFrame:
    """Give the table ``logged`` with things of one name."""
    frame = pd.DataFrame(
        [
            {
                "run_id": "r",
                "server_round": at,
                "node_id": None if partition is None else 100 + partition,
                "partition_id": partition,
                "name": name,
                "type": TYPES[type(thing)],
                "value": json.dumps(thing.to_json()),
                "sha256": thing.png.hex() if isinstance(thing, Image) else None,
            }
            for at, partition, thing in given
        ]
    )
    return frame.astype({"partition_id": "Int32", "node_id": "UInt64"})


def test_histograms_of_one_round_are_added_up() -> None:
    """Shares are of a round's values; a round without a histogram is a gap."""
    one = flip_lab.histogram([0.5, 0.6], bins=[0, 1, 2])
    other = flip_lab.histogram([1.5, 1.6, np.nan], bins=[0, 1, 2])
    figure = histogram_map(rows((1, 0, one), (1, 1, other), (3, 0, one)))
    shades, _, median = figure.data
    np.testing.assert_allclose(shades.z, [[0.5, np.nan, 1.0], [0.5, np.nan, np.nan]])
    assert list(shades.x) == [1, 2, 3]
    assert list(median.x) == [1, 3]
    np.testing.assert_allclose(median.y, [1.0, 0.5])
    assert "3 histograms, 6 values; 1 more were NaN" in figure.layout.title.subtitle.text


def test_histograms_of_other_bins_are_shared_out() -> None:
    """No value is lost, and where values lie is kept as well as bins allow."""
    one = flip_lab.histogram(np.linspace(0, 1, 100), bins=10)
    other = flip_lab.histogram(np.linspace(3, 4, 300), bins=7)
    shades, _, median = histogram_map(rows((1, 0, one), (1, 1, other))).data
    shares = np.nan_to_num(np.asarray(shades.z, float))
    assert shares.sum() == pytest.approx(1)
    edges = np.asarray(shades.y)
    assert shares[edges[1:] <= 1.1].sum() == pytest.approx(0.25)
    assert median.y[0] == pytest.approx(3 + 1 / 3, abs=0.05)


def test_a_round_without_finite_values_is_no_error() -> None:
    """A diverged model's histogram holds nothing that could be drawn."""
    figure = histogram_map(rows((1, 0, flip_lab.histogram([np.nan, np.inf]))))
    assert np.isnan(np.asarray(figure.data[0].z, float)).all()
    assert "2 more were NaN" in figure.layout.title.subtitle.text


def test_matrices_of_the_newest_round_are_added_up() -> None:
    """Shades are shares of a row; a class without examples is empty."""
    old = flip_lab.confusion_matrix(np.full((2, 2), 9), labels=["cat", "<dog>"])
    new = flip_lab.confusion_matrix([[3, 1], [0, 0]], labels=["cat", "<dog>"])
    frame = rows((1, None, old), (2, 0, new), (2, 1, new))
    figure = confusion_map(frame)
    shades, words = figure.data
    np.testing.assert_allclose(shades.z, [[0.75, 0.25], [np.nan, np.nan]])
    assert list(words.text) == ["6<br>75%", "2<br>25%"]
    assert list(figure.layout.xaxis.ticktext) == ["cat", "&lt;dog&gt;"]
    subtitle = figure.layout.title.subtitle.text
    assert subtitle == "round 2, 2 matrices, 8 examples, 75.0% right"
    earlier = confusion_map(frame, server_round=1)
    np.testing.assert_allclose(earlier.data[0].z, np.full((2, 2), 0.5))


def test_many_classes_show_every_tenth_name_and_no_words() -> None:
    """Two hundred classes stay readable; classes of one name stay two."""
    figure = confusion_map(rows((1, 0, flip_lab.confusion_matrix(np.eye(200)))))
    [shades] = figure.data
    assert np.asarray(shades.z).shape == (200, 200)
    assert list(figure.layout.yaxis.ticktext) == [str(at) for at in range(0, 200, 10)]
    same = confusion_map(rows((1, 0, flip_lab.confusion_matrix(np.eye(2), labels="aa"))))
    assert list(same.layout.xaxis.tickvals) == [0, 1]


def test_matrices_of_different_classes_are_not_added_up() -> None:
    """A sum over classes that are not the same would say nothing."""
    one, other = (
        flip_lab.confusion_matrix(np.eye(2), labels=each) for each in ("ab", "ba")
    )
    with pytest.raises(ViewError, match="different classes"):
        confusion_map(rows((1, 0, one), (1, 1, other)))


def test_images_stand_by_round_and_by_who_logged_them() -> None:
    """The server first, the newest rounds only; a later image of one place replaces it."""
    wide, tall = flip_lab.image(np.zeros((1, 4))), flip_lab.image(np.ones((4, 2)))
    frame = rows((1, 2, wide), (1, None, wide), (2, 2, wide), (2, 2, tall))
    figure = image_strip(frame, bytes.fromhex)
    assert list(figure.layout.yaxis.ticktext) == ["server", "partition 2"]
    assert list(figure.layout.xaxis.ticktext) == ["1", "2"]
    assert len(figure.data) == 3
    last = figure.data[-1]
    assert base64.b64decode(last.source.partition(",")[2]) == tall.png
    assert (last.dx, last.x0 + last.dx / 2, last.y0 + 1.5 * last.dy) == (0.23, 1.0, 1.0)
    many = rows(*((at, who, wide) for at in range(20) for who in range(12)))
    shown = image_strip(many, bytes.fromhex)
    assert len(shown.data) == 12 * 8
    assert list(shown.layout.xaxis.ticktext) == [str(at) for at in range(8, 20)]
    assert "newest of 12 rounds, 8 of 12" in shown.layout.title.subtitle.text


def strip(frame: pd.DataFrame) -> Figure:
    """Draw images that there are none of."""
    return image_strip(frame, bytes.fromhex)


@pytest.mark.parametrize("view", [histogram_map, confusion_map, strip])
def test_every_view_says_what_it_cannot_draw(view: Callable[..., Figure]) -> None:
    """Nothing yet, columns that are missing, several names, several runs."""
    things = {
        histogram_map: flip_lab.histogram([1]),
        confusion_map: flip_lab.confusion_matrix([[1]]),
        strip: flip_lab.image(np.zeros((2, 2))),
    }
    some = rows((1, 0, things[view]))
    others = rows(*((1, 0, each) for key, each in things.items() if key is not view))
    assert "yet" in view(others).layout.annotations[0].text
    with pytest.raises(ViewError, match="type"):
        view(some.drop(columns="type"))
    with pytest.raises(ViewError, match="one name"):
        view(pd.concat([some, some.assign(name="y")], ignore_index=True))
    with pytest.raises(ViewError, match="one run"):
        view(pd.concat([some, some.assign(run_id="s")], ignore_index=True))
