"""Who asks: the hub's tokens as people with scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from threading import Lock
from typing import cast

from flip_lab.api.access import Person, Scope, shown_token
from flip_lab.core.clock import tick_s
from flip_lab.hub.database_tokens import SCOPES, Tokens

_FRESH_S = 2.0
_MOST = 1024


class HubAccess:
    """Looks tokens up in the hub's database, and remembers right ones for two seconds.

    So a driver that asks ten times a second costs one look, and a revoked token opens
    nothing two seconds on.

    Args:
        tokens: The database's table.
    """

    def __init__(self, tokens: Tokens) -> None:
        """Know nobody yet."""
        self._tokens = tokens
        self._turn = Lock()
        self._known: dict[bytes, tuple[Person, float]] = {}

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give who sent a request; may read the database.

        Args:
            headers: The request's headers, names in lower case.
        """
        person = self.known(headers)
        if person is not None:
            return person
        token = shown_token(headers)
        record = self._tokens.check(token) if token else None
        if record is None:
            return None
        scopes = cast("frozenset[Scope]", SCOPES[record.role])
        person = Person(name=record.person, scopes=scopes)
        with self._turn:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[_mark(token)] = (person, tick_s() + _FRESH_S)
        return person

    def known(self, headers: Mapping[str, str]) -> Person | None:
        """Give who sent a request if that was looked up just now; reads nothing."""
        found = self._known.get(_mark(shown_token(headers)))
        return found[0] if found is not None and found[1] > tick_s() else None


def _mark(token: str) -> bytes:
    """Give what is kept of a token in memory: not the token."""
    return hashlib.sha256(token.encode(errors="replace")).digest()
