"""Logged images side by side."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pandas as pd

from flip_lab.views.canvas import (
    counted,
    is_missing,
    node_names,
    nothing_yet,
    plain,
    require_columns,
)
from flip_lab.views.logged import cells, rows_of, value_of
from flip_lab.views.theme import Figure, Theme, Trace, draw

_MOST_ROUNDS = 12  # newest first
_MOST_WHO = 8
_CELL = 0.92  # of the room that an image has
_WIDTH_PX = 800  # that a figure has for its images, in a notebook
_MOST_PX = 110


def image_strip(
    logged: pd.DataFrame, read: Callable[[str], bytes], *, theme: Theme = "light"
) -> Figure:
    """Show images side by side: rounds from left to right, a line for who logged them.

    The newest twelve rounds, and the first eight of those who logged.

    Args:
        logged: ``server_round``, ``partition_id``, ``name``, ``type``, ``value`` and
            ``sha256`` of one run and one name, as ``run.logged(name)`` gives them. Rows
            of other types are left out.
        read: Gives an image's PNG by its hash: ``run.artifact``.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; one that says so when there is no image.

    Raises:
        ViewError: If the frame lacks a column, mixes runs or names, or there is no such
            theme.
    """
    require_columns(logged, ("partition_id", "sha256"), view="image_strip")
    rows, name = rows_of(logged, "image", view="image_strip")
    if rows.empty:
        return nothing_yet("Images", "No image has been logged yet.", theme=theme)
    rows = rows.assign(who=_who(rows))
    all_rounds = sorted({int(each) for each in cells(rows, "server_round")})
    ordered = rows.sort_values("partition_id", kind="stable", na_position="first")
    all_who = [str(each) for each in dict.fromkeys(cells(ordered, "who"))]
    rounds, who = all_rounds[-_MOST_ROUNDS:], all_who[:_MOST_WHO]
    wanted = ("server_round", "who", "value", "sha256")
    newest = {
        (int(at), str(line)): (value, str(sha256))
        for at, line, value, sha256 in zip(*(cells(rows, x) for x in wanted), strict=True)
    }
    traces = [
        _image(
            value, read(sha256), about=(at, line), place=(rounds.index(at), who.index(line))
        )
        for (at, line), (value, sha256) in newest.items()
        if at in rounds and line in who
    ]
    words = f"{counted(len(rows), 'image')}"
    if len(traces) < len(rows):
        words += f"; shown: the newest of {counted(len(rounds), 'round')}, {len(who)} of "
        words += f"{len(all_who)} who logged"
    columns = max(len(rounds), 4)
    layout = {
        "title": {"text": plain(name), "subtitle": {"text": words}},
        "height": 132 + int(min(_MOST_PX, _WIDTH_PX / columns)) * len(who),
        "xaxis": {
            "title": {"text": "round"},
            "tickvals": list(range(len(rounds))),
            "ticktext": [str(each) for each in rounds],
            "range": [-0.5, columns - 0.5],
            "showgrid": False,
            "constrain": "domain",
            "constraintoward": "left",
        },
        "yaxis": {
            "tickvals": list(range(len(who))),
            "ticktext": who,
            "range": [len(who) - 0.5, -0.5],
            "showgrid": False,
            "scaleanchor": "x",
            "constrain": "domain",
            "constraintoward": "top",
        },
    }
    return draw(traces, layout, theme=theme)


def _who(rows: pd.DataFrame) -> list[str]:
    """Name who logged each row: the server, or a node."""
    is_server = [is_missing(each) for each in cells(rows, "partition_id")]
    names = iter(node_names(rows.take([i for i, own in enumerate(is_server) if not own])))
    return ["server" if own else next(names) for own in is_server]


def _image(
    cell: Any,  # noqa: ANN401  # of the column value
    png: bytes,
    *,
    about: tuple[int, str],
    place: tuple[int, int],
) -> Trace:
    size, (column, line) = value_of(cell), place
    pixel = _CELL / max(size["width"], size["height"])
    content = base64.b64encode(png).decode()
    words = f"<b>round {about[0]}</b>, {about[1]}<br>{size['width']} × {size['height']}"
    return {
        "type": "image",
        "source": f"data:image/png;base64,{content}",
        "x0": column - pixel * (size["width"] - 1) / 2,
        "y0": line - pixel * (size["height"] - 1) / 2,
        "dx": pixel,
        "dy": pixel,
        "hovertemplate": f"{words}<extra></extra>",
    }
