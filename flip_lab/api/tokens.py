"""The token that opens a served lab: made once, for its owner's eyes."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from flip_lab.core.errors import InvalidValueError, NotAllowedError
from flip_lab.store.layout import explained

_TOKEN_BYTES = 32
_LEAST_CHARACTERS = 16


def token_in(path: Path) -> str:
    """Give the token that a file keeps; the file is made where there is none.

    Args:
        path: The file; only its owner may read it.

    Raises:
        NotAllowedError: If others may read it, too.
        InvalidValueError: If it holds no token.
        StoreNotWritableError: If it cannot be read or made.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _kept_token(path)
        with os.fdopen(made, "w", encoding="ascii") as file:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            file.write(f"{token}\n")
        return token


def _kept_token(path: Path) -> str:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotAllowedError(
            f"Others than its owner may read the token in {path}.",
            fix=f"Close it (chmod 600 {path}), or delete it: a new one is made.",
        )
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if len(token) < _LEAST_CHARACTERS or not token.isprintable() or " " in token:
        raise InvalidValueError(
            f"{path} holds no token.",
            fix=f"Write at least {_LEAST_CHARACTERS} characters without spaces into it, "
            "or delete it: a new one is made.",
        )
    return token
