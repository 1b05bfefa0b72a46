"""Boards by WebSocket: the control room of a run, and what else is live in a notebook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams

from flip_lab.api.access import Person
from flip_lab.api.pages.page import Page
from flip_lab.api.service import Reader, Service, Serving
from flip_lab.boards.run.board import RunBoard
from flip_lab.core.errors import NoSuchPlaceError, RequestError, nearest

router = APIRouter(tags=["boards"])

_Open: TypeAlias = Callable[[WebSocket, Service, Person], Awaitable[Page]]


@router.websocket("/boards/{kind}")
async def show_board(
    websocket: WebSocket, kind: str, service: Serving, person: Reader
) -> None:
    """Show a board to a page, and do what the page asks for; deeds need a writer."""
    if kind not in _KINDS:
        raise NoSuchPlaceError(
            f"There is no board {kind!r:.40}.", fix=nearest(kind, _KINDS)
        )
    page = await _KINDS[kind](websocket, service, person)
    await page.serve()


async def _run(websocket: WebSocket, service: Service, person: Person) -> Page:
    run_id = _one(websocket.query_params, "run_id")
    run = await run_in_threadpool(service.run, run_id)
    feed = service.feeds.of_run(run)
    board = feed.board
    may = "write" in person.scopes and isinstance(board, RunBoard) and board.can_steer
    return Page(websocket, feed, person, own={"can_steer": may})


_KINDS: Mapping[str, _Open] = MappingProxyType({"run": _run})


def _one(query: QueryParams, name: str) -> str:
    """Give a parameter that there must be.

    Raises:
        RequestError: If it is missing.
    """
    if not (value := query.get(name, "")):
        raise RequestError(f"{name} is missing.", fix=f"Add ?{name}=… to the address.")
    return value
