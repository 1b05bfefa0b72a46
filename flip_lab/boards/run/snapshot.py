"""What every face of a running run shows: one small, JSON-ready dictionary.

The widget (JavaScript), the static card (HTML) and the terminal (text) draw the same
snapshot, so they can never tell different stories. Words are made here, once.
"""

from __future__ import annotations

import math
from typing import TypedDict


class Failure(TypedDict):
    """Something that went wrong, in the parts of a coded error.

    Attributes:
        code: Such as ``FLIP-303``; empty when it has none.
        what: What happened.
        fix: What to do next; may be empty.
        detail: Longer evidence, such as a traceback's tail; may be empty.
    """

    code: str
    what: str
    fix: str
    detail: str


class Tile(TypedDict):
    """One metric.

    Attributes:
        name: The metric's name.
        phase: ``"train"`` or ``"evaluate"``.
        scope: ``"federated"``, ``"central"`` or ``"server"``.
        value: The newest value, ready to show.
        best: The best one with its round, ready to show; empty while there is none.
        diverged: Whether the newest value is NaN or infinite.
        points: ``[server_round, value]`` pairs for the sparkline, diverged values as null.
    """

    name: str
    phase: str
    scope: str
    value: str
    best: str
    diverged: bool
    points: list[list[float | None]]


class CohortStrip(TypedDict):
    """The clients at work in the current phase, as squares.

    Attributes:
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        size: Clients that were asked.
        done: Clients that replied well.
        failed: Clients that failed.
        squares: ``d`` done, ``f`` failed, ``r`` running; one character per square.
        clients_per_square: 1, or more where there are too many clients for one each.
        words: The same in one sentence.
    """

    phase: str
    size: int
    done: int
    failed: int
    squares: str
    clients_per_square: int
    words: str


class Snapshot(TypedDict):
    """A run at one moment; at most 20 KB as JSON.

    Attributes:
        run_id: The run's id in the lab.
        name: What its author calls it.
        state: A ``RunState`` value.
        state_words: Who paused the run and why; empty where nobody did.
        is_final: Whether nothing will happen any more.
        server_round: The current round; 0 before the first one.
        num_rounds: Rounds planned; ``None`` while unknown.
        fraction: Share of the work that is done, 0 to 1; ``None`` while unknown.
        started_s: When the run began, seconds since the Unix epoch; ``None`` before.
        elapsed_s: Seconds from the first event to the newest one.
        eta_s: Seconds that are left, guessed; ``None`` while there is no telling.
        round_words: Such as ``round 7 / 20`` or ``not started yet``.
        cohort: The clients of the current phase; ``None`` when none is at work.
        tiles: Metrics, evaluation first.
        hidden_tiles: Metrics that there was no room for.
        totals: Replies, failures and traffic so far, ready to show; may be empty.
        error: Why the run failed, or else the newest failure of a client.
        warnings: The newest warnings, oldest first.
        num_warnings: All of them.
        watch_error: Why the watcher itself cannot follow the run; ``None`` when it can.
        hint: How to come back to the run.
    """

    run_id: str
    name: str
    state: str
    state_words: str
    is_final: bool
    server_round: int
    num_rounds: int | None
    fraction: float | None
    started_s: float | None
    elapsed_s: float
    eta_s: float | None
    round_words: str
    cohort: CohortStrip | None
    tiles: list[Tile]
    hidden_tiles: int
    totals: str
    error: Failure | None
    warnings: list[str]
    num_warnings: int
    watch_error: Failure | None
    hint: str


def metric_text(tile: Tile) -> str:
    """Name a metric; one that does not come from the clients says where it does."""
    scope = tile["scope"]
    return tile["name"] + (f" ({scope})" if scope in {"central", "server"} else "")


def number_text(value: float) -> str:
    """Give a metric's value in four significant digits; NaN and infinities in words."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def duration_text(seconds: float) -> str:
    """Give a duration as a person says it: ``42 s``, ``3:07 min`` or ``2:05:09 h``.

    Args:
        seconds: 0 or more; whole seconds are shown.
    """
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"


def took_text(seconds: float) -> str:
    """Give how long something took in three digits, down to milliseconds.

    Args:
        seconds: 0 or more.
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 60 else duration_text(seconds)  # noqa: PLR2004


def bytes_text(size_bytes: float) -> str:
    """Give a size in three digits and the largest binary unit that leaves at least one.

    Args:
        size_bytes: 0 or more.
    """
    size = float(size_bytes)
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while size >= 999.5 and step < len(units) - 1:  # noqa: PLR2004  # else four digits
        size, step = size / 1024, step + 1
    return f"{size:.3g} {units[step]}"


def counted(number: int, one: str, many: str) -> str:
    """Give a number with its noun, such as ``1 reply`` or ``1,204 replies``."""
    return f"{number:,} {one if number == 1 else many}"


def shortened(text: str, at_most: int) -> str:
    """Keep the beginning of a text; what is cut off leaves an ellipsis."""
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"


def tail(text: str, at_most: int) -> str:
    """Keep the end of a text, where a traceback says what happened."""
    return text if len(text) <= at_most else f"…{text[1 - at_most :]}"
