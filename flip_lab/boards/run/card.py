"""A snapshot as a self-contained piece of HTML, for pages where no widget can live.

nbconvert, papermill and code-hosting sites show what was saved with the notebook: this
card. It has the elements and the style sheet of the live widget (``static/monitor.js``,
``static/monitor.css``) and stays readable where a site strips styles and drawings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from flip_lab.boards.run.snapshot import Failure, Snapshot, Tile, duration_text, metric_text

_WIDTH, _HEIGHT = 240, 56
_MANY_SQUARES = 24


def card_html(snapshot: Snapshot, *, css: str = "") -> str:
    """Draw a snapshot as static HTML.

    Args:
        snapshot: What to draw; text of any origin is escaped.
        css: Style sheet to put before the card; empty where the page has it.

    Returns:
        One ``<section>``, after a ``<style>`` when there is a style sheet; no script.
    """
    name, run_id, state = (escape(snapshot[key]) for key in ("name", "run_id", "state"))
    why = escape(snapshot["state_words"])
    head = (
        (_tag("span", "flip-name", name) if name else "")
        + _tag("code", "", run_id)
        + _tag("span", "flip-badge", state)
        + (_tag("span", "flip-why", why) if why else "")
    )
    back = "Reattach: " + _tag("code", "", escape(snapshot["hint"]))
    totals = _tag("span", "flip-totals", escape(snapshot["totals"]))
    foot = totals + _tag("span", "flip-back", back)
    body = (
        _tag("div", "flip-head", head)
        + _bar(snapshot)
        + _tiles(snapshot)
        + _cohort(snapshot)
        + _notes(snapshot)
        + _tag("div", "flip-foot", foot)
    )
    about = {"data-state": state, "aria-label": f"Run {name or run_id}"}
    card = _tag("section", "flip-board flip-monitor", body, about=about)
    return f"<style>{css}</style>\n{card}" if css else card


def spark_paths(points: list[list[float | None]]) -> tuple[str, str, str]:
    """Draw a metric's course as SVG path data in a box of 240 by 56.

    Args:
        points: ``[server_round, value]`` pairs, oldest first; diverged values are ``None``.

    Returns:
        The line (with a gap where the metric diverged), a cross at the bottom for each
        diverged value, and a dot at the newest finite one; each may be empty.
    """
    line = crosses = dot = ""
    pen = "M"
    for x, y in _places(points):
        if y is None:
            crosses += f"M{x - 4} {_HEIGHT - 8}l8 8m0 -8l-8 8"
            pen = "M"
        else:
            line += f"{pen}{x} {y}"
            dot = f"M{x} {y}h0"
            pen = "L"
    return line, crosses, dot


def _places(points: list[list[float | None]]) -> list[tuple[int, int | None]]:
    values = [value for _, value in points if value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high / 2 - low / 2  # halved, so that the largest doubles do not overflow
    first, last = (points[0][0] or 0, points[-1][0] or 0) if points else (0, 0)
    places: list[tuple[int, int | None]] = []
    for at, value in points:
        along = ((at or 0) - first) / (last - first) if last > first else 0.5
        x = math.floor(_WIDTH * along + 0.5)
        if value is None:
            places.append((x, None))
            continue
        up = (value / 2 - low / 2) / span if span > 0 else 0.5
        places.append((x, math.floor(_HEIGHT * (1 - up) + 0.5)))
    return places


def _tag(
    name: str, classes: str, inner: str, *, about: Mapping[str, str] | None = None
) -> str:
    """Write one element; what is inside and about it is escaped by the caller."""
    given = {**({"class": classes} if classes else {}), **(about or {})}
    written = "".join(f' {key}="{value}"' for key, value in given.items())
    return f"<{name}{written}>{inner}</{name}>\n"  # the break parts words without styles


def _bar(snapshot: Snapshot) -> str:
    fraction, eta_s = snapshot["fraction"], snapshot["eta_s"]
    percent = None if fraction is None else math.floor(fraction * 100 + 0.5)
    words = escape(snapshot["round_words"])
    about = {
        "role": "progressbar",
        "aria-label": "Progress of the run",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        **({} if percent is None else {"aria-valuenow": str(percent)}),
        "aria-valuetext": words,
    }
    elapsed = f"{duration_text(snapshot['elapsed_s'])} elapsed"
    line = (
        _tag("span", "flip-round", words)
        + _tag("span", "flip-elapsed", "" if snapshot["started_s"] is None else elapsed)
        + _tag(
            "span",
            "flip-eta",
            "" if eta_s is None else f"about {duration_text(eta_s)} left",
        )
        + _tag("span", "flip-percent", "" if percent is None else f"{percent} %")
    )
    fill = _tag("div", "flip-fill", "", about={"style": f"width: {percent or 0}%"})
    return _tag("div", "flip-bar", fill, about=about) + _tag("p", "flip-line", line)


def _tiles(snapshot: Snapshot) -> str:
    if not snapshot["tiles"]:
        return ""
    tiles = _tag("div", "flip-tiles", "".join(_tile(tile) for tile in snapshot["tiles"]))
    hidden = snapshot["hidden_tiles"]
    return tiles + (
        _tag("p", "flip-hidden", f"and {hidden} more metrics") if hidden else ""
    )


def _tile(tile: Tile) -> str:
    drawn_as = {"central": " flip-central", "server": " flip-server"}.get(tile["scope"], "")
    classes = f"flip-tile{drawn_as}{' flip-diverged' * tile['diverged']}"
    about = escape(f"{tile['name']}, {tile['phase']}, {tile['scope']}")
    drawn = zip(
        ("flip-line-path", "flip-cross", "flip-dot"),
        spark_paths(tile["points"]),
        strict=True,
    )
    paths = "".join(_tag("path", kind, "", about={"d": path}) for kind, path in drawn)
    box = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "preserveAspectRatio": "none"}
    inner = (
        _tag(
            "p",
            "flip-metric",
            escape(metric_text(tile)),
            about={"title": about},
        )
        + _tag("p", "flip-value", escape(tile["value"]))
        + _tag("svg", "flip-spark", paths, about={**box, "aria-hidden": "true"})
        + (_tag("p", "flip-best", escape(tile["best"])) if tile["best"] else "")
    )
    return _tag("div", classes, inner)


def _cohort(snapshot: Snapshot) -> str:
    strip = snapshot["cohort"]
    if strip is None or snapshot["is_final"]:
        return ""
    each = strip["clients_per_square"]
    words = escape(strip["words"] + (f" (a square is {each} clients)" if each > 1 else ""))
    many = " flip-many" if len(strip["squares"]) > _MANY_SQUARES else ""
    squares = "".join(f'<i class="flip-{state}"></i>' for state in strip["squares"])
    about = {"role": "img", "aria-label": words}
    inner = _tag("p", "", words) + _tag("div", f"flip-squares{many}", squares, about=about)
    return _tag("div", "flip-cohort", inner)


def _notes(snapshot: Snapshot) -> str:
    failures = (snapshot["error"], snapshot["watch_error"])
    notes = "".join(_failure(failure) for failure in failures if failure is not None)
    if snapshot["warnings"]:
        many = snapshot["num_warnings"] > len(snapshot["warnings"])
        title = f"Newest of {snapshot['num_warnings']} warnings" if many else "Warnings"
        lines = "".join(_tag("p", "", escape(warning)) for warning in snapshot["warnings"])
        notes += _tag("div", "flip-note flip-warnings", _tag("strong", "", title) + lines)
    return _tag("div", "flip-notes", notes) if notes else ""


def _failure(failure: Failure) -> str:
    code = _tag("strong", "", escape(failure["code"])) if failure["code"] else ""
    inner = _tag("p", "", code + escape(failure["what"]))
    if failure["fix"]:
        inner += _tag("p", "", f"Fix: {escape(failure['fix'])}")
    if failure["detail"]:
        evidence = f"<pre>{escape(failure['detail'])}</pre>"
        inner += _tag("details", "", _tag("summary", "", "Details") + evidence)
    return _tag("div", "flip-note", inner)
