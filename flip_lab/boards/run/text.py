"""A snapshot as plain text: for terminals, logs and notebooks without widgets."""

from __future__ import annotations

from flip_lab.boards.run.snapshot import (
    Failure,
    Snapshot,
    duration_text,
    metric_text,
    shortened,
)
from flip_lab.boards.run.spark import sparkline

_BAR_WIDTH = 24
_PARTS = " ▏▎▍▌▋▊▉█"


def text_of(snapshot: Snapshot, *, width: int = 80) -> str:
    """Draw a snapshot as a few lines of text.

    Args:
        snapshot: What to draw.
        width: Columns to stay within where names allow, at least 40.

    Returns:
        Text without a line break at its end; depends on the arguments alone.
    """
    name = f"{snapshot['name']} · " if snapshot["name"] else ""
    state = f"{snapshot['state']} {snapshot['state_words']}".rstrip()
    lines = [f"{name}{snapshot['run_id']} · {state}", _progress_line(snapshot)]
    if snapshot["cohort"] is not None and not snapshot["is_final"]:
        lines.append(snapshot["cohort"]["words"])
    lines += _metric_lines(snapshot, width)
    if snapshot["totals"]:
        lines.append(snapshot["totals"])
    lines += [f"! {warning}" for warning in snapshot["warnings"]]
    for failure in (snapshot["error"], snapshot["watch_error"]):
        lines += _failure_lines(failure)
    lines.append(f"Reattach: {snapshot['hint']}")
    return "\n".join(lines)


def bar(fraction: float, *, width: int = _BAR_WIDTH) -> str:
    """Draw a progress bar in eighths of a character.

    Args:
        fraction: 0 to 1.
        width: Characters, 1 or more.
    """
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    partial = _PARTS[rest] if rest else ""
    return ("█" * whole + partial).ljust(width, "░")


def _progress_line(snapshot: Snapshot) -> str:
    fraction, eta_s = snapshot["fraction"], snapshot["eta_s"]
    parts = [snapshot["round_words"]]
    if snapshot["started_s"] is not None:
        parts.append(f"{duration_text(snapshot['elapsed_s'])} elapsed")
    if eta_s is not None:
        parts.append(f"about {duration_text(eta_s)} left")
    words = ", ".join(parts)
    return words if fraction is None else f"{bar(fraction)} {fraction:4.0%}  {words}"


def _metric_lines(snapshot: Snapshot, width: int) -> list[str]:
    tiles = snapshot["tiles"]
    labels = [metric_text(tile) for tile in tiles]
    longest = min(max((len(label) for label in labels), default=0), width // 3)
    lines: list[str] = []
    for label, tile in zip(labels, tiles, strict=True):
        room = max(8, width - longest - len(tile["best"]) - 16)
        spark = sparkline([value for _, value in tile["points"]][-room:])
        line = f"{shortened(label, longest):<{longest}}  {tile['value']:>9}  {spark}"
        lines.append(f"{line}  {tile['best']}".rstrip())
    if snapshot["hidden_tiles"]:
        lines.append(f"and {snapshot['hidden_tiles']} more metrics")
    return lines


def _failure_lines(failure: Failure | None) -> list[str]:
    if failure is None:
        return []
    code = f"[{failure['code']}] " if failure["code"] else ""
    lines = [f"✗ {code}{failure['what']}"]
    if failure["fix"]:
        lines.append(f"  Fix: {failure['fix']}")
    return lines
