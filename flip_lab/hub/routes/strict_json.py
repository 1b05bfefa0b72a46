"""Bodies that hold nothing but what JSON has (RFC 8259), from whoever sends them.

Python's reader also takes ``NaN`` and halves of characters. What was kept of such a body
could not be written as an answer: one node that reported it would blind everybody who lists
nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute


class StrictRoute(APIRoute):
    """A route that reads its body as JSON and as nothing wider."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Let FastAPI read the body so."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


class _StrictRequest(Request):
    """A request whose ``json`` refuses what no answer could hold."""

    async def json(self) -> Any:  # noqa: ANN401  # as in Starlette
        """Read the body.

        Raises:
            JSONDecodeError: If it is no JSON.
        """
        return orjson.loads(await self.body())
