"""Ends what carries a mark once its owner is gone: ``python leash_process.py MARK``.

It waits for the end of its standard input, which the owner holds open. Standard library
only, and nothing of ours: it starts in milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "FLIP_LAB_LEASH"
"""The environment variable that holds a mark."""

_LOOKS = 3  # in a row without a find: a program may be about to start
_PAUSE_S = 0.1


def end_marked(mark: str) -> int:
    """Kill every process that carries a mark.

    Args:
        mark: The value of the variable.

    Returns:
        How many there were.
    """
    wanted = f"{VARIABLE}={mark}".encode()
    num_found = 0
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is another user's, or just ended
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                num_found += 1
                os.kill(int(place.name), signal.SIGKILL)
    return num_found


def main() -> None:
    """Wait for the owner's end, and end what is left."""
    sys.stdin.buffer.read()
    num_quiet = 0
    while num_quiet < _LOOKS:
        num_quiet = 0 if end_marked(sys.argv[1]) else num_quiet + 1
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
