"""Who may do what: the seam behind which every way to log in stands."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Scope = Literal["read", "write", "drive", "admin"]
"""What a route needs: to look; to start, steer and change; and at a hub, to drive runs on
its nodes, or to say who is let in."""

_BEARER = "bearer "
_SUBPROTOCOL = "bearer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks.

    Attributes:
        name: Who, as the lab's log shows it.
        scopes: What they may do.
    """

    name: str
    scopes: frozenset[Scope]


class Access(Protocol):
    """Says who asks; a hub's accounts are one more of these."""

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give who sent a request or opened a WebSocket; ``None`` for a stranger.

        Args:
            headers: The request's headers, names in lower case. A page cannot set headers
                of a WebSocket; it offers the subprotocol ``bearer.<token>`` instead.
        """
        ...

    def known(self, headers: Mapping[str, str]) -> Person | None:
        """Give the same at once, if that takes no look at any file.

        Args:
            headers: As of ``who``.

        Returns:
            ``None`` for a stranger, and for whom ``who`` may know.
        """
        ...


class TokenAccess:
    """One token opens everything: a lab of one person, on loopback.

    Args:
        token: The secret, compared in constant time.
        name: Whose it is.
    """

    def __init__(self, token: str, *, name: str) -> None:
        """Keep the token in memory only."""
        self._token = token.encode()
        self._person = Person(name=name, scopes=frozenset({"read", "write"}))

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give the owner if the token is right."""
        shown = shown_token(headers).encode()
        return self._person if secrets.compare_digest(shown, self._token) else None

    known = who


class OwnerAccess:
    """Whoever gets here is the owner: the socket is one that only the owner can open.

    Args:
        name: Who that is.
    """

    def __init__(self, *, name: str) -> None:
        """Ask for nothing."""
        self._person = Person(name=name, scopes=frozenset({"read", "write"}))

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give the owner."""
        del headers
        return self._person

    known = who


def shown_token(headers: Mapping[str, str]) -> str:
    """Give the token that a request or WebSocket shows; empty if it shows none."""
    told = headers.get("authorization", "")
    if told.lower().startswith(_BEARER):
        return told[len(_BEARER) :].strip()
    offered = headers.get("sec-websocket-protocol", "").split(",")
    names = [each.strip() for each in offered]
    shown = [name.removeprefix(_SUBPROTOCOL) for name in names if _SUBPROTOCOL in name]
    return shown[0] if shown else ""
