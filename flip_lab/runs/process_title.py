"""What ``ps`` and ``/proc`` say of a process: for a copy that became something else.

Linux keeps a process's arguments and environment where it put them at the start. A copy
may name another place (``prctl(PR_SET_MM, PR_SET_MM_MAP)``, allowed to everybody).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_MM = 35
_PR_SET_MM_MAP = 14
_NO_FILE = 0xFFFFFFFF  # -1: the executable stays
_shown: list[ctypes.Array[ctypes.c_char]] = []  # read by the kernel as long as we live


class _Map(ctypes.Structure):
    """``struct prctl_mm_map`` of ``linux/prctl.h``."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("start_code", "end_code")),
        *((name, ctypes.c_uint64) for name in ("start_data", "end_data")),
        *((name, ctypes.c_uint64) for name in ("start_brk", "brk", "start_stack")),
        *((name, ctypes.c_uint64) for name in ("arg_start", "arg_end")),
        *((name, ctypes.c_uint64) for name in ("env_start", "env_end", "auxv")),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    )


def show(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Let ``/proc`` show this process as if it had been started so.

    Args:
        arguments: The command line.
        environment: The variables.

    Returns:
        Whether the kernel took it; nothing else depends on it.
    """
    words = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in arguments)
    pairs = (f"{name}={value}" for name, value in environment.items())
    rest = b"".join(pair.encode("utf-8", "surrogateescape") + b"\0" for pair in pairs)
    _shown[:] = [ctypes.create_string_buffer(words + rest, len(words) + len(rest))]
    here = ctypes.addressof(_shown[0])
    try:
        layout = _layout_now()
        layout.arg_start, layout.arg_end = here, here + len(words)
        layout.env_start, layout.env_end = here + len(words), here + len(words) + len(rest)
        prctl = ctypes.CDLL(None).prctl
    except (OSError, ValueError, AttributeError, IndexError):
        return False  # another system, or one that hides it
    size = ctypes.c_ulong(ctypes.sizeof(layout))
    mode = ctypes.c_ulong(_PR_SET_MM_MAP)
    return prctl(_PR_SET_MM, mode, ctypes.byref(layout), size, ctypes.c_ulong(0)) == 0


def _layout_now() -> _Map:
    """Read where things are; field numbers are those of ``man 5 proc``."""
    text = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    after_name = text.rpartition(")")[2].split()
    field = {number + 3: int(word) for number, word in enumerate(after_name) if number}
    sbrk = ctypes.CDLL(None).sbrk
    sbrk.restype = ctypes.c_void_p
    return _Map(
        start_code=field[26],
        end_code=field[27],
        start_stack=field[28],
        start_data=field[45],
        end_data=field[46],
        start_brk=field[47],
        brk=sbrk(0),
        exe_fd=_NO_FILE,
    )
