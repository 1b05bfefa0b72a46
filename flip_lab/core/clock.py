"""The one place that asks what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_s() -> float:
    """Give seconds since the Unix epoch, UTC; for facts that are kept."""
    return time.time()  # the one place that may


def tick_s() -> float:
    """Give seconds on a clock that never goes back; for durations only."""
    return time.perf_counter()


def busy_s() -> float:
    """Give seconds that this thread has computed; for comparisons on a shared machine."""
    return time.thread_time()


def at_utc(time_s: float) -> datetime:
    """Turn seconds since the Unix epoch into an aware UTC datetime."""
    return datetime.fromtimestamp(time_s, UTC)
