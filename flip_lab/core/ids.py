"""Names for runs: short enough to type, sorted by time, unique on a shared disk."""

from __future__ import annotations

import secrets

from flip_lab.core.clock import at_utc, now_s

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads as something else


def new_run_id() -> str:
    """Make a run id such as ``261121-194512-q7xd``: UTC date, time, four random letters.

    Returns:
        18 characters from ``a-z``, ``0-9`` and ``-``; ids made later sort later.
    """
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{at_utc(now_s()):%y%m%d-%H%M%S}-{tail}"
