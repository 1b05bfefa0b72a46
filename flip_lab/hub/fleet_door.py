"""The door of nodes: ``/v1/fleet``, for keys that are enrolled and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from flip_lab.core.errors import FlipLabError
from flip_lab.engines.flower.fleet_exchange import (
    GOT_HEADER,
    NEXT_HEADER,
    PULL_PATH,
    PUSH_PATH,
    FleetDesk,
)
from flip_lab.engines.flower.superlink_calls import FLEET, Call
from flip_lab.engines.flower.superlink_state import HubLinkState
from flip_lab.engines.flower.superlink_wire import (
    answers_to,
    requests_in,
    see_that_it_is_the_nodes,
    see_that_versions_fit,
    told,
)
from flip_lab.hub.admission import Admission
from flip_lab.hub.bells import Bell, Bells
from flip_lab.hub.bodies import PROTOBUF, GoneError, answer, begin, read_body
from flip_lab.hub.doors import Door
from flip_lab.hub.node_keys import KnownNode, NodeKeys
from flip_lab.hub.presence import Presence
from flip_lab.hub.waiting import patience_s, see_that_it_is_a_call

_PULL = "/v1/fleet/pull-messages"
_BEAT = "/v1/fleet/send-node-heartbeat"
_ACTIVATE = "/v1/fleet/activate-node"
_SESSION = "x-flip-session"
_DESK = {PULL_PATH: 2**20, PUSH_PATH: 2**24}  # the largest bodies
_MOST_BYTES = {path: call.most_bytes for path, call in FLEET.items()} | _DESK
_NO_BELL = ("nobody", 0)
_LITTLE_BYTES = 2**16  # read and hashed sooner than a thread has its turn


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose body is read."""

    path: str
    node: KnownNode
    headers: Headers
    wait_s: float
    receive: Receive


class FleetDoor(Door):
    """Answers nodes.

    Args:
        state: What nodes ask.
        keys: Who is let in.
        presence: Learns who is there.
        bells: End waits.
        admission: Counts wrong keys.
    """

    def __init__(
        self,
        *,
        state: HubLinkState,
        keys: NodeKeys,
        presence: Presence,
        bells: Bells,
        admission: Admission,
    ) -> None:
        """Serve nobody yet."""
        super().__init__()
        self._state = state
        self._keys = keys
        self._presence = presence
        self._bells = bells
        self._admission = admission
        self._desk = FleetDesk(state)
        self._sessions: dict[int, str] = {}

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = see_that_it_is_a_call(scope, headers, _MOST_BYTES)
        node = self._admit(scope, headers)
        body = await read_body(scope, receive, _MOST_BYTES[path])
        asked = _Asked(path, node, headers, patience_s(headers), receive)
        if path == PUSH_PATH:
            content = await self._pushed(asked, body)
            if asked.wait_s:
                return await self._go_on(asked, send)
        elif path == PULL_PATH:
            self._desk.see_that_it_asks(node.node_id, body)
            content = await self._next_call(asked)
        else:
            content = await self._flowers(asked, FLEET[path], body)
        more = {"x-flip-news": self._news(asked)}
        return await answer(send, 200, content, media_type=PROTOBUF, headers=more)

    async def _pushed(self, asked: _Asked, body: bytes) -> bytes:
        """Take a reply with all that belongs to it."""
        push, node_id = self._desk.push, asked.node.node_id
        if len(body) <= _LITTLE_BYTES:
            return push(node_id, body)
        return await self._in_thread(push, node_id, body)

    async def _next_call(self, asked: _Asked) -> bytes:
        """Hand over the next message, once there is one, with all that belongs to it."""
        node_id, got = asked.node.node_id, asked.headers.get(GOT_HEADER, "")

        def is_there() -> bool:  # also what another question took that nobody reads
            return self._state.has_call(node_id) or self._desk.owes(node_id, got)

        if asked.wait_s:
            await self._hold(asked, ("node", node_id), is_there)
        return self._desk.next_call(node_id, got=got)

    async def _go_on(self, asked: _Asked, send: Send) -> None:
        """Say that a reply was taken, and then, in the same answer, what comes next.

        What goes wrong from here on has no answer of its own: the node gets nothing, and
        asks.

        Raises:
            GoneError: If the node's connection breaks.
        """
        more = {"x-flip-news": self._news(asked), NEXT_HEADER: "1"}
        await begin(send, 200, media_type=PROTOBUF, headers=more)
        content = b""
        try:
            content = await self._next_call(asked)
        except GoneError:
            raise
        except Exception as error:  # noqa: BLE001  # as a door's
            told(error)
        await send({"type": "http.response.body", "body": content})

    async def _flowers(self, asked: _Asked, call: Call, body: bytes) -> bytes:
        """Answer one of Flower's calls."""
        node, path = asked.node, asked.path
        requests = requests_in(call, body)
        for request in requests:
            see_that_it_is_the_nodes(self._state, request, node.node_id, node.public_key)
        if path == _ACTIVATE:
            await self._in_thread(self._begin_anew, asked)
        if path == _PULL and asked.wait_s:
            has_call = partial(self._state.has_call, node.node_id)
            await self._hold(asked, ("node", node.node_id), has_call)
        answers = partial(answers_to, self._state, call, requests)
        content = answers() if call.is_light else await self._in_thread(answers)
        if path == _ACTIVATE and _SESSION in asked.headers:  # as a node of ours does
            self._presence.expects(node.node_id)
        if path == _BEAT and asked.wait_s:
            await self._hold(asked, _NO_BELL, lambda: False)
        return content

    def _news(self, asked: _Asked) -> str:
        return self._bells.news(("node", asked.node.node_id))

    def _admit(self, scope: Scope, headers: Headers) -> KnownNode:
        """Find out which node asks.

        Raises:
            FlipLabError: If it is none that is let in.
        """
        if not self._keys.is_known(headers):
            self._admission.see_that_it_may(scope)
        try:
            node, ahead_s = self._keys.check(headers)
        except FlipLabError:
            self._admission.failed(scope)
            raise
        if scope["path"] == _ACTIVATE:  # before it counts as there
            see_that_versions_fit(headers)
        self._presence.sign(node, ahead_s)
        return node

    def _begin_anew(self, asked: _Asked) -> None:
        node_id, session = asked.node.node_id, asked.headers.get(_SESSION, "")
        is_same = bool(session) and self._sessions.get(node_id) == session
        self._sessions[node_id] = session
        if not is_same:
            self._desk.forget(node_id)
        self._state.begin_anew(node_id, is_same_process=is_same)

    async def _hold(self, asked: _Asked, bell: Bell, is_there: Callable[[], bool]) -> None:
        """Hold a request until what it asks for is there, or the time is over.

        Raises:
            GoneError: If the connection breaks; the node may be lost.
        """
        async with self._held(asked.node.node_id):
            if not await self._bells.wait(bell, is_there, asked.wait_s, asked.receive):
                raise GoneError

    @asynccontextmanager
    async def _held(self, node_id: int) -> AsyncGenerator[None]:
        is_broken = False
        self._presence.holds(node_id)
        try:
            yield
        except GoneError:
            is_broken = True
            raise
        finally:
            self._presence.holds_no_more(node_id, is_broken=is_broken)
