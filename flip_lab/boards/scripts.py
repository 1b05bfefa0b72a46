"""The JavaScript of a widget that is made of several files."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).parent / "static"


def joined(*names: str) -> str:
    """Give scripts of this package one after the other, as one module.

    A page loads a widget's module from a text, so it cannot import a file beside it.

    Args:
        names: File names in ``static/`` without ``.js``, in the order of the module.
    """
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)
