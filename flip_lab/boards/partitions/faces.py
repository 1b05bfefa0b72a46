"""Partitions as text and as static HTML, for pages where no widget can live."""

from __future__ import annotations

from html import escape

from flip_lab.boards.partitions.payload import Shown
from flip_lab.core.errors import FlipLabError

MOST_COLUMNS = 24
_SHADES = " ░▒▓█"
_LEVELS = (0, 100, 300, 600)  # per mille above which the next shade begins
_LONGEST = 16


def text_of(shown: Shown, python: str, error: FlipLabError | None = None) -> str:
    """Give partitions as a few lines of text; depends on the arguments alone.

    Args:
        shown: The picture.
        python: The launch that splits like this.
        error: Why what was chosen last cannot be drawn.

    Returns:
        Text without a line break at its end.
    """
    lines = [shown["title"], *(f"  {name}: {told}" for name, told in shown["facts"])]
    lines += ["", *_map(shown), ""]
    lines += [
        f"  {each['node']}: {each['distance']:.2f} from the whole, "
        f"{each['num_examples']:,} examples, {each['holds']}"
        for each in shown["worst"]
    ]
    lines += [f"! {note}" for note in shown["notes"]]
    if error is not None:
        lines += [f"✗ [{error.code}] {error.what}", f"  Fix: {error.fix}"]
    return "\n".join([*lines, python])


def card_html(
    shown: Shown, python: str, error: FlipLabError | None = None, *, css: str = ""
) -> str:
    """Give partitions as facts and a table.

    Args:
        shown: The picture.
        python: The launch that splits like this.
        error: Why what was chosen last cannot be drawn.
        css: Style sheet to put before it; empty where the page has it.

    Returns:
        One ``<section>``, after a ``<style>`` when there is a style sheet; no script.
    """
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(told)}</dd></div>"
        for name, told in shown["facts"]
    )
    parts = [
        f'<h3>{escape(shown["title"])}</h3><dl class="flip-facts">{facts}</dl>',
        _table(shown),
        *(f"<p>{escape(note)}</p>" for note in shown["notes"]),
    ]
    if error is not None:
        code, words = escape(error.code), escape(f"{error.what} {error.fix}")
        parts.append(f"<p><strong>{code}</strong> {words}</p>")
    parts.append(f"<pre>{escape(python)}</pre>")
    card = (
        f'<section class="flip-board flip-partitions flip-card">{"".join(parts)}</section>'
    )
    return f"<style>{css}</style>\n{card}" if css else card


def _table(shown: Shown) -> str:
    head = "".join(
        f'<th scope="col">{escape(name)}</th>'
        for name in ("node", shown["distance_words"], "examples", "holds")
    )
    body = "".join(
        f'<tr><th scope="row">{escape(each["node"])}</th><td>{each["distance"]:.2f}</td>'
        f"<td>{each['num_examples']:,}</td><td>{escape(each['holds'])}</td></tr>"
        for each in shown["worst"]
    )
    return (
        "<table><caption>Nodes least like the whole</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _map(shown: Shown) -> list[str]:
    """Draw labels by node in shades, thinned evenly to a terminal's width."""
    columns = len(shown["nodes"])
    step = -(-columns // MOST_COLUMNS)
    width = min(max((len(label) for label in shown["labels"]), default=0), _LONGEST)
    return [
        f"  {label[:width]:>{width}} |{''.join(_shade(each) for each in row[::step])}|"
        for label, row in zip(shown["labels"], shown["columns"]["shares"], strict=True)
    ]


def _shade(share: int) -> str:
    return _SHADES[sum(share > level for level in _LEVELS)]
