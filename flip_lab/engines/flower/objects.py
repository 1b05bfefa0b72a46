"""The objects that messages are made of, between a driver and its SuperLink or hub.

A stock SuperLink takes and gives them one by one, some twenty for a small model; a hub
takes and gives many in one request, each behind its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Thread
from typing import Any, TypeVar

import httpx
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.runtime import RuntimeHttpClient
from google.protobuf.message import DecodeError, Message

_GRACE_S = 1.0  # how long an end waits for calls under way; then they end by themselves
_AT_ONCE = 4
_BATCH_BYTES = 8 * 2**20  # a hub takes 16 MiB, and one object may have 5
_MOST_ASKED = 4096
_LENGTH_BYTES = 4
_Answer = TypeVar(
    "_Answer", ConfirmMessageReceivedResponse, PullObjectResponse, PushObjectResponse
)


class _Frames:
    """Many messages in one body; looks like one message to Flower's client."""

    def __init__(self, parts: Iterable[Message] = ()) -> None:
        self._requests = parts
        self.parts: list[bytes] = []

    def SerializeToString(self, *, deterministic: bool = True) -> bytes:  # noqa: N802  # protobuf's name
        body = bytearray()
        for request in self._requests:
            part = request.SerializeToString(deterministic=deterministic)
            body += len(part).to_bytes(_LENGTH_BYTES)
            body += part
        return bytes(body)

    def ParseFromString(self, body: bytes) -> None:  # noqa: N802  # protobuf's name
        at = 0
        while at < len(body):
            begin = at + _LENGTH_BYTES
            at = begin + int.from_bytes(body[at:begin])
            if at > len(body):
                raise DecodeError("it ends in the middle of a message")
            self.parts.append(body[begin:at])


class ObjectCalls:
    """Pushes and pulls the objects of one run.

    Args:
        client: The connection to the Runtime API; closed with these.
        node: Who asks.
        run_id: Flower's id of the run.
        in_batches: Whether the other side is a hub.
    """

    def __init__(
        self, client: RuntimeHttpClient, node: Node, run_id: int, *, in_batches: bool
    ) -> None:
        """Begin with nothing under way."""
        self._client = client
        self._node = node
        self._run_id = run_id
        self._in_batches = in_batches
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flip-objects")

    def pull(self, object_ids: Sequence[str]) -> list[PullObjectResponse]:
        """Ask for objects.

        Returns:
            Answers to the first ones of them; ask for the others again.
        """
        requests = [
            PullObjectRequest(node=self._node, run_id=self._run_id, object_id=object_id)
            for object_id in object_ids[:_MOST_ASKED]
        ]
        if self._in_batches:
            return self._batch("pull-objects", requests, PullObjectResponse)
        return list(self._pool.map(self._client.PullObject, requests[: 2 * _AT_ONCE]))

    def push(self, objects: Iterable[tuple[str, bytes]], session_id: str) -> None:
        """Push objects, a few megabytes at a time.

        Args:
            objects: Ids and contents; made as they are needed.
            session_id: What the SuperLink called this push.

        Raises:
            ReadError: If it no longer waits for them; everything is to be pushed again.
        """
        under_way: set[Future[None]] = set()
        try:
            for batch in self._cut(objects):
                if len(under_way) == _AT_ONCE:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    _raise_first(done)
                under_way.add(self._pool.submit(self._push, batch, session_id))
            _raise_first(wait(under_way).done)
        except BaseException:
            for future in under_way:
                future.cancel()
            raise

    def _cut(
        self, objects: Iterable[tuple[str, bytes]]
    ) -> Iterator[list[tuple[str, bytes]]]:
        batch: list[tuple[str, bytes]] = []
        size = 0
        for object_id, content in objects:
            batch.append((object_id, content))
            size += len(content)
            if size >= _BATCH_BYTES or not self._in_batches:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _push(self, batch: Sequence[tuple[str, bytes]], session_id: str) -> None:
        requests = [
            PushObjectRequest(
                node=self._node,
                run_id=self._run_id,
                object_id=object_id,
                object_content=content,
                session_id=session_id,
            )
            for object_id, content in batch
        ]
        if self._in_batches:
            answers = self._batch("push-objects", requests, PushObjectResponse)
        else:
            answers = [self._client.PushObject(each) for each in requests]
        if len(answers) < len(batch) or not all(answer.stored for answer in answers):
            raise httpx.ReadError("the SuperLink no longer waits for these objects")

    def _batch(
        self, name: str, requests: Sequence[Message], kind: type[_Answer]
    ) -> list[_Answer]:
        client: Any = self._client  # for its one general call, which takes what looks alike
        frames = client._unary_unary(  # noqa: SLF001
            path=f"/v1/runtime/{name}",
            rpc_method=f"/flwr.proto.Runtime/{kind.DESCRIPTOR.name.removesuffix('Response')}",
            request=_Frames(requests),
            response_type=_Frames,
        )
        return [kind.FromString(part) for part in frames.parts]

    def confirm(self, message_ids: Iterable[str]) -> None:
        """Let the SuperLink forget replies; if it does not hear of it, it keeps them."""
        requests = [
            ConfirmMessageReceivedRequest(
                node=self._node, run_id=self._run_id, message_object_id=message_id
            )
            for message_id in message_ids
        ]
        if self._in_batches:
            kind = ConfirmMessageReceivedResponse
            self._pool.submit(self._batch, "confirm-messages-received", requests, kind)
            return
        for request in requests:
            self._pool.submit(self._client.ConfirmMessageReceived, request)

    def close(self) -> None:
        """Begin nothing more, and close the connection once what is under way has ended.

        Closed under a call that is just opening one, it would stay open.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        last = Thread(target=self._hang_up, name="flip-hang-up", daemon=True)
        last.start()
        last.join(_GRACE_S)

    def _hang_up(self) -> None:
        self._pool.shutdown(wait=True)
        self._client.close()


def _raise_first(done: Iterable[Future[None]]) -> None:
    for future in done:
        future.result()
