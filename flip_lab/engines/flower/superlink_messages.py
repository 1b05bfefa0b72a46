"""Messages of a link state: handed out when all of them is here, and not before.

Flower's own link state is asked again and again, and hands out messages whose objects are
still on their way, so that those are asked for again and again as well. This one knows
what is missing of which message, and tells when there is something new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Protocol

from flwr.app import Message
from flwr.proto.message_pb2 import ObjectTree
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.server.superlink.linkstate.utils import (
    create_message_error_unavailable_res_message,
    message_ttl_has_expired,
)
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import (
    UnexpectedObjectContentError,
    get_object_id,
)
from flwr.supercore.inflatable.inflatable_utils import validate_object_content
from flwr.supercore.object_store import ObjectStore
from flwr.superlink.federation.federation_manager import FederationManager


class Listener(Protocol):
    """Hears what is new; called from any thread, and must return at once."""

    def node(self, node_id: int) -> None:
        """A node has a call to take."""
        ...

    def run(self, run_id: int) -> None:
        """A run has a reply to take, or has ended."""
        ...


class WholeMessages(InMemoryLinkState):
    """The part of a link state that keeps messages; thread-safe.

    Locks are taken in Flower's order: that of tasks, its ``lock``, then that of pushes.
    """

    def __init__(
        self,
        federation_manager: FederationManager,
        object_store: ObjectStore,
        listener: Listener,
    ) -> None:
        """Hold no message yet."""
        super().__init__(federation_manager, object_store)
        self._listener = listener
        self._missing: dict[str, set[str]] = {}  # of a message: objects not here yet
        self._needed_by: defaultdict[str, set[str]] = defaultdict(set)  # and back
        self._ready: defaultdict[int, dict[str, None]] = defaultdict(dict)  # by node
        self._lost: set[str] = set()  # calls that nobody will answer

    def has_call(self, node_id: int) -> bool:
        """Say whether there is a call that a node could take now."""
        return bool(self._ready.get(node_id))

    def store_message_and_object_tree(
        self, message: Message, object_tree: ObjectTree, session_id: str
    ) -> tuple[bool, list[str]]:
        """Keep a message; it is handed out once its objects are here, too."""
        message_id = message.metadata.message_id
        with self.lock:
            is_new = (
                message_id not in self.message_ins_store
                and message_id not in self.message_res_store
            )
            stored, missing = super().store_message_and_object_tree(
                message, object_tree, session_id
            )
            if stored and is_new:
                self._expect(message, missing)
            return stored, missing

    def store_object(
        self, run_id: int, session_id: str, object_id: str, object_content: bytes
    ) -> bool:
        """Keep an object, and hand out the messages that lacked nothing else.

        It is looked at before any lock is taken: hashing 5 MiB would hold everybody up.
        """
        if not _is_whole(object_id, object_content):
            return False
        with self.lock:  # before that of pushes, which this takes; an expired one asks back
            stored = super().store_object(run_id, session_id, object_id, object_content)
            if stored:
                self._here(object_id)
        return stored

    def get_object(self, run_id: int, object_id: str) -> bytes | None:
        """Give an object; empty if it is on its way, ``None`` if nobody waits for it."""
        with self.lock:  # as in ``store_object``
            return super().get_object(run_id, object_id)

    def get_message_ins(
        self, node_id: int, limit: int | None, *, run_id: int | None = None
    ) -> list[Message]:
        """Give calls that a node has not taken yet, the oldest first."""
        with self.lock:
            ready = self._ready.get(node_id, {})
            self._check_stored_messages(set(ready))  # drops what is too old
            messages = [self.message_ins_store[message_id] for message_id in ready]
            if run_id is not None:
                messages = [each for each in messages if each.metadata.run_id == run_id]
            given = messages[:limit]
            for message in given:
                del ready[message.metadata.message_id]
                message.metadata.delivered_at = now().isoformat()
            return given

    def get_message_res(self, message_ids: set[str], run_id: int) -> list[Message]:
        """Give the replies that are whole, and errors for calls that get none.

        Flower asks first whether the node is there, and gives an error in place of a reply
        whose node went after it had sent it.
        """
        with self.lock:
            there = [each for each in map(self._reply_to, message_ids) if each is not None]
            replies = [each for each in there if self._is_good(each, run_id)]
            for reply in replies:
                reply.metadata.delivered_at = now().isoformat()
            lost = [
                create_message_error_unavailable_res_message(call.metadata, "node_unavail")
                for message_id in message_ids & self._lost
                if (call := self.message_ins_store.get(message_id))
                and call.metadata.run_id == run_id
            ]
            for message in lost:
                self._store_generated_message(message)
            answers = [*replies, *lost]
            rest = message_ids - {each.metadata.reply_to_message_id for each in answers}
            coming = {each for each in rest if self._is_coming(each)}
        return answers + super().get_message_res(rest - coming, run_id)

    def delete_messages(self, message_ins_ids: set[str]) -> None:
        """Forget messages, and whatever was noted about them.

        Calls go with their objects: a node that is lost never says that it has them, and a
        model of each such round would stay until the run ends.
        """
        with self.lock:
            for message_id in message_ins_ids:
                reply_id = self.message_ins_id_to_message_res_id.get(message_id)
                self._forget([message_id, reply_id] if reply_id else [message_id])
                call = self.message_ins_store.get(message_id)
                if call is not None:
                    ready = self._ready.get(call.metadata.dst_node_id, {})
                    ready.pop(message_id, None)
                    self.object_store.delete(message_id)
            super().delete_messages(message_ins_ids)

    def _on_push_session_expired(self, message_object_ids: set[str]) -> None:
        """Answer for a node that began to push a reply and never finished."""
        with self.lock:
            replies = map(self.message_res_store.get, message_object_ids)
            calls = {each.metadata.reply_to_message_id for each in replies if each}
            self._forget(message_object_ids)
            self._lost |= calls & self.message_ins_store.keys()
            super()._on_push_session_expired(message_object_ids)
            runs = {
                self.message_ins_store[each].metadata.run_id for each in calls & self._lost
            }
        for run_id in runs:
            self._listener.run(run_id)

    def _expect(self, message: Message, missing: Collection[str]) -> None:
        """Wait for what is missing of a message."""
        if not missing:
            self._complete(message)
            return
        message_id = message.metadata.message_id
        self._missing[message_id] = set(missing)
        for object_id in missing:
            self._needed_by[object_id].add(message_id)

    def _here(self, object_id: str) -> None:
        """Hand out the messages that lacked only this object."""
        for message_id in self._needed_by.pop(object_id, set()):
            lacking = self._missing[message_id]
            lacking.discard(object_id)
            if lacking:
                continue
            del self._missing[message_id]
            self._complete(self._message(message_id))

    def _message(self, message_id: str) -> Message:
        found = self.message_ins_store.get(message_id)
        return found or self.message_res_store[message_id]

    def _complete(self, message: Message) -> None:
        """Hand out a message of which nothing is missing."""
        metadata = message.metadata
        if metadata.reply_to_message_id:
            self._listener.run(metadata.run_id)
        else:
            self._ready[metadata.dst_node_id][metadata.message_id] = None
            self._listener.node(metadata.dst_node_id)

    def _reply_to(self, message_id: str) -> Message | None:
        reply_id = self.message_ins_id_to_message_res_id.get(message_id)
        return None if reply_id is None else self.message_res_store[reply_id]

    def _is_good(self, reply: Message, run_id: int) -> bool:
        """Say whether a reply may be handed over as it is."""
        metadata = reply.metadata
        return (
            metadata.run_id == run_id
            and not metadata.delivered_at
            and metadata.message_id not in self._missing
            and not message_ttl_has_expired(metadata, now().timestamp())
        )

    def _is_coming(self, message_id: str) -> bool:
        """Say whether a reply is on its way from a node that is there."""
        reply_id = self.message_ins_id_to_message_res_id.get(message_id)
        if reply_id is None or reply_id not in self._missing:
            return False
        call = self.message_ins_store.get(message_id)
        node = self.nodes.get(call.metadata.dst_node_id) if call else None
        return node is not None and node.online_until > now().timestamp()

    def _taken_by(self, node_id: int) -> list[Message]:
        """Give the calls that a node has taken and not answered."""
        return [
            call
            for message_id, call in self.message_ins_store.items()
            if call.metadata.dst_node_id == node_id
            and call.metadata.delivered_at
            and message_id not in self.message_ins_id_to_message_res_id
        ]

    def _forget(self, message_ids: Collection[str]) -> None:
        for message_id in message_ids:
            self._lost.discard(message_id)
            for object_id in self._missing.pop(message_id, ()):
                waiting = self._needed_by[object_id]
                waiting.discard(message_id)
                if not waiting:
                    del self._needed_by[object_id]


def _is_whole(object_id: str, content: bytes) -> bool:
    """Say whether an object is the one that its id names, and can be read."""
    if get_object_id(content) != object_id:
        return False
    try:
        validate_object_content(content=content)
    except (ValueError, UnexpectedObjectContentError):
        return False
    return True
