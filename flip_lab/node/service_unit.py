"""systemd units: what keeps a program of ours running, and in its own directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_@:,./=+-]+")


def service_unit(
    what: str, command: Sequence[str], *, user: str, writable: Path, more: Sequence[str]
) -> str:
    """Write a unit that comes back after any failure, and writes in one directory alone.

    Args:
        what: What it is, on one line.
        command: The program and its arguments.
        user: Who runs it.
        writable: The one directory.
        more: Further settings of the service.
    """
    words = " ".join(_quoted(word).replace("$", "$$") for word in command)
    settings = [
        "Type=exec",
        f"User={_plain(user)}",
        f"ExecStart={words}",
        "Restart=always",
        "RestartSec=5",
        *more,
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={_quoted(str(writable))}",
        "UMask=0077",
    ]
    return "\n".join(
        [
            "[Unit]",
            f"Description={_plain(what)}",
            "Wants=network-online.target time-sync.target",
            "After=network-online.target time-sync.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            *settings,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _plain(text: str) -> str:
    """Write a text of one line; ``%`` begins a name of systemd's."""
    return " ".join(text.splitlines()).replace("%", "%%")


def _quoted(word: str) -> str:
    """Write a word, in quotes where it needs them."""
    if _PLAIN.fullmatch(word):
        return word
    inside = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'.replace("%", "%%")
