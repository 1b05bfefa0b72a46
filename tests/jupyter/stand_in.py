"""An API that answers what the real one rarely does, started as the real one is.

It imports nothing of ours: it has to start quickly.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

PIECE = b"x" * 2**16

listeners: set[WebSocket] = set()


async def _seen(request: Request) -> Response:
    body = await request.body()
    told = {
        "headers": dict(request.headers),
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "body_bytes": len(body),
    }
    return Response(
        orjson.dumps(told),
        201 if request.method == "POST" else 200,
        headers={"ETag": '"7"', "Location": "/v1/runs/one", "Set-Cookie": "_xsrf=mine"},
    )


async def _endless(request: Request) -> Response:
    del request

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield PIECE
            await asyncio.sleep(0)  # hear that nobody listens any more

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def _unchanged(request: Request) -> Response:
    is_known = request.headers.get("if-none-match") == '"7"'
    return Response(None if is_known else b"{}", 304 if is_known else 200)


async def _dies(request: Request) -> Response:
    del request
    os._exit(0)


async def _listeners(request: Request) -> Response:
    del request
    return JSONResponse(len(listeners))


async def _problem(request: Request) -> Response:
    del request
    return JSONResponse({"code": "FLIP-705"}, 412, media_type="application/problem+json")


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    listeners.add(websocket)
    async for text in websocket.iter_text():
        if text == "end":
            await websocket.close(4404, "No such run.")
            break
        await websocket.send_text(text)
    listeners.discard(websocket)


async def _refuse(websocket: WebSocket) -> None:
    await websocket.close(4401)


APP = Starlette(
    routes=[
        Route("/v1/seen/{rest:path}", _seen, methods=["GET", "POST", "PATCH"]),
        Route("/v1/endless", _endless),
        Route("/v1/listeners", _listeners),
        Route("/v1/unchanged", _unchanged),
        Route("/v1/dies", _dies, methods=["GET", "POST"]),
        Route("/v1/problem", _problem, methods=["PATCH"]),
        WebSocketRoute("/v1/echo", _echo),
        WebSocketRoute("/v1/refused", _refuse),
    ]
)


def _follow(server: uvicorn.Server) -> None:
    """Say that the server is ready; end it with standard input."""
    while not server.started:
        time.sleep(0.01)
    sys.stdout.write('{"is_ready": true}\n')
    sys.stdout.flush()
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    SERVER = uvicorn.Server(uvicorn.Config(APP, uds=sys.argv[2], log_level="warning"))
    threading.Thread(target=_follow, args=(SERVER,), daemon=True).start()
    SERVER.run()
