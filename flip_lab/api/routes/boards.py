"""Boards by WebSocket: the control room of a run, and what else is live in a notebook."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool

from flip_lab.api.access import Person
from flip_lab.api.pages.kinds import KINDS, make_board
from flip_lab.api.pages.page import Page
from flip_lab.api.service import Reader, Service, Serving, admitted, while_admitted
from flip_lab.api.sockets import accept
from flip_lab.boards.run.board import RunBoard
from flip_lab.core.errors import NoSuchPlaceError, RequestError, nearest

router = APIRouter(tags=["boards"])


@router.websocket("/boards/{kind}")
async def show_board(
    websocket: WebSocket, kind: str, service: Serving, person: Reader
) -> None:
    """Show a board to a page, and do what the page asks for; deeds need a writer."""
    query = websocket.query_params
    if kind not in KINDS:
        raise NoSuchPlaceError(f"There is no board {kind!r:.40}.", fix=nearest(kind, KINDS))
    await accept(websocket)  # first: a page's patience ends before a board is made at times
    if kind == "run":
        page = await _run_page(websocket, service, person)
    else:
        feed = await service.feeds.alone(
            lambda: make_board(kind, service.lab, query, person)
        )
        page = Page(websocket, feed, person, check=partial(admitted, websocket, "write"))
    await while_admitted(websocket, page.serve())


async def _run_page(websocket: WebSocket, service: Service, person: Person) -> Page:
    run_id = websocket.query_params.get("run_id", "")
    if not run_id:
        raise RequestError(
            "run_id is missing.", fix="Add ?run_id=… to the address; /runs lists them."
        )
    feed = service.feeds.of_run(await run_in_threadpool(service.run, run_id))
    board = feed.board
    may = "write" in person.scopes and isinstance(board, RunBoard) and board.can_steer
    check = partial(admitted, websocket, "write")
    return Page(websocket, feed, person, check=check, own={"can_steer": may})
