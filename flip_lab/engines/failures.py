"""How a failure reads: what was raised, then the tail of its traceback."""

from __future__ import annotations

import traceback

_TAIL_LINES = 25


def failure_tail(raised: BaseException) -> str:
    """Say what was raised, then the last lines of its traceback."""
    lines = "".join(traceback.format_exception(raised)).splitlines()
    tail = "\n".join(lines[-_TAIL_LINES:])
    return f"{type(raised).__name__}: {raised}\n{tail}"
