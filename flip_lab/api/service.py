"""What every route works with: the lab, who asks, and whether they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, cast

from anyio import to_thread
from fastapi import Depends
from starlette.requests import HTTPConnection

from flip_lab.api.access import Access, Person, Scope
from flip_lab.api.live.answers import Answers
from flip_lab.api.live.hub import Hub
from flip_lab.api.live.roster import Roster
from flip_lab.api.live.shelf import EventShelf
from flip_lab.api.live.states import States
from flip_lab.api.live.telemetry import Telemetry
from flip_lab.api.pages.feed import Feeds
from flip_lab.api.uploads.kept import LARGEST_BYTES, Uploads
from flip_lab.core.errors import (
    NotAllowedError,
    NotAuthenticatedError,
    RunNotFoundError,
)
from flip_lab.runs import life_sign
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.audit_writer import acting_as
from flip_lab.store.layout import LabDir

ADMITTED_S = 10.0
"""How often who has a WebSocket open is looked up again: tokens are revoked, and end."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the app serves.

    Attributes:
        lab: The lab.
        access: Says who asks.
        roster: The list of runs, kept up to date.
        hub: Those who follow the list, or a run.
        telemetry: What the server counts about itself.
        states: What answers depend on.
        answers: Answers that are good still.
        events: Events of runs, written.
        feeds: The boards that pages look at.
        largest_upload_bytes: The largest upload that is taken.
        own_federation: What a hub's own lab calls the hub; empty for other labs.
    """

    lab: Lab
    access: Access
    roster: Roster
    hub: Hub
    telemetry: Telemetry
    states: States
    events: EventShelf
    answers: Answers = field(default_factory=Answers)
    feeds: Feeds = field(default_factory=Feeds)
    largest_upload_bytes: int = LARGEST_BYTES
    own_federation: str = ""

    @property
    def uploads(self) -> Uploads:
        """What was uploaded to the lab."""
        return Uploads(self.lab_dir, largest_bytes=self.largest_upload_bytes)

    @property
    def lab_dir(self) -> LabDir:
        """The lab's directory, for what works on files."""
        return LabDir(self.lab.path)

    def run(self, run_id: str, *, exactly: bool = False) -> Run:
        """Find a run; one that died is given its end first.

        Args:
            run_id: Its id, or the beginning or end of it if only one run has that.
            exactly: Whether only its whole id will do: what changes a run should not
                depend on which other runs there are.

        Raises:
            RunNotFoundError: If there is none, or more than one.
        """
        # A run that the roster knows need not be looked for among thousands.
        is_known = self.roster.row(run_id) is not None
        run = Run(self.lab_dir, run_id) if is_known else self.lab.run(run_id)
        if exactly and run.run_id != run_id:
            raise RunNotFoundError(
                f"{run_id!r} is a part of an id only.",
                fix=f"Name the run by its whole id to change it: {run.run_id}.",
            )
        if life_sign.needs_a_look(self.lab_dir.run_dir(run.run_id)):
            _ = run.state
        return run


def service_of(connection: HTTPConnection) -> Service:
    """Give what the app of a request or WebSocket serves."""
    return cast("Service", connection.app.state.service)


async def admitted(connection: HTTPConnection, scope: Scope) -> Person:
    """Give who asks; who must be looked up, as at a hub, is so in a thread.

    Raises:
        NotAuthenticatedError: If nobody knows.
        NotAllowedError: If they may not do that.
    """
    access = service_of(connection).access
    person = access.known(connection.headers)
    if person is None:
        person = await to_thread.run_sync(access.who, connection.headers)
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


async def while_admitted(
    connection: HTTPConnection, serving: Coroutine[None, None, None]
) -> None:
    """Serve a WebSocket as long as whoever opened it may look, and no longer.

    Args:
        connection: The WebSocket.
        serving: Serves it until either side goes.

    Raises:
        NotAuthenticatedError: If their token was revoked, or came to its end.
        FlipLabError: As ``serving``.
    """
    task = asyncio.ensure_future(serving)
    try:
        while not (await asyncio.wait({task}, timeout=ADMITTED_S))[0]:
            await admitted(connection, "read")
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _reader(connection: HTTPConnection) -> Person:
    return await admitted(connection, "read")


async def _writer(connection: HTTPConnection) -> AsyncGenerator[Person]:
    """Let what the route does be done in the name of whoever asks."""
    person = await admitted(connection, "write")
    with acting_as(person.name):  # a route's thread works with a copy of this context
        yield person


Serving: TypeAlias = Annotated[Service, Depends(service_of)]
"""The app's service, as a route's parameter."""

Reader: TypeAlias = Annotated[Person, Depends(_reader)]
"""Somebody who may look."""

Writer: TypeAlias = Annotated[Person, Depends(_writer)]
"""Somebody who may start, steer and change."""
