"""The JavaScript and CSS of the boards, each as one text: for a widget, or for a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

STATIC = Path(__file__).parent / "static"

_REMARK = re.compile(r"/\*.*?\*/", re.DOTALL)

_SCRIPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": (
            "elements",
            "line",
            "monitor_parts",
            "monitor_chart",
            "monitor_map",
            "monitor_desk",
            "monitor",
        ),
        "comparer": ("elements", "tables", "comparer"),
        "launcher": ("elements", "line", "launcher"),
        "partitions": ("elements", "partitions"),
        "fleet": ("elements", "tables", "fleet"),
    }
)
"""Files of ``static/`` by board, in the order of the module."""

_STYLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": ("board", "tables", "monitor"),
        "comparer": ("board", "tables", "comparer"),
        "launcher": ("board", "launcher"),
        "partitions": ("board", "map", "partitions"),
        "fleet": ("board", "map", "tables", "fleet"),
    }
)

BOARDS = tuple(_SCRIPTS)
"""The names of the boards."""


@cache
def script(board: str) -> str:
    """Give a board's JavaScript as one module, whose ``default.render`` draws it.

    A page loads a widget's module from a text, so it cannot import a file beside it.

    Args:
        board: One of ``BOARDS``.
    """
    return _joined(_SCRIPTS[board], "js")


@cache
def style(board: str) -> str:
    """Give a board's style sheet, for the live board and for the card that stays.

    Args:
        board: One of ``BOARDS``.
    """
    return _joined(_STYLES[board], "css")


def _joined(names: tuple[str, ...], kind: str) -> str:
    """Give files one after the other, without comments and indentation.

    Each widget of a notebook brings its whole text along. No text of ours goes over the end
    of a line; a test looks.
    """
    files = (STATIC / f"{name}.{kind}" for name in names)
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    if kind == "css":
        text = _REMARK.sub("", text)
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))
