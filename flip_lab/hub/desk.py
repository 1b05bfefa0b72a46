"""Looking after a hub from afar; ``local_desk`` answers the same at its own directory."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import quote

from flip_lab.hub.answers import (
    EnrolmentMade,
    EnrolmentRow,
    Enrolments,
    NodeRow,
    Nodes,
    TokenMade,
    TokenRow,
    Tokens,
)
from flip_lab.hub.wishes import EnrolmentWish, TagWish, TokenWish
from flip_lab.node.hub_line import HubLine
from flip_lab.node.trust import context_for

_PREFIX = "/flip/v1/hub"


class Desk(Protocol):
    """What those can ask for who look after a hub; every call may raise a coded error."""

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the hub."""
        ...

    def tokens(self) -> Tokens:
        """List every token."""
        ...

    def make_token(self, wish: TokenWish) -> TokenMade:
        """Make a token."""
        ...

    def revoke_token(self, token_id: str) -> TokenRow:
        """Let a token open nothing any more."""
        ...

    def nodes(self) -> Nodes:
        """List every node."""
        ...

    def tag_node(self, name: str, wish: TagWish) -> NodeRow:
        """Give a node tags, or take some away."""
        ...

    def revoke_node(self, name: str) -> NodeRow:
        """Let a node in no more."""
        ...

    def enrolments(self) -> Enrolments:
        """List every enrolment."""
        ...

    def make_enrolment(self, wish: EnrolmentWish) -> EnrolmentMade:
        """Make a one-time token for a device."""
        ...

    def withdraw_enrolment(self, enrolment_id: str) -> EnrolmentRow:
        """Let no device enrol with a token any more."""
        ...


class RemoteDesk:
    """From afar, with an admin's token.

    Args:
        hub: ``host:port``.
        token: The token.
        authorities: A PEM file with the hub's authority; ``None``: the system's.

    Raises:
        HubStateError: If the file cannot be read.
        FederationUnreachableError: If the address is none.
    """

    def __init__(self, hub: str, token: str, authorities: Path | None) -> None:
        """Connect to nothing yet."""
        context = ssl.create_default_context() if authorities is None else None
        context = context or context_for(authorities or Path())
        self._line = HubLine(hub, context, {"authorization": f"Bearer {token}"})

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the connection."""
        self._line.__exit__(*exc_info)

    def tokens(self) -> Tokens:
        """List every token."""
        return self._line.ask("GET", f"{_PREFIX}/tokens", Tokens)

    def make_token(self, wish: TokenWish) -> TokenMade:
        """Make a token."""
        return self._line.ask("POST", f"{_PREFIX}/tokens", TokenMade, wish)

    def revoke_token(self, token_id: str) -> TokenRow:
        """Let a token open nothing any more."""
        return self._line.ask("DELETE", f"{_PREFIX}/tokens/{_part(token_id)}", TokenRow)

    def nodes(self) -> Nodes:
        """List every node."""
        return self._line.ask("GET", f"{_PREFIX}/nodes", Nodes)

    def tag_node(self, name: str, wish: TagWish) -> NodeRow:
        """Give a node tags, or take some away."""
        return self._line.ask("PATCH", f"{_PREFIX}/nodes/{_part(name)}", NodeRow, wish)

    def revoke_node(self, name: str) -> NodeRow:
        """Let a node in no more."""
        return self._line.ask("DELETE", f"{_PREFIX}/nodes/{_part(name)}", NodeRow)

    def enrolments(self) -> Enrolments:
        """List every enrolment."""
        return self._line.ask("GET", f"{_PREFIX}/enrolments", Enrolments)

    def make_enrolment(self, wish: EnrolmentWish) -> EnrolmentMade:
        """Make a one-time token for a device."""
        return self._line.ask("POST", f"{_PREFIX}/enrolments", EnrolmentMade, wish)

    def withdraw_enrolment(self, enrolment_id: str) -> EnrolmentRow:
        """Let no device enrol with a token any more."""
        path = f"{_PREFIX}/enrolments/{_part(enrolment_id)}"
        return self._line.ask("DELETE", path, EnrolmentRow)


def _part(text: str) -> str:
    """Write a name as one part of a path."""
    return quote(text, safe="") or "-"
