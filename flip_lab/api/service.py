"""What every route works with: the lab, who asks, and whether they may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from flip_lab.api.access import Access, Person, Scope
from flip_lab.core.errors import NotAllowedError, NotAuthenticatedError
from flip_lab.runs.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the app serves.

    Attributes:
        lab: The lab.
        access: Says who asks.
    """

    lab: Lab
    access: Access


def service_of(connection: HTTPConnection) -> Service:
    """Give what the app of a request or WebSocket serves."""
    return cast("Service", connection.app.state.service)


def admitted(connection: HTTPConnection, scope: Scope) -> Person:
    """Give who asks.

    Raises:
        NotAuthenticatedError: If nobody knows.
        NotAllowedError: If they may not do that.
    """
    person = service_of(connection).access.who(connection.headers)
    if person is None:
        raise NotAuthenticatedError(
            "This API does not know who asks.",
            fix="Send the header 'Authorization: Bearer <token>'; "
            "flip-lab serve prints the token when it starts.",
        )
    if scope not in person.scopes:
        raise NotAllowedError(
            f"{person.name} may not {scope} here.", fix="Ask the lab's owner for that role."
        )
    return person


def _reader(connection: HTTPConnection) -> Person:
    return admitted(connection, "read")


def _writer(connection: HTTPConnection) -> Person:
    return admitted(connection, "write")


Serving: TypeAlias = Annotated[Service, Depends(service_of)]
"""The app's service, as a route's parameter."""

Reader: TypeAlias = Annotated[Person, Depends(_reader)]
"""Somebody who may look."""

Writer: TypeAlias = Annotated[Person, Depends(_writer)]
"""Somebody who may start, steer and change."""
