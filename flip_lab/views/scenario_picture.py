"""How a scenario's data lies over its nodes, as a small picture and in words.

A row of bars: each is a node, as tall as its examples are many, and striped by the share
of each label. Plain SVG without a script, a few kilobytes, for galleries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from zlib import crc32

import numpy as np

from flip_lab.views.theme import FONT, Palette, Theme, blend, palette_of

_WIDTH, _HEIGHT = 320.0, 160.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, 14.0, 26.0, 22.0
_MOST_BARS = 48  # more would be thinner than a pixel at times
_LEAST_PX = 2.0  # a node with hardly any examples is still seen
_ROUND_PX = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioPicture:
    """Whose examples are where.

    Attributes:
        title: What the scenario is called.
        labels: Names of the labels.
        nodes: Names of the nodes that are drawn: all of them, or some of many.
        counts: For each of these nodes, its examples by label.
        num_nodes: How many nodes there are.
        num_examples: How many examples there are on all of them.
        largest: The most examples that a node holds.
        smallest: The fewest.
        num_labels_median: Labels that the median node holds an example of.
    """

    title: str
    labels: Sequence[str]
    nodes: Sequence[str]
    counts: Sequence[Sequence[int]]
    num_nodes: int
    num_examples: int
    largest: int
    smallest: int
    num_labels_median: float

    @classmethod
    def of(cls, frame: Mapping[str, Sequence[Any]], *, title: str) -> ScenarioPicture:
        """Count.

        Args:
            frame: What ``partition_frame`` gives.
            title: What the scenario is called.
        """
        num_nodes = max(frame["partition_id"], default=-1) + 1
        counts = np.asarray(frame["num_examples"], dtype=np.int64).reshape(num_nodes, -1)
        num_labels = counts.shape[1]
        totals = counts.sum(axis=1)
        shown = np.unique(
            np.linspace(0, num_nodes - 1, min(num_nodes, _MOST_BARS)).round().astype(int)
        )
        return cls(
            title=title,
            labels=[str(label) for label in frame["label"][:num_labels]],
            nodes=[str(frame["node"][place * num_labels]) for place in shown.tolist()],
            counts=counts[shown].tolist(),
            num_nodes=num_nodes,
            num_examples=int(totals.sum()),
            largest=int(totals.max(initial=0)),
            smallest=int(totals.min()) if num_nodes else 0,
            num_labels_median=float(np.median((counts > 0).sum(axis=1))),
        )

    def svg(self, theme: Theme = "light") -> str:
        """Draw it.

        Args:
            theme: ``"light"`` or ``"dark"``.

        Returns:
            An SVG of 320 by 160 that scales; its title and description are the words.

        Raises:
            ViewError: If there is no such theme.
        """
        palette = palette_of(theme)
        colours = label_colours(len(self.labels), palette)
        words, mark = escape(scenario_words(self)), self._mark()
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" font-family="{escape(FONT)}" '
            f'aria-labelledby="{mark}-title {mark}-words">'
            f'<title id="{mark}-title">{escape(self.title)}</title>'
            f'<desc id="{mark}-words">{words}</desc>'
            f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" rx="8" '
            f'fill="{palette.paper}"/>'
        )
        legend, bars = self._legend(palette, colours), self._bars(palette, colours)
        return "".join([head, *legend, *bars, *self._foot(palette), "</svg>"])

    def _mark(self) -> str:
        """Name parts so that many pictures can stand in one page."""
        return f"p{crc32(repr((self.title, self.counts)).encode()):08x}"

    def _legend(self, palette: Palette, colours: Sequence[str]) -> Iterator[str]:
        """Show the labels' colours; of many, only their number."""
        told = [str(label) for label in self.labels]
        fits = len(told) <= 4 and sum(map(len, told)) <= 34  # noqa: PLR2004  # what has room on the line
        x = _LEFT
        for label, colour in zip(told, colours, strict=True):
            yield (f'<rect x="{x:.1f}" y="9" width="8" height="8" rx="2" fill="{colour}"/>')
            x += 11
            if fits:
                yield _text(label, x + 1, 16.5, palette.muted)
                x += 5.4 * len(label) + 12
        if not fits:
            yield _text(f"{len(told)} labels", x + 4, 16.5, palette.muted)

    def _bars(self, palette: Palette, colours: Sequence[str]) -> Iterator[str]:
        room = _WIDTH - _LEFT - _RIGHT
        mark = self._mark()
        step = room / max(len(self.nodes), 1)
        width = min(step * 0.78, 44.0)
        tall = _HEIGHT - _TOP - _BOTTOM
        yield (
            f'<path d="M{_LEFT:g} {_HEIGHT - _BOTTOM + 0.5:g}H{_WIDTH - _RIGHT:g}" '
            f'stroke="{palette.line}"/>'
        )
        for place, (node, counts) in enumerate(zip(self.nodes, self.counts, strict=True)):
            total = sum(counts)
            height = max(_LEAST_PX, tall * total / max(self.largest, 1))
            x = _LEFT + step * place + (step - width) / 2
            y = _HEIGHT - _BOTTOM - height
            clip = f"{mark}-{place}"
            radius = min(_ROUND_PX, width / 3, height / 2)
            yield (
                f'<clipPath id="{clip}"><rect x="{x:.2f}" y="{y:.2f}" '
                f'width="{width:.2f}" height="{height:.2f}" rx="{radius:.2f}"/></clipPath>'
                f'<g clip-path="url(#{clip})"><title>{escape(node)}: {total:,} '
                f"examples</title>"
            )
            yield from _stripes(counts, (x, y, width, height), colours, palette)
            yield "</g>"

    def _foot(self, palette: Palette) -> Iterator[str]:
        base = _HEIGHT - 8
        nodes = f"{self.num_nodes:,} node{'s' * (self.num_nodes != 1)}"
        yield _text(nodes, _LEFT, base, palette.text, weight=600)
        yield _text(
            f"{self.num_examples:,} examples",
            _WIDTH - _RIGHT,
            base,
            palette.muted,
            end=True,
        )


def scenario_words(picture: ScenarioPicture) -> str:
    """Say what the picture shows, for those who cannot see it."""
    labels = len(picture.labels)
    median = picture.num_labels_median
    spread = (
        f"each node has about {picture.largest:,} examples"
        if picture.largest
        <= 1.2 * max(picture.smallest, 1)  # a fifth more is no difference to see
        else f"nodes have from {picture.smallest:,} to {picture.largest:,} examples"
    )
    mix = (
        "and examples of every label"
        if median >= labels
        else f"and half of them hold at most {median:g} of the {labels} labels"
    )
    return (
        f"{picture.num_examples:,} examples of {labels} labels on "
        f"{picture.num_nodes:,} nodes: {spread}, {mix}."
    )


def label_colours(number: int, palette: Palette) -> list[str]:
    """Give a colour for each label: the theme's, then blends of neighbours.

    Args:
        number: How many labels there are.
        palette: The theme's colours.
    """
    base = list(palette.series[:6])
    colours = list(base)
    while len(colours) < number:  # few look at label 40; it only must not be its neighbour
        later = [*colours[1:], colours[0]]
        colours += [blend(one, two) for one, two in zip(colours, later, strict=True)]
    return colours[:number]


def _stripes(
    counts: Sequence[int],
    place: tuple[float, float, float, float],
    colours: Sequence[str],
    palette: Palette,
) -> Iterator[str]:
    """Give a bar's stripes from its top; a node without examples has one, empty."""
    x, y, width, height = place
    total = sum(counts)
    if not total:
        yield _rect(x, y, width, height, palette.grid)
        return
    for count, colour in zip(counts, colours, strict=True):
        if count:
            share = height * count / total
            yield _rect(x, y, width, share + 0.3, colour)  # no seam between two stripes
            y += share


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
        f'fill="{colour}"/>'
    )


def _text(
    words: str, x: float, y: float, colour: str, *, weight: int = 400, end: bool = False
) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x:.1f}" y="{y:g}" font-size="10" font-weight="{weight}" '
        f'fill="{colour}"{anchor}>{escape(words)}</text>'
    )
