"""The token that opens a site's endpoint: made once, for its owner's eyes."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from flip_lab.core.errors import HubStateError, InvalidValueError, NotAllowedError

_TOKEN_BYTES = 32
_LEAST_CHARACTERS = 16
_FIX = "Give a file in a directory that the node may write."


def site_token(path: Path) -> str:
    """Give the token that a file keeps; the file is made where there is none.

    Args:
        path: The file; only its owner may read it.

    Raises:
        HubStateError: If it cannot be read or made.
        NotAllowedError: If others may read it, too.
        InvalidValueError: If it holds no token.
    """
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _kept(path)
    except OSError as error:
        raise HubStateError(
            f"{path} cannot be used ({error.strerror}).", fix=_FIX
        ) from error
    with os.fdopen(made, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        file.write(f"{token}\n")
    return token


def _kept(path: Path) -> str:
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise HubStateError(
            f"{path} cannot be used ({error.strerror}).", fix=_FIX
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotAllowedError(
            f"Others than its owner may read the token in {path}.",
            fix=f"Close it (chmod 600 {path}), or delete it: a new one is made.",
        )
    if len(text) < _LEAST_CHARACTERS or not text.isprintable() or " " in text:
        raise InvalidValueError(
            f"{path} holds no token.",
            fix=f"Write at least {_LEAST_CHARACTERS} characters without spaces into it, "
            "or delete it: a new one is made.",
        )
    return text
