"""The JavaScript and CSS of the boards, each as one text: for a widget, or for a page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

STATIC = Path(__file__).parent / "static"

_SCRIPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": (
            "line",
            "monitor_parts",
            "monitor_chart",
            "monitor_map",
            "monitor_desk",
            "monitor",
        ),
        "comparer": ("comparer",),
        "launcher": ("line", "launcher"),
        "partitions": ("partitions",),
        "fleet": ("fleet",),
    }
)
"""Files of ``static/`` by board, in the order of the module."""

_STYLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run": ("monitor",),
        "comparer": ("comparer",),
        "launcher": ("launcher",),
        "partitions": ("partitions",),
        "fleet": ("fleet",),
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
    files = (STATIC / f"{name}.{kind}" for name in names)
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
