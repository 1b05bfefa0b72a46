"""One HTML file that needs nothing else: style, figures, and plotly.js once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from flip_lab import __version__
from flip_lab.core.clock import now_s
from flip_lab.core.errors import AnalysisError, InvalidValueError, ViewError, nearest
from flip_lab.runs.report_markup import Html, element, joined
from flip_lab.views.theme import (
    FONT,
    PALETTES,
    Palette,
    Theme,
    figure_json,
    plotly_javascript,
)

ReportTheme: TypeAlias = Literal["auto", "light", "dark"]
"""``auto`` follows the reader's device; paper is always light."""

_HERE = Path(__file__)
_THEMES: dict[str, tuple[Theme, ...]] = {
    "auto": ("light", "dark"),
    "light": ("light",),
    "dark": ("dark", "light"),  # light is for paper
}
# The page may run its own script and show its own images, and reach nothing else.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: blob:"
)


def themes_of(theme: str) -> tuple[Theme, ...]:
    """Say which looks each figure of a report needs.

    Raises:
        InvalidValueError: If there is no such theme.
    """
    if theme not in _THEMES:
        raise InvalidValueError(
            f"There is no report theme {theme!r}.", fix=nearest(theme, _THEMES)
        )
    return _THEMES[theme]


def plot(draw: Callable[[Theme], Any], themes: tuple[Theme, ...]) -> Html:
    """Place a figure, in each look that the report needs.

    A figure that cannot be drawn does not take the report with it: the error stands in
    its place.

    Args:
        draw: Gives the figure in a theme.
        themes: From ``themes_of``.
    """
    try:
        drawn = {theme: draw(theme) for theme in themes}
    except (AnalysisError, ViewError) as error:
        return element("p", f"No figure: {error.what}", class_="note")
    height = next(iter(drawn.values())).layout.height or 450
    data = [
        Html(
            f'<script type="application/json" data-theme="{theme}">'
            f"{figure_json(figure)}</script>"
        )
        for theme, figure in drawn.items()
    ]
    room = element("div", class_="room", style=f"min-height:{height:.0f}px")
    return element("figure", room, *data)


def page(
    title: str, *body: Html, theme: ReportTheme = "auto", is_paper: bool = False
) -> str:
    """Put a report together.

    Args:
        title: Shown by the browser's tab and the PDF's properties.
        body: The sections.
        theme: How it looks on a screen.
        is_paper: Whether it will be printed at once: figures have the width of the paper.

    Returns:
        The whole file's text.
    """
    style = _variables() + _HERE.with_suffix(".css").read_text(encoding="utf-8")
    script = _HERE.with_suffix(".js").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width"),
        element("meta", name="generator", content=f"FLIP Lab {__version__}"),
        element("title", title),
        Html(f"<style>{style}</style>"),
    )
    made = datetime.fromtimestamp(now_s(), UTC).strftime("%Y-%m-%d %H:%M UTC")
    foot = element("footer", f"Made by FLIP Lab {__version__} on {made}.")
    needs = "The figures of this report need JavaScript; the tables do not."
    drawn = any("<figure>" in part.text for part in body)
    scripts = [Html(f"<script>{plotly_javascript()}</script>")] if drawn else []
    document = element(
        "html",
        head,
        element(
            "body",
            element("main", Html(f"<noscript><p>{needs}</p></noscript>"), *body, foot),
            *scripts,
            Html(f"<script>{script}</script>"),
        ),
        lang="en",
        data_theme="light" if is_paper else theme,
        data_media="paper" if is_paper else "screen",
    )
    return joined([Html("<!doctype html>\n"), document]).text


def _variables() -> str:
    """Write the colours of the figures as CSS variables, so that all has one look."""
    light, dark = (_colours(PALETTES[theme]) for theme in ("light", "dark"))
    return (
        f":root{{{light}--font:{FONT};color-scheme:light}}"
        f':root[data-theme="dark"]{{{dark}color-scheme:dark}}'
        "@media (prefers-color-scheme: dark){"
        f':root[data-theme="auto"]{{{dark}color-scheme:dark}}}}'
        f"@media print{{:root:root{{{light}color-scheme:light}}}}"
    )


def _colours(palette: Palette) -> str:
    names = ("paper", "text", "muted", "grid", "line", "stripe", "failed")
    colours = {name: getattr(palette, name) for name in names}
    colours |= {"accent": palette.series[0], "good": palette.series[2]}
    return "".join(f"--{name}:{value};" for name, value in colours.items())
