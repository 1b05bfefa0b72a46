"""A filled-in form as text and as static HTML, for pages where no widget can live."""

from __future__ import annotations

from html import escape

from flip_lab.boards.launcher.form import Draft, Problem
from flip_lab.boards.launcher.values import Raw


def text_of(draft: Draft) -> str:
    """Give a form as a few lines of text; depends on what was put in alone.

    Args:
        draft: The form.

    Returns:
        Text without a line break at its end.
    """
    lines = [_title(draft)]
    rows = [
        (each["path"], f"{shown(each['before'])} → {shown(each['after'])}")
        for each in draft.changes
    ]
    width = max((len(path) for path, _ in rows), default=0)
    lines += [f"  {path:<{width}}  {change}" for path, change in rows]
    lines += [f"! {_words(each)}" for each in draft.problems.values()]
    return "\n".join([*lines, draft.call.python()])


def card_html(draft: Draft, *, css: str = "") -> str:
    """Give a form as a table of what was changed and the launch in Python.

    Args:
        draft: The form; text of any origin is escaped.
        css: Style sheet to put before it; empty where the page has it.

    Returns:
        One ``<section>``, after a ``<style>`` when there is a style sheet; no script.
    """
    parts = [f"<h3>{escape(_title(draft))}</h3>"]
    rows = "".join(
        f'<tr><th scope="row">{escape(each["label"])}</th>'
        f"<td>{escape(shown(each['before']))}</td><td>{escape(shown(each['after']))}</td></tr>"
        for each in draft.changes
    )
    if rows:
        head = "".join(f'<th scope="col">{name}</th>' for name in ("", "default", "now"))
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    parts += [
        f'<p class="flip-failure">{escape(_words(each))}</p>'
        for each in draft.problems.values()
    ]
    parts.append(f"<pre><code>{escape(draft.call.python())}</code></pre>")
    card = f'<section class="flip-board flip-launcher flip-card">{"".join(parts)}</section>'
    return f"<style>{css}</style>\n{card}" if css else card


def shown(raw: Raw) -> str:
    """Give what stands in a field as people read it."""
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    return " ".join(raw.split()) or "empty"


def _title(draft: Draft) -> str:
    what, title = draft.source.what, draft.source.title
    return f"Launch {what}" if title == what else f"Launch {what}: {title}"


def _words(problem: Problem) -> str:
    return f"[{problem['code']}] {problem['what']} Fix: {problem['fix']}"
