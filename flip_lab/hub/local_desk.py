"""Looking after a hub at its own directory: whoever may write there is its admin."""

from __future__ import annotations

from typing import Self

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
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.enrolment import list_enrolments, make_enrolment, withdraw_enrolment
from flip_lab.hub.nodes import list_nodes, revoke_node, tag_node
from flip_lab.hub.place import HubPlace
from flip_lab.hub.tokens import list_tokens, make_token, revoke_token
from flip_lab.hub.wishes import EnrolmentWish, TagWish, TokenWish


class LocalDesk:
    """A hub's own directory, as a desk.

    Args:
        place: The hub; it may be up meanwhile, and notices within a second.

    Raises:
        HubStateError: If its database is missing or damaged.
    """

    def __init__(self, place: HubPlace) -> None:
        """Open the database."""
        self._place = place
        self._database = HubDatabase(place)

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the database."""
        self._database.close()

    def tokens(self) -> Tokens:
        """List every token."""
        return list_tokens(self._database)

    def make_token(self, wish: TokenWish) -> TokenMade:
        """Make a token."""
        return make_token(self._database, wish)

    def revoke_token(self, token_id: str) -> TokenRow:
        """Let a token open nothing any more."""
        return revoke_token(self._database, token_id)

    def nodes(self) -> Nodes:
        """List every node."""
        return list_nodes(self._database)

    def tag_node(self, name: str, wish: TagWish) -> NodeRow:
        """Give a node tags, or take some away."""
        return tag_node(self._database, name, add=wish.add, remove=wish.remove)

    def revoke_node(self, name: str) -> NodeRow:
        """Let a node in no more."""
        return revoke_node(self._database, name)

    def enrolments(self) -> Enrolments:
        """List every enrolment."""
        return list_enrolments(self._database)

    def make_enrolment(self, wish: EnrolmentWish) -> EnrolmentMade:
        """Make a one-time token for a device."""
        return make_enrolment(self._place, self._database, wish)

    def withdraw_enrolment(self, enrolment_id: str) -> EnrolmentRow:
        """Let no device enrol with a token any more."""
        return withdraw_enrolment(self._database, enrolment_id)
