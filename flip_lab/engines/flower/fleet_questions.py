"""How a node asks for its next message: by a request of its own, or along with a reply.

A hub of ours says at once that it took a reply, and goes on with the next message in the
same answer: a busy node signs and sends half as many requests.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import httpx
from flwr.app import Message
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse
from flwr.proto.node_pb2 import Node

from flip_lab.engines.flower.fleet_frames import (
    GOT_HEADER,
    LITTLE_BYTES,
    NEXT_HEADER,
    PULL_PATH,
    PUSH_PATH,
    object_ids,
    unframed,
)
from flip_lab.engines.flower.fleet_objects import bare_message, inflated
from flip_lab.engines.flower.fleet_pieces import Pieces
from flip_lab.engines.flower.fleet_wire import FleetWire, RunOverError, parsed

_NO_SUCH_PATH = {404, 405}


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What came of asking for a message.

    Attributes:
        message: The message with its content; ``None`` when there is none.
        problem: Why the message came without its content; empty when all is well.
        was_held: Whether the hub held the question until there might be something: then
            the next one may follow at once.
        is_coming: Whether a message is there whose arrays are still on their way.
    """

    message: Message | None = None
    problem: str = ""
    was_held: bool = False
    is_coming: bool = False


class Questions:
    """The questions of one node; one is open at a time.

    A hub gives a message again as long as nobody says that it came, so two questions would
    bring it twice.

    Attributes:
        is_ours: Whether a hub of ours answers; true until a stock SuperLink does.
        got: Id of the newest message that the node has in hand.

    Args:
        wire: What they are sent with.
        node: Whose they are.
        pieces: Brings what is too large to come in one piece.
        most_bytes: Size of the largest message to fetch.
        got: What an earlier connection of this process brought last.
    """

    def __init__(
        self,
        wire: FleetWire,
        node: Node,
        pieces: Pieces,
        *,
        most_bytes: int,
        got: str = "",
    ) -> None:
        """Ask nothing yet."""
        self._wire = wire
        self._node = node
        self._pieces = pieces
        self._most_bytes = most_bytes
        self._turn = asyncio.Lock()
        self.got = got
        self._open: httpx.Response | None = None  # of a push that asked
        self._is_over = False
        self.is_ours = True

    async def pull(self, *, wait_s: float) -> Pulled:
        """Ask for the next message, unless a push did, and wait for one.

        Args:
            wait_s: How long a hub of ours may hold the question.

        Raises:
            HTTPStatusError: If the hub refuses.
        """
        async with self._turn:
            response = await self._answer(wait_s) if self.is_ours else None
            if response is None:
                answer = await self._pieces.messages()
                return await self._pulled(answer, [], was_held=False)
            frames = unframed(response.content)
            if not frames:
                return Pulled(is_coming=True)
            answer = parsed(PullMessagesResponse, frames[0])
            was_held = "x-flip-news" in response.headers
            pulled = await self._pulled(answer, frames[1:], was_held=was_held)
            if answer.messages_list:
                self.got = answer.messages_list[0].metadata.message_id
            return pulled

    async def push(self, body: bytes, *, wait_s: float) -> None:
        """Send a reply with all its objects; ask for the next message if nobody does.

        Args:
            body: The reply, framed.
            wait_s: How long the hub may hold that question; 0 asks nothing.

        Raises:
            RunOverError: If nobody waits for it any more.
        """
        if not wait_s or self._is_over or self._turn.locked() or self._open is not None:
            await self._wire.rest_of(await self._wire.opened(PUSH_PATH, body))
            return
        async with self._turn:
            got = {GOT_HEADER: self.got}
            response = await self._wire.opened(PUSH_PATH, body, headers=got, wait_s=wait_s)
            if NEXT_HEADER in response.headers and not self._is_over:
                self._open = response
            else:
                await response.aclose()

    async def end(self) -> None:
        """Let go of a question whose answer nobody waits for, and ask no more."""
        self._is_over = True
        response, self._open = self._open, None
        if response is not None:
            await response.aclose()

    async def _answer(self, wait_s: float) -> httpx.Response | None:
        """Give a hub's answer; ``None`` from a stock SuperLink.

        Raises:
            HTTPStatusError: If the hub refuses.
        """
        response, self._open = self._open, None
        try:
            if response is None:
                body = PullMessagesRequest(node=self._node).SerializeToString()
                got = {GOT_HEADER: self.got}
                response = await self._wire.opened(
                    PULL_PATH, body, headers=got, wait_s=wait_s
                )
            return await self._wire.rest_of(response)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _NO_SUCH_PATH:
                raise
            self.is_ours = False
            return None

    async def _pulled(
        self, answer: PullMessagesResponse, contents: list[bytes], *, was_held: bool
    ) -> Pulled:
        """Build the message of its objects, those that came and those to be fetched."""
        if not answer.messages_list:
            return Pulled(was_held=was_held)
        try:
            message, problem = await self._whole(answer, contents), ""
        except RunOverError:  # it ended while the pieces came: nobody waits for this
            return Pulled(was_held=was_held)
        except ValueError as error:
            message, problem = bare_message(answer), str(error)
        return Pulled(message=message, problem=problem, was_held=was_held)

    async def _whole(self, answer: PullMessagesResponse, contents: list[bytes]) -> Message:
        """Fetch what did not come along, and build the message.

        Raises:
            ValueError: If that cannot be, or the message is larger than the site allows.
        """
        tree = answer.message_object_trees[0]
        run_id = answer.messages_list[0].metadata.run_id
        ids = object_ids(tree)
        found = dict(zip(ids, contents, strict=False))
        size = sum(map(len, contents))
        for object_id in ids[len(contents) :]:
            found[object_id] = await self._pieces.pull(run_id, object_id)
            size += len(found[object_id])
            if size > self._most_bytes:
                break
        if not contents:
            # All of it is here, whether the hub's answer comes or not: asked again it would
            # have nothing left to give.
            with suppress(httpx.HTTPError):
                await self._pieces.confirm(run_id, tree.object_id)
        if size > self._most_bytes:
            most = self._most_bytes / 2**20
            raise ValueError(f"it is larger than the {most:.0f} MiB that the site takes")
        if size <= LITTLE_BYTES:
            return inflated(tree, found)
        return await asyncio.to_thread(inflated, tree, found)
