"""A fleet as text and as static HTML, for pages where no widget can live."""

from __future__ import annotations

from html import escape

from flip_lab.boards.fleet.nodes import CONDITIONS
from flip_lab.boards.fleet.picture import Fleet, node_name
from flip_lab.boards.run.snapshot import bytes_text, number_text

MOST_ROWS = 20
_HEAD = ("node", "condition", "failures", "mean s", "slowest s", "rounds", "up", "metric")


def text_of(fleet: Fleet) -> str:
    """Give a fleet as a few lines of text; depends on the argument alone.

    Args:
        fleet: What to tell.

    Returns:
        Text without a line break at its end: sums, and the 20 nodes that failed most or
        are slowest.
    """
    lines = [fleet["title"], f"  {_conditions(fleet)}"]
    lines += [f"  {name}: {told}" for name, told in fleet["facts"]]
    rows = [_head(fleet), *_rows(fleet)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    if len(rows) > 1:
        lines.append("")
        for row in rows:
            cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
            cells += [
                cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)
            ]
            lines.append(f"  {'  '.join(cells)}".rstrip())
        lines += _more(fleet)
    lines += [f"! {note}" for note in fleet["notes"]]
    if fleet["error"]:
        lines.append(f"✗ [{fleet['error']['code']}] {fleet['error']['what']}")
    return "\n".join(lines)


def card_html(fleet: Fleet, *, css: str = "") -> str:
    """Give a fleet as facts and a table of the 20 nodes in most trouble.

    Args:
        fleet: What to tell; text of any origin is escaped.
        css: Style sheet to put before it; empty where the page has it.

    Returns:
        One ``<section>``, after a ``<style>`` when there is a style sheet; no script.
    """
    facts = [*fleet["facts"][:1], ["condition", _conditions(fleet)], *fleet["facts"][1:]]
    told = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts
    )
    parts = [f"<h3>{escape(fleet['title'])}</h3>", f'<dl class="flip-facts">{told}</dl>']
    rows = _rows(fleet)
    if rows:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in _head(fleet))
        body = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows
        )
        parts.append(
            "<table><caption>Failed most, then slowest</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
    parts += [f"<p>{escape(each)}</p>" for each in (*_more(fleet), *fleet["notes"])]
    if fleet["error"]:
        parts.append(f"<p>{escape(fleet['error']['what'])}</p>")
    card = f'<section class="flip-board flip-fleet flip-card">{"".join(parts)}</section>'
    return f"<style>{css}</style>\n{card}" if css else card


def _head(fleet: Fleet) -> tuple[str, ...]:
    return (*_HEAD[:-1], fleet["metric"].partition("/")[2] or "metric")


def _conditions(fleet: Fleet) -> str:
    there = [f"{count:,} {words}" for words, count in fleet["conditions"] if count]
    return ", ".join(there) or "no nodes yet"


def _more(fleet: Fleet) -> list[str]:
    beyond = len(fleet["nodes"]["id"]) - MOST_ROWS
    return [f"and {beyond:,} more"] if beyond > 0 else []


def _rows(fleet: Fleet) -> list[tuple[str, ...]]:
    """Give the worst nodes in words: by share of failures, then by mean seconds."""
    nodes = fleet["nodes"]
    share = [
        failed / replies if replies else 0.0
        for failed, replies in zip(nodes["failures"], nodes["replies"], strict=True)
    ]
    worst = sorted(
        range(len(share)), key=lambda at: (-share[at], -(nodes["mean_s"][at] or -1.0), at)
    )
    return [
        (
            node_name(nodes["id"][at]),
            CONDITIONS[nodes["condition"][at]],
            f"{nodes['failures'][at]} of {nodes['replies'][at]}",
            _number(nodes["mean_s"][at]),
            _number(nodes["slowest_s"][at]),
            str(nodes["rounds"][at]),
            bytes_text(nodes["up"][at] or 0.0),
            nodes["odd"].get(str(at)) or _number(nodes["metric"][at]),
        )
        for at in worst[:MOST_ROWS]
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else number_text(value)
