"""Secrets that are shown once: of each the hub keeps a hash alone.

They are 256 random bits, so a plain hash is enough: there is nothing to guess at
(NIST SP 800-63B, look-up secrets of at least 112 bits need no slow hash).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads as something else
_ID_CHARACTERS = 10
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A new secret.

    Attributes:
        id: Names it in lists and logs.
        text: The secret itself: letters, digits, ``-`` and ``_``.
    """

    id: str
    text: str

    def __repr__(self) -> str:
        return f"Secret(id={self.id!r})"

    @property
    def hash(self) -> str:
        """What is kept of it."""
        return hash_of(self.text)


def new_secret() -> Secret:
    """Make one."""
    name = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARACTERS))
    return Secret(id=name, text=secrets.token_urlsafe(_SECRET_BYTES))


def hash_of(text: str) -> str:
    """Give what is kept of a secret: SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def is_secret(text: str, kept: str) -> bool:
    """Say whether a text is the secret that a hash was kept of, in constant time."""
    return secrets.compare_digest(hash_of(text), kept)
