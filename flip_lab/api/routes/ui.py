"""The scripts and style sheets of the boards, the same that notebooks use."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from flip_lab.api.documents import content, told
from flip_lab.api.etags import is_known, tag_of
from flip_lab.api.service import Reader
from flip_lab.boards.scripts import BOARDS, script, style
from flip_lab.core.errors import NoSuchPlaceError, nearest

router = APIRouter(tags=["boards"])

_CACHE = "private, no-cache"  # kept, and asked for again: an update serves another one


@router.get(
    "/ui/{name}.js",
    response_class=Response,
    responses={200: content("text/javascript"), **told(304, 404)},
)
def board_script(name: str, request: Request, _person: Reader) -> Response:
    """Give a board's module: ``default.render({model, el})`` draws it, as in a widget."""
    return _file(request, name, script, "text/javascript")


@router.get(
    "/ui/{name}.css",
    response_class=Response,
    responses={200: content("text/css"), **told(304, 404)},
)
def board_style(name: str, request: Request, _person: Reader) -> Response:
    """Give a board's style sheet; its rules are about elements of boards only."""
    return _file(request, name, style, "text/css")


def _file(
    request: Request, name: str, text_of: Callable[[str], str], kind: str
) -> Response:
    if name not in BOARDS:
        raise NoSuchPlaceError(
            f"There is no board {name!r:.40}.", fix=nearest(name, BOARDS)
        )
    body = text_of(name).encode()
    headers = {"ETag": tag_of(body), "Cache-Control": _CACHE}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=f"{kind}; charset=utf-8", headers=headers)
