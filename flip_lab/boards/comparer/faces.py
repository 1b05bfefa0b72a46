"""A comparison as text and as static HTML, for pages where no widget can live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from flip_lab.boards.comparer.payload import Line, Panel, Picture, counted, fork_text
from flip_lab.boards.run.card import spark_paths
from flip_lab.boards.run.snapshot import number_text
from flip_lab.boards.run.spark import sparkline

MOST_ROWS = 24
_SPARK_POINTS = 24
_SHARED = "shared with forks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of a panel in words.

    Attributes:
        name: The group, or the run.
        runs: How many runs, or which.
        last: Its last value.
        band: The interval there; empty where there is none.
        course: Its points, oldest first; None where it diverged.
    """

    name: str
    runs: str
    last: str
    band: str
    course: list[tuple[float, float | None]]


def text_of(picture: Picture) -> str:
    """Give a picture as a few lines of text; depends on the picture alone.

    Args:
        picture: What to tell.

    Returns:
        Text without a line break at its end.
    """
    lines = [_title(picture)]
    if picture["error"]:
        lines.append(picture["error"])
    for panel in picture["panels"]:
        lines.append(f"\n{panel['y_title']}, at the end")
        lines += _text_rows([*_rows(picture, panel)])
        lines += _more(panel)
    if picture["forks"]:
        lines += ["", *(f"Fork {fork_text(fork)}" for fork in picture["forks"])]
    if picture["differing"]:
        lines.append(f"\nThey differ in: {', '.join(picture['differing'])}")
    lines += [f"! {note}" for note in picture["notes"]]
    return "\n".join(lines)


def card_html(picture: Picture, *, css: str = "") -> str:
    """Give a picture as a table with small curves.

    Args:
        picture: What to tell; text of any origin is escaped.
        css: Style sheet to put before it; empty where the page has it.

    Returns:
        One ``<section>``, after a ``<style>`` when there is a style sheet; no script.
    """
    parts = [f"<h3>{escape(_title(picture))}</h3>"]
    if picture["error"]:
        parts.append(f"<p>{escape(picture['error'])}</p>")
    for panel in picture["panels"]:
        head = "".join(
            f'<th scope="col">{name}</th>' for name in ("", "runs", "last", "95 % band", "")
        )
        body = "".join(_html_row(row) for row in _rows(picture, panel))
        parts.append(
            f"<table><caption>{escape(panel['y_title'])}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
        parts += [f"<p>{escape(each)}</p>" for each in _more(panel)]
    parts += [f"<p>Fork {escape(fork_text(fork))}</p>" for fork in picture["forks"]]
    if picture["differing"]:
        parts.append(f"<p>They differ in: {escape(', '.join(picture['differing']))}</p>")
    parts += [f"<p>{escape(note)}</p>" for note in picture["notes"]]
    card = f'<section class="flip-board flip-comparer flip-card">{"".join(parts)}</section>'
    return f"<style>{css}</style>\n{card}" if css else card


def _title(picture: Picture) -> str:
    by = f" by {picture['by']}" if picture["by"] else ""
    return f"{counted(picture['num_runs'], 'run')} compared{by}"


def _more(panel: Panel) -> list[str]:
    beyond = len(panel["lines"]) - MOST_ROWS
    return [f"and {beyond:,} more"] if beyond > 0 else []


def _rows(picture: Picture, panel: Panel) -> Iterator[_Row]:
    for line in panel["lines"][:MOST_ROWS]:
        group = picture["groups"][line["group"]] if picture["groups"] else None
        run_id = line.get("run", "")
        size = counted(len(group["runs"]), "run") if group else ""
        at = _last(line)
        yield _Row(
            name=_SHARED if line.get("trunk") else group["label"] if group else "",
            runs=run_id or size,
            last=_value(line, at),
            band=_band(line, at),
            course=_course(line),
        )


def _last(line: Line) -> int:
    odd = line.get("odd", {})
    told = [at for at, y in enumerate(line["y"]) if y is not None or str(at) in odd]
    return told[-1] if told else -1


def _value(line: Line, at: int) -> str:
    if at < 0:
        return "–"
    value = line["y"][at]
    return line.get("odd", {}).get(str(at), "–") if value is None else number_text(value)


def _band(line: Line, at: int) -> str:
    low, high = (line.get(end, []) for end in ("low", "high"))
    if at < 0 or not low or low[at] is None or high[at] is None:
        return ""
    return f"{number_text(low[at] or 0.0)} to {number_text(high[at] or 0.0)}"


def _course(line: Line) -> list[tuple[float, float | None]]:
    """Thin a line evenly for a small curve; gaps without a value are closed."""
    odd = line.get("odd", {})
    told = [
        (x, y)
        for at, (x, y) in enumerate(zip(line["x"], line["y"], strict=True))
        if y is not None or str(at) in odd
    ]
    step = max(1, -(-len(told) // _SPARK_POINTS))
    return told[::-1][::step][::-1]  # from the end, so that the last one stays


def _text_rows(rows: list[_Row]) -> list[str]:
    names, runs, lasts, bands = (
        max((len(getattr(row, part)) for row in rows), default=0)
        for part in ("name", "runs", "last", "band")
    )
    return [
        f"{row.name:<{names}}  {row.runs:>{runs}}  {row.last:>{lasts}}  "
        f"{row.band:<{bands}}  {sparkline([y for _, y in row.course])}".rstrip()
        for row in rows
    ]


def _html_row(row: _Row) -> str:
    line, crosses, _ = spark_paths([[x, y] for x, y in row.course])
    drawn = zip(("flip-path", "flip-crosses"), (line, crosses), strict=True)
    paths = "".join(f'<path class="{kind}" d="{path}"></path>' for kind, path in drawn)
    box = 'viewBox="0 0 240 56" preserveAspectRatio="none" aria-hidden="true"'
    cells = "".join(f"<td>{escape(text)}</td>" for text in (row.runs, row.last, row.band))
    return (
        f'<tr><th scope="row">{escape(row.name)}</th>{cells}'
        f'<td><svg class="flip-small" {box}>{paths}</svg></td></tr>'
    )
