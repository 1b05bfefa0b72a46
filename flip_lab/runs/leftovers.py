"""Processes that outlived a run which was killed, such as helpers of its Ray session."""

from __future__ import annotations

from contextlib import suppress

import psutil

MARK = "FLIP_LAB_RUN"
"""Environment variable that every process of a run inherits; its value is the run's id."""


def end_leftovers(run_id: str) -> int:
    """Kill what a dead run left running on this host.

    Only call this for a run whose own process is gone.

    Args:
        run_id: The run.

    Returns:
        How many processes were killed.
    """
    killed = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or somebody else's
            if process.environ().get(MARK) == run_id:
                process.kill()
                killed += 1
    return killed
