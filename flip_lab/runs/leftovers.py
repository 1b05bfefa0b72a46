"""Processes that outlived a run which was killed, such as helpers of its Ray session.

A run process leads a session of its own, so what it started can be told by the session's
number. (Environment variables would not do: Ray's helpers overwrite theirs.)
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

import psutil

from flip_lab.core.clock import now_s

_CLOCK_SLACK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a run process lives.

    Attributes:
        host: The machine's name.
        process_id: Its process id, which is its session's number too.
        since_s: When it began, seconds since the Unix epoch.
    """

    host: str
    process_id: int
    since_s: float

    @classmethod
    def here(cls) -> Home:
        """Describe this process."""
        return cls(host=socket.gethostname(), process_id=os.getpid(), since_s=now_s())


def end_leftovers(home: Home) -> int:
    """Kill what a dead run left running, if it lived on this host.

    Args:
        home: Where the run process lived; it must be gone.

    Returns:
        How many processes were killed.
    """
    if home.host != socket.gethostname() or _lives(home.process_id):
        return 0  # elsewhere, or the number already belongs to somebody else
    killed = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or somebody else's
            in_session = os.getsid(process.pid) == home.process_id
            if in_session and process.create_time() > home.since_s - _CLOCK_SLACK_S:
                process.kill()
                killed += 1
    return killed


def _lives(process_id: int) -> bool:
    try:  # a dead process keeps its number until its parent has taken note
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
