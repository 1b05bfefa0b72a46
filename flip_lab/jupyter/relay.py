"""Requests, handed on to the API's process: Jupyter has said who asks."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from types import TracebackType
from typing import cast

import httpx
import orjson
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado import web
from tornado.iostream import StreamClosedError

from flip_lab.core.errors import ApiError, NotAllowedError, NotAuthenticatedError
from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.problems import MEDIA_TYPE, ProblemError, died, problem
from flip_lab.jupyter.upstream import headers_for_api, path_for_api

RESOURCE = "flip_lab"
"""What Jupyter's authorizer is asked about."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

_NOT_PASSED_BACK = frozenset(
    {"connection", "date", "keep-alive", "server", "set-cookie", "transfer-encoding"}
)

_SANDBOX = "sandbox allow-downloads allow-popups allow-scripts"
"""A run's report or artifact must not be able to act with the cookies of Jupyter."""

_TIMEOUT = httpx.Timeout(300.0, connect=10.0)

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used; httpx would load certificates for each request."""

_Raised = tuple[type[BaseException], BaseException, TracebackType]


class Relay(JupyterHandler):
    """Hands a request on, and streams the answer back.

    Jupyter's identity, its check of XSRF tokens and of foreign origins, and its authorizer
    come first.
    """

    def initialize(self, supervisor: ApiSupervisor, mount: str) -> None:
        """Keep what the extension gives."""
        self._supervisor = supervisor
        self._mount = mount
        self._answering: asyncio.Task[None] | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse strangers and foreign pages; no redirect, this is an API."""
        await super().prepare(_redirect_to_login=False)

    def compute_etag(self) -> str | None:
        """Leave the API's ETag alone: a page sends it back with a change."""
        return None

    def get_login_url(self) -> str:
        """Refuse a stranger instead of sending him to a form."""
        raise web.HTTPError(HTTPStatus.FORBIDDEN, "Log in to Jupyter first.")

    @web.authenticated
    async def get(self) -> None:
        """Hand the request on."""
        await self._hand_on()

    head = post = delete = patch = put = options = get

    async def _hand_on(self) -> None:
        action = "read" if self.request.method in _READS else "write"
        is_allowed = await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, action, RESOURCE)
        )
        if not is_allowed:
            raise web.HTTPError(HTTPStatus.FORBIDDEN, f"You may not {action} here.")
        self._answering = asyncio.create_task(self._answer())
        try:
            await self._answering
        except (StreamClosedError, asyncio.CancelledError):
            self.log.debug("Nobody waits for %s any more.", self.request.path)

    def on_connection_close(self) -> None:
        """Drop the request when nobody waits for its answer."""
        if self._answering is not None:
            self._answering.cancel()

    async def _answer(self) -> None:
        try:
            await self._ask_whoever_listens()
        except httpx.TransportError as error:
            if self.request.method not in _READS or self._headers_written:
                raise died() from error
            await self._ask_once_more()

    async def _ask_once_more(self) -> None:
        try:
            await self._ask_whoever_listens()
        except httpx.TransportError as error:
            raise died() from error

    async def _ask_whoever_listens(self) -> None:
        path = await self._supervisor.socket()
        try:
            await self._ask(path)
        except httpx.ConnectError:  # nobody, so nobody has taken the request
            await self._ask(await self._supervisor.another_socket(path))

    async def _ask(self, socket: str) -> None:
        request = httpx.Request(
            str(self.request.method),
            f"http://localhost{path_for_api(self.request, self._mount)}",
            headers=headers_for_api(self.request.headers),
            content=self.request.body or None,
            extensions={"timeout": _TIMEOUT.as_dict()},
        )
        transport = httpx.AsyncHTTPTransport(uds=socket, verify=_NO_TLS)
        async with transport:
            response = await transport.handle_async_request(request)
            try:
                await self._pass_back(response)
            finally:
                await response.aclose()

    async def _pass_back(self, response: httpx.Response) -> None:
        self.set_status(response.status_code)
        self.clear_header("Content-Type")
        for name, value in response.headers.multi_items():
            if name == "location" and value.startswith("/"):
                self.add_header(name, self._mount + value)
            elif name not in _NOT_PASSED_BACK:
                self.add_header(name, value)
        self.add_header("Content-Security-Policy", _SANDBOX)
        async for chunk in response.aiter_raw():
            self.write(chunk)  # pyright: ignore[reportUnknownMemberType]  # a dict's types
            await self.flush()
        if self.request.method == "HEAD":
            await self.flush()

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Tell what went wrong as the API does."""
        raised = cast("_Raised | None", kwargs.get("exc_info"))
        error = raised[1] if raised else None
        told = error if isinstance(error, ProblemError) else self._told(status_code, error)
        self.set_status(told.status_code)
        self.set_header("Content-Type", MEDIA_TYPE)
        self.finish(orjson.dumps(told.members))  # pyright: ignore[reportUnknownMemberType]  # a dict's types

    def _told(self, status_code: int, error: BaseException | None) -> ProblemError:
        said = error.log_message if isinstance(error, web.HTTPError) else None
        status = HTTPStatus(status_code)
        if self.current_user is None:
            stranger = NotAuthenticatedError(
                "Jupyter does not know who asks.",
                fix="Log in to Jupyter, or send its token.",
            )
            return problem(stranger, status)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            refused = NotAllowedError(
                said or status.phrase,
                fix="Ask from a page of this Jupyter (with X-XSRFToken) or with a token.",
            )
            return problem(refused, status)
        failed = ApiError(said or status.phrase, fix="Jupyter's log says why.")
        return problem(failed, status)
