"""What happens now, by WebSocket: changes of the list of runs, and events of one run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query, WebSocket
from starlette.concurrency import run_in_threadpool

from flip_lab.api.live.listing import NOW
from flip_lab.api.live.subscriber import Subscriber
from flip_lab.api.service import Reader, Serving, while_admitted

router = APIRouter(tags=["live"])

_LARGEST = 2**62

Position: TypeAlias = Annotated[
    int,
    Query(
        ge=NOW,
        le=_LARGEST,
        description="`position` of the list that the page has; -1 for what is to come.",
    ),
]
Reached: TypeAlias = Annotated[
    int,
    Query(ge=-1, le=_LARGEST, description="The sequence that the page has reached."),
]


@router.websocket("/live")
async def watch_list(
    websocket: WebSocket,
    service: Serving,
    person: Reader,
    *,
    after: Position = NOW,
) -> None:
    """Tell what changes in the list of runs.

    Messages: `runs` with rows that came or changed, ids of runs that are `gone`, and the
    `position` after that; `reload` to somebody who was away for too long: read the list
    again; `heartbeat`. A page that reads the list meanwhile leaves out what is not behind
    the position of what it read.
    """
    del person
    with service.hub.watching_list() as feed:
        page = Subscriber(websocket, feed, after=after, telemetry=service.telemetry)
        await while_admitted(websocket, page.serve())


@router.websocket("/runs/{run_id}/live")
async def watch_run(
    websocket: WebSocket,
    service: Serving,
    person: Reader,
    run_id: str,
    *,
    after: Reached = -1,
) -> None:
    """Tell a run's events: those there are, and those that come, each once and in order.

    Messages: `events` with the sequence `reached`, and where a run was taken up again
    `superseded`: pairs of sequences, what lies between them counts no more; `heartbeat`;
    `end` with the `state` that it ended in, and then the WebSocket is closed.
    """
    del person
    if service.roster.row(run_id) is None:  # a part of an id, or no run
        run_id = (await run_in_threadpool(service.run, run_id)).run_id
    with service.hub.watching_run(run_id, after) as feed:
        page = Subscriber(websocket, feed, after=after, telemetry=service.telemetry)
        await while_admitted(websocket, page.serve())
