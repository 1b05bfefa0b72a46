"""Markup that cannot be broken by what it shows: text is escaped unless made here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, TypeAlias

_VOID = frozenset({"br", "hr", "meta"})
_STEP = 1024.0
_SECOND_S, _MINUTE_S, _HOUR_S = 1.0, 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that may be written as it is.

    Attributes:
        text: The markup.
    """

    text: str


Node: TypeAlias = Html | str
"""Markup, or text that will be escaped."""


def element(tag: str, /, *children: Node, **attributes: str) -> Html:
    """Make an element.

    Args:
        tag: Its name.
        children: What is in it; text is escaped.
        attributes: Its attributes; a trailing underscore is dropped (``class_``), others
            become hyphens (``data_theme``).

    Returns:
        The element.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    inside = joined(children).text
    return Html(f"<{tag}{written}>{inside}</{tag}>")


def joined(nodes: Iterable[Node]) -> Html:
    """Write nodes one after the other."""
    return Html(
        "".join(node.text if isinstance(node, Html) else escape(node) for node in nodes)
    )


def section(title: str, *children: Node, note: str = "") -> Html:
    """Make a section with a heading, and a sentence below it if there is one to say."""
    said = [element("p", note, class_="note")] if note else []
    return element("section", element("h2", title), *said, *children)


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """Make a list of names and values; values that are missing are left out."""
    rows = [
        joined([element("dt", name), element("dd", cell(value))])
        for name, value in pairs
        if not is_missing(value) and value != ""
    ]
    return element("dl", *rows, class_="facts")


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, most: int = 500
) -> Html:
    """Make a table; columns of numbers stand to the right.

    Args:
        head: Names of the columns.
        rows: Cells of any kind; see ``cell``.
        most: Rows to write; a last line counts those left out.

    Returns:
        The table, in a box that can be scrolled sideways.
    """
    kept = [tuple(row) for row in rows]
    numeric = [
        any(_is_number(row[at]) for row in kept)
        and all(_is_number(row[at]) or is_missing(row[at]) for row in kept)
        for at in range(len(head))
    ]
    classes = ["number" if flag else "" for flag in numeric]
    shown = [_line("td", row, classes) for row in kept[:most]]
    if len(kept) > most:
        words = f"{len(kept) - most:,} more rows are not shown."
        last = element("td", words, colspan=str(len(head)), class_="note")
        shown.append(element("tr", last))
    top = element("thead", _line("th", head, classes))
    return element("div", element("table", top, element("tbody", *shown)), class_="table")


def _line(kind: str, cells: Sequence[object], classes: Sequence[str]) -> Html:
    return element(
        "tr",
        *(
            element(kind, cell(each), **({"class_": name} if name else {}))
            for each, name in zip(cells, classes, strict=True)
        ),
    )


def cell(value: object) -> Node:
    """Give any value as a cell shows it: numbers briefly, a missing one as a dash."""
    if isinstance(value, Html):
        return value
    if is_missing(value):
        return "–"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if _is_bool(value):
        return "yes" if value else "no"
    return _number(float(str(value))) if _is_number(value) else str(value)


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if value.is_integer() else f"{value:.5g}"


def is_missing(value: Any) -> bool:  # noqa: ANN401  # a cell of any frame
    """Whether a cell holds nothing: ``None``, NaN, ``NA`` or ``NaT``."""
    if type(value).__name__ in {"NoneType", "NAType", "NaTType"}:
        return True
    return isinstance(value, float) and math.isnan(value)  # NumPy's float64 is a float


def _is_bool(value: object) -> bool:
    return isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's too


def _is_number(value: object) -> bool:
    if isinstance(value, Amount):
        return True
    is_text = isinstance(value, str | Html)
    return not is_text and not _is_bool(value) and hasattr(value, "__float__")


class Amount(Html):
    """A number with its unit: stands to the right in a table, like other numbers."""


def amount(text: str) -> Amount:
    """Give a number that was written elsewhere, such as ``3 to 4``."""
    return Amount(escape(text))


def size(num_bytes: float) -> Amount:
    """Give a number of bytes as people read it, such as ``1.4 MiB``."""
    value, units = float(num_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= _STEP and len(units) > 1:
        value, units = value / _STEP, units[1:]
    whole = units[0] == "bytes"
    return amount(f"{value:,.0f} {units[0]}" if whole else f"{value:.3g} {units[0]}")


def duration(seconds: float) -> Amount:
    """Give seconds as people read them, such as ``1 min 12 s``."""
    if seconds < _SECOND_S:
        return amount(f"{seconds * 1000:.3g} ms")
    if seconds < _MINUTE_S:
        return amount(f"{seconds:.3g} s")
    if seconds < _HOUR_S:
        return amount(f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s")
    hours, rest = divmod(seconds, _HOUR_S)
    return amount(f"{hours:.0f} h {rest // _MINUTE_S:.0f} min")


def code(text: object) -> Node:
    """Give a hash, an id or a setting in letters of one width, a missing one as a dash."""
    return "–" if is_missing(text) else element("code", str(text))


def tile(value: Node, words: str) -> Html:
    """Give one number of a report's head."""
    return element("div", element("b", value), element("span", words))
