"""One look for every figure: two plotly templates, ``flip_light`` and ``flip_dark``.

The colours are those of Okabe and Ito, which people with any common colour blindness can
tell apart. They are ordered so that the first four stand out from white and from our dark
background alike: contrast at least 3:1 (WCAG 2.2, criterion 1.4.11), text at least 4.5:1.

Source:
    M. Okabe and K. Ito, Color Universal Design, 2008 (jfly.uni-koeln.de/color).
"""

# plotly ships no types; this is the only module of ours that calls it
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import plotly.io as pio
from plotly.graph_objects import Figure

from flip_lab.core.errors import ViewError, nearest

Theme: TypeAlias = Literal["light", "dark"]
Trace: TypeAlias = dict[str, Any]
"""One trace as plotly's figure reference writes it, with its ``type``."""

FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """The colours of one theme, as ``#RRGGBB``.

    Attributes:
        paper: Background of the figure.
        text: Titles and tick labels.
        muted: Secondary text, such as axis titles; still readable.
        grid: Grid lines; meant to recede.
        line: Axis lines and outlines.
        stripe: Alternate rounds; barely there.
        bands: Opacities of a wide and a narrow band behind a line.
        series: Colours of runs, nodes or phases, in order of use.
        failed: What went wrong; also marked by shape, never by colour alone.
        scale: From few to many, for heat maps.
    """

    paper: str
    text: str
    muted: str
    grid: str
    line: str
    stripe: str
    bands: tuple[float, float]
    series: tuple[str, ...]
    failed: str
    scale: tuple[str, ...]


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        paper="#FFFFFF",
        text="#1B1F24",
        muted="#57606A",
        grid="#E9ECEF",
        line="#C9CFD6",
        stripe="#F3F5F8",
        bands=(0.10, 0.22),
        series=(*_OKABE_ITO, "#000000", "#7A828C"),
        failed="#D55E00",
        scale=("#DCEBF5", "#9CC9E3", "#4F9FCB", "#0072B2", "#00456B"),
    ),
    "dark": Palette(
        paper="#16181D",
        text="#E6E8EB",
        muted="#9DA5B0",
        grid="#282C34",
        line="#434A54",
        stripe="#1E2229",
        bands=(0.22, 0.40),
        series=(*_OKABE_ITO, "#FFFFFF", "#F0E442"),
        failed="#D55E00",
        scale=("#14324A", "#0E5480", "#1F83BD", "#63B5E3", "#CBE7F8"),
    ),
}


def palette_of(theme: Theme) -> Palette:
    """Give the colours of a theme.

    Raises:
        ViewError: If there is no such theme.
    """
    if theme not in PALETTES:
        raise ViewError(f"There is no theme {theme!r}.", fix=nearest(theme, PALETTES))
    return PALETTES[theme]


def apply_theme(figure: Figure, *, dark: bool = False) -> Figure:
    """Give any plotly figure the look of FLIP Lab.

    Args:
        figure: The figure; changed in place.
        dark: Whether it will stand on a dark page.

    Returns:
        The same figure, to chain calls.
    """
    figure.update_layout(template=f"flip_{'dark' if dark else 'light'}")
    return figure


def draw(traces: Sequence[Trace], layout: Mapping[str, Any], *, theme: Theme) -> Figure:
    """Make a figure from plain data.

    Args:
        traces: What to draw, in order; later ones lie on top.
        layout: Layout as plotly's figure reference writes it.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, with our look.
    """
    figure = Figure({"data": list(traces), "layout": dict(layout)})
    return apply_theme(figure, dark=theme == "dark")


def figure_json(figure: Figure) -> str:
    """Give a figure as JSON that may stand inside an HTML page.

    Args:
        figure: Any figure; its template goes with it.

    Returns:
        JSON without ``<``, ``>`` or ``&``, so that no text in it can end its element.
    """
    text = str(figure.to_json())
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def plotly_javascript() -> str:
    """Give plotly's own script, some megabytes, for pages that need no network."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


LEGEND_ABOVE = {
    "orientation": "h",
    "x": 1,
    "xanchor": "right",
    "yref": "container",
    "y": 0.97,
    "yanchor": "top",
}
"""A legend on the line of the title, for figures that need their whole width."""


LEGEND_BELOW = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "yref": "container",
    "y": 0.0,
    "yanchor": "bottom",
}
"""A legend under everything, for figures whose title and legend may both be long."""


def translucent(colour: str, opacity: float) -> str:
    """Give a colour with an opacity.

    Args:
        colour: ``#RRGGBB``.
        opacity: From 0 (invisible) to 1.

    Returns:
        The colour as plotly and CSS write it, ``rgba(r,g,b,a)``.
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def blend(one: str, other: str) -> str:
    """Give the colour half way between two, each ``#RRGGBB``."""
    pairs = ((int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{(a + b) // 2:02X}" for a, b in pairs)


def bar_title(text: str, palette: Palette) -> dict[str, Any]:
    """Give the title of a colour bar, written along it as an axis's title is."""
    return {"text": text, "side": "right", "font": {"size": 12, "color": palette.muted}}


def _template(palette: Palette) -> dict[str, Any]:
    axis = {
        "showgrid": True,
        "gridcolor": palette.grid,
        "gridwidth": 1,
        "zeroline": False,
        "showline": True,
        "linecolor": palette.line,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": palette.line,
        "tickfont": {"size": 11, "color": palette.muted},
        "title": {"font": {"size": 12, "color": palette.muted}, "standoff": 8},
        "automargin": True,
    }
    return {
        "layout": {
            "paper_bgcolor": palette.paper,
            "plot_bgcolor": palette.paper,
            "colorway": palette.series,
            "font": {"family": FONT, "size": 12, "color": palette.text},
            "title": {
                "font": {"size": 16, "weight": 600},
                "subtitle": {"font": {"size": 12, "color": palette.muted}},
                "x": 0,
                "xanchor": "left",
                "xref": "paper",
                "y": 1,
                "yanchor": "top",
                "yref": "container",
                "pad": {"t": 18},
            },
            "margin": {"l": 56, "r": 24, "t": 84, "b": 48},
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "bgcolor": "rgba(0,0,0,0)",
                "font": {"size": 11},
                "x": 1.02,
                "y": 1,
            },
            "hoverlabel": {
                "bgcolor": palette.paper,
                "bordercolor": palette.line,
                "font": {"family": FONT, "size": 12, "color": palette.text},
                "align": "left",
            },
            "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 12}},
        }
    }


def _register() -> None:
    for theme, palette in PALETTES.items():
        pio.templates[f"flip_{theme}"] = _template(palette)


_register()
