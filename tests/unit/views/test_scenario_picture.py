"""How data lies over nodes, in a small picture and in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from flip_lab.core.errors import ViewError
from flip_lab.views.scenario_picture import (
    ScenarioPicture,
    label_colours,
    scenario_words,
)
from flip_lab.views.theme import palette_of

SVG = "{http://www.w3.org/2000/svg}"


def picture(counts: Sequence[Sequence[int]], title: str = "Hearts") -> ScenarioPicture:
    """Count nodes with these examples by label."""
    labels = len(counts[0])
    frame = {
        "partition_id": [node for node in range(len(counts)) for _ in range(labels)],
        "label": [f"label {each}" for each in range(labels)] * len(counts),
        "num_examples": [count for row in counts for count in row],
        "node": [f"node {node}" for node in range(len(counts)) for _ in range(labels)],
    }
    return ScenarioPicture.of(frame, title=title)


def bars(drawn: ScenarioPicture) -> list[ET.Element]:
    """Give the bars of a picture."""
    return ET.fromstring(drawn.svg()).findall(f"{SVG}g")  # noqa: S314  # our own


def test_a_bar_is_a_node() -> None:
    """As tall as its examples are many, striped by the shares of its labels."""
    found = bars(picture([[30, 10], [0, 20], [5, 5]]))
    stripes = [[float(r.get("height", 0)) for r in bar.iter(f"{SVG}rect")] for bar in found]
    assert [len(each) for each in stripes] == [2, 1, 2]
    first, second, third = (sum(each) for each in stripes)
    assert first > second > third
    assert stripes[0][0] == pytest.approx(3 * stripes[0][1], rel=0.1)


def test_of_many_nodes_some_are_drawn() -> None:
    """The words tell of all of them."""
    drawn = picture([[node + 1, 1] for node in range(1000)])
    assert len(bars(drawn)) == 48
    assert "1,000 nodes" in scenario_words(drawn)
    assert "from 2 to 1,001 examples" in scenario_words(drawn)


def test_a_node_without_examples_is_seen() -> None:
    """A thin line is more than nothing."""
    heights = [
        float(r.get("height", 0))
        for bar in bars(picture([[0, 0], [500, 500]]))
        for r in bar.iter(f"{SVG}rect")
    ]
    assert min(heights) > 1


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([[10, 10], [10, 11]], "each node has about 21 examples, and examples of every"),
        ([[10, 0], [0, 10]], "half of them hold at most 1 of the 2 labels"),
    ],
)
def test_words_say_what_is_seen(counts: list[list[int]], words: str) -> None:
    """Sizes and labels, for those who cannot see the picture."""
    assert words in scenario_words(picture(counts))


def test_names_cannot_act_in_a_page() -> None:
    """What a scenario is called is text, also inside an SVG."""
    svg = picture([[1, 2]], title="<script>alert(1)</script>").svg("dark")
    assert "<script" not in svg
    ET.fromstring(svg)  # noqa: S314  # our own


def test_two_pictures_can_stand_in_one_page() -> None:
    """Their parts have names of their own."""
    one, two = picture([[1, 2]]).svg(), picture([[2, 1]]).svg()
    assert {*_ids(one)}.isdisjoint(_ids(two))


def _ids(svg: str) -> list[str]:
    found = [element.get("id") for element in ET.fromstring(svg).iter()]  # noqa: S314  # our own
    return [each for each in found if each]


def test_every_label_has_a_colour_of_its_own() -> None:
    """Neighbours differ, however many labels there are."""
    for theme in ("light", "dark"):
        colours = label_colours(62, palette_of(theme))
        assert len(colours) == 62
        assert all(a != b for a, b in pairwise(colours))
        assert len(set(colours[:12])) == 12


def test_there_are_two_themes() -> None:
    """Another one is told the valid ones."""
    with pytest.raises(ViewError):
        picture([[1]]).svg("sepia")  # pyright: ignore[reportArgumentType]  # that is the point
