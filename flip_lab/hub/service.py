"""What every route of a hub works with: its parts, who asks, and whether they may."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Annotated, TypeAlias, cast

from anyio import to_thread
from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from flip_lab.api.access import Person, Scope
from flip_lab.core.errors import (
    NodeRevokedError,
    NotAllowedError,
    NotAuthenticatedError,
)
from flip_lab.engines.flower.superlink_state import HubLinkState
from flip_lab.hub.access import HubAccess
from flip_lab.hub.bells import Bells
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.node_keys import NodeKeys
from flip_lab.hub.place import HubPlace, HubSettings
from flip_lab.hub.presence import Presence
from flip_lab.node.signing import Nonces, Proof, verify
from flip_lab.node.signing import Request as Signed
from flip_lab.runs.lab import Lab
from flip_lab.store.audit_writer import acting_as


@dataclass(frozen=True, kw_only=True)
class HubService:
    """The parts of an active hub.

    Attributes:
        place: Its directory.
        settings: What ``hub.toml`` says.
        database: What is true when hubs, nodes and researchers come and go.
        lab: Its own lab.
        access: Says who shows a token.
        state: What Flower knows of nodes, runs and messages; gone with this process.
        keys: Which nodes are let in.
        presence: Which nodes are there.
        bells: End the waits of those who are told of what is new.
        nonces: What nodes signed lately.
        started_s: When it became the active hub, seconds since the Unix epoch.
    """

    place: HubPlace
    settings: HubSettings
    database: HubDatabase
    lab: Lab
    access: HubAccess
    state: HubLinkState
    keys: NodeKeys
    presence: Presence
    bells: Bells
    started_s: float
    nonces: Nonces = field(default_factory=Nonces)
    _turn: Lock = field(default_factory=Lock, repr=False)

    def learn_nodes(self) -> None:
        """Let in the nodes that the database says are enrolled, and no others.

        Called at the start, whenever the database's count of changes grows, and by routes
        that change it themselves, so that it counts at once.
        """
        with self._turn:  # who read the list earlier must not have the last word
            for node in self.keys.replace(self.database.nodes.list()):
                if node.is_enrolled:
                    self.state.admit(node.public_key)
                else:
                    self.state.dismiss(node.node_id)


def hub_of(connection: HTTPConnection) -> HubService:
    """Give the hub that a request or WebSocket came to."""
    return cast("HubService", connection.app.state.hub)


def _admitted(connection: HTTPConnection, scope: Scope) -> Person:
    """Give who asks.

    Raises:
        NotAuthenticatedError: If nobody knows.
        NotAllowedError: If they may not do that.
    """
    person = hub_of(connection).access.who(connection.headers)
    if person is None:
        raise NotAuthenticatedError(
            "The hub does not know who asks.",
            fix="Send the header 'Authorization: Bearer <token>'; flip-lab hub token "
            "makes one.",
        )
    if scope not in person.scopes:
        raise NotAllowedError(
            f"{person.name} may not {_DOING[scope]} at this hub.",
            fix="Ask the hub's admin for a token with another role.",
        )
    return person


_DOING = {
    "read": "look",
    "write": "change anything",
    "drive": "drive runs",
    "admin": "say who is let in",
}


def _reader(connection: HTTPConnection) -> Person:
    return _admitted(connection, "read")


@asynccontextmanager
async def _acting(connection: HTTPConnection, scope: Scope) -> AsyncGenerator[Person]:
    """Let what the route does be done in the name of whoever asks."""
    person = await to_thread.run_sync(partial(_admitted, connection, scope))
    with acting_as(person.name):  # a route's thread works with a copy of this context
        yield person


async def _writer(connection: HTTPConnection) -> AsyncGenerator[Person]:
    async with _acting(connection, "write") as person:
        yield person


async def _driver(connection: HTTPConnection) -> AsyncGenerator[Person]:
    async with _acting(connection, "drive") as person:
        yield person


async def _admin(connection: HTTPConnection) -> AsyncGenerator[Person]:
    async with _acting(connection, "admin") as person:
        yield person


async def _signed_by(request: Request) -> NodeRecord:
    """Give the node that signed a request, body included.

    Raises:
        NotAuthenticatedError: If none did, just now, and for the first time.
        NodeRevokedError: If the key is unknown, or no longer let in.
        ClockSkewError: If the clocks differ by more than a minute.
    """
    proof = Proof.of(request.headers)
    hub = hub_of(request)
    node = await to_thread.run_sync(hub.database.nodes.of_key, proof.fingerprint)
    if node is None or node.status != "enrolled":
        raise NodeRevokedError(
            "The hub does not know this node's key, or no longer lets it in.",
            fix="Enrol the node: flip-lab node enroll, with a token of the hub's admin.",
        )
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    signed = Signed(method=request.method, target=target, body=await request.body())
    verify(proof, node.public_key, signed, hub.nonces)
    return node


TheHub: TypeAlias = Annotated[HubService, Depends(hub_of)]
"""The hub, as a route's parameter."""

HubReader: TypeAlias = Annotated[Person, Depends(_reader)]
"""Somebody who may look."""

HubWriter: TypeAlias = Annotated[Person, Depends(_writer)]
"""Somebody who may start, steer and change what is in the hub's lab."""

HubDriver: TypeAlias = Annotated[Person, Depends(_driver)]
"""Somebody who may drive runs."""

HubAdmin: TypeAlias = Annotated[Person, Depends(_admin)]
"""Somebody who may say who is let in."""

SignedNode: TypeAlias = Annotated[NodeRecord, Depends(_signed_by)]
"""The enrolled node that signed the request."""
