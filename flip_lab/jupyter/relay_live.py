"""WebSockets, handed on to the API's process with both ends' speed and last words."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import ensure_async
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.relay import RESOURCE
from flip_lab.jupyter.upstream import headers_for_api, path_for_api

_RESTART = 1012
"""The close code that says: connect again."""

_ANSWER_S = 300.0
"""As long as a request may take: who is slow is not dead, and is not to be replaced."""

_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})


class LiveRelay(WebSocketMixin, WebSocketHandler, JupyterHandler):  # pyright: ignore[reportIncompatibleMethodOverride]  # Jupyter's own two
    """Hands a WebSocket's messages on, both ways.

    Who reads slowly is waited for, so that the API knows. Jupyter's identity, its check
    of foreign origins, and its authorizer come first.
    """

    def initialize(self, supervisor: ApiSupervisor, mount: str) -> None:
        """Keep what the extension gives."""
        self._supervisor = supervisor
        self._mount = mount
        self._api: ClientConnection | None = None
        self._passing_back: asyncio.Task[None] | None = None

    @ws_authenticated
    async def get(self) -> None:
        """Connect to the API first, so that its refusal is ours."""
        is_allowed = await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", RESOURCE)
        )
        if not is_allowed:
            raise web.HTTPError(HTTPStatus.FORBIDDEN, "You may not watch here.")
        try:
            self._api = await self._connected()
        except InvalidStatus as refusal:
            raise web.HTTPError(refusal.response.status_code) from refusal
        try:
            await super().get()
        finally:  # it has ended, or never was: of a foreign page, or one that has gone
            await self._leave()

    async def open(self) -> None:
        """Begin to pass the API's messages back."""
        super().open()  # pyright: ignore[reportUnknownMemberType]  # has no types
        self._passing_back = asyncio.create_task(self._pass_back())

    async def on_message(self, message: str | bytes) -> None:
        """Hand a message on; the next is read when the API has taken it."""
        try:
            await self._to_api().send(message)
        except ConnectionClosed:
            self.log.debug("The API has closed %s.", self.request.path)

    async def _leave(self) -> None:
        """Let the API know."""
        if self._passing_back is not None:
            self._passing_back.cancel()
        await self._to_api().close()

    def _to_api(self) -> ClientConnection:
        assert self._api is not None  # noqa: S101  # `get` has connected
        return self._api

    async def _connected(self) -> ClientConnection:
        path = await self._supervisor.socket()
        try:
            return await self._connect(path)
        except OSError:  # nobody listens: the process has died
            return await self._connect(await self._supervisor.another_socket(path))

    async def _connect(self, socket: str) -> ClientConnection:
        path = path_for_api(self.request, self._mount)
        return await unix_connect(
            socket,
            f"ws://localhost{path}",
            additional_headers=headers_for_api(self.request.headers)[1:],
            user_agent_header=None,
            compression=None,
            max_size=None,
            open_timeout=_ANSWER_S,
            ping_interval=None,  # the API pings
        )

    async def _pass_back(self) -> None:
        api = self._to_api()
        try:
            async for message in api:
                await self.write_message(message, binary=isinstance(message, bytes))
        except (ConnectionClosed, WebSocketClosedError):
            self.log.debug("%s has ended.", self.request.path)
        code = api.close_code
        can_say = code is not None and code not in _NEVER_SENT
        self.close(code if can_say else _RESTART, api.close_reason or None)
