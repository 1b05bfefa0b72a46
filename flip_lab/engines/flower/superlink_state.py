"""Flower's link state in memory, as a hub needs it.

It keeps a node's id from one start of the hub to the next, lets a node come back that was
killed a moment ago, and answers for those that do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import timedelta

from flwr.common.constant import (
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    Status,
    SubStatus,
)
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import NodeStatus
from flwr.supercore.date import now
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.superlink.federation.noop_federation_manager import NoOpFederationManager

from flip_lab.engines.flower.control import STOPPED_BY
from flip_lab.engines.flower.superlink_leftovers import Leftovers
from flip_lab.engines.flower.superlink_messages import Listener, WholeMessages

_BEFORE_FLOWER = timedelta(seconds=5)


def node_id_of(public_key: bytes) -> int:
    """Give the id of the node that holds a key: the same at every hub, after every start.

    Args:
        public_key: PEM, as Flower sends it.

    Returns:
        63 bits of its SHA-256, so that any table holds it; never 0 or the SuperLink's 1.
    """
    digest = hashlib.sha256(public_key).digest()
    return max(int.from_bytes(digest[:8]) >> 1, SUPERLINK_NODE_ID + 1)


def new_state(listener: Listener) -> HubLinkState:
    """Make an empty state.

    Args:
        listener: Hears what is new.
    """
    store = _WholeTrees(verify=False)  # ``WholeMessages`` does, without a lock
    return HubLinkState(NoOpFederationManager(), store, listener)


class _WholeTrees(InMemoryObjectStore):
    """Flower's store, which takes a tree in at once.

    Flower lets go of its lock between two objects of a tree: one that another message had
    brought could go meanwhile, with that message, and the tree would have a hole.
    """

    def preregister(self, run_id: int, object_tree: ObjectTree) -> list[str]:
        """Take in what a message is made of; give the objects that are missing."""
        with self.lock_store:
            return super().preregister(run_id, object_tree)


class HubLinkState(WholeMessages):
    """Nodes, runs, and the messages between them; thread-safe."""

    def __init__(
        self,
        federation_manager: NoOpFederationManager,
        object_store: ObjectStore,
        listener: Listener,
    ) -> None:
        """Know no node and no run yet."""
        super().__init__(federation_manager, object_store, listener)
        self._ended_runs: set[int] = set()
        self._stoppers: dict[int, str] = {}
        self.leftovers = Leftovers(self)

    def admit(self, public_key: bytes) -> int:
        """Let the node that holds a key in, if it is not; give its id.

        Args:
            public_key: PEM, as Flower sends it.
        """
        node_id = node_id_of(public_key)
        with self.lock:
            node = self.nodes.get(node_id)
            if node is None:
                drawn = self.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_key, 0)
                node = self.nodes[node_id] = self.nodes.pop(drawn)
                node.node_id = node_id
                self.node_public_key_to_node_id[public_key] = node_id
                owned = self.owner_to_node_ids[NOOP_FLWR_AID]
                owned.discard(drawn)
                owned.add(node_id)
            elif node.status == NodeStatus.UNREGISTERED:
                node.status = NodeStatus.REGISTERED
                node.ClearField("unregistered_at")
            return node_id

    def dismiss(self, node_id: int) -> None:
        """Let a node in no more; what it was asked is answered as that of a lost one."""
        with self.lock:
            node = self.nodes.get(node_id)
            if node is not None and node.status != NodeStatus.UNREGISTERED:
                self.delete_node(NOOP_FLWR_AID, node_id)
        self._tell_askers(node_id)

    def begin_anew(self, node_id: int, *, is_same_process: bool) -> None:
        """Prepare for a node that activates itself, whatever is known of it.

        Flower refuses a node that it believes to be online, so one that was killed could
        not come back for a minute.

        Args:
            node_id: The node.
            is_same_process: Whether it still has the calls that it took.
        """
        with self.lock:
            super().deactivate_node(node_id)
            taken = [] if is_same_process else self._taken_by(node_id)
            for message in taken:
                message_id = message.metadata.message_id
                if message_id in self.object_store:  # it never confirmed to have it
                    message.metadata.delivered_at = ""
                    self._complete(message)
                else:
                    self._lost.add(message_id)
        self._tell_askers(node_id)

    def give_up(self, message_id: str) -> None:
        """Answer for a node that said it had a call, and asks as if it had none."""
        with self.lock:
            call = self.message_ins_store.get(message_id)
            if call is None or message_id in self.message_ins_id_to_message_res_id:
                return
            self._lost.add(message_id)
        self._listener.run(call.metadata.run_id)

    def deactivate_node(self, node_id: int) -> bool:
        """Count a node as offline: it says so, or its connection broke."""
        changed = super().deactivate_node(node_id)
        self._tell_askers(node_id)
        return changed

    def keep_online(self, node_id: int) -> None:
        """Count a node that was given up as online again: it has just asked something."""
        with self.lock:
            node = self.nodes.get(node_id)
            if node is not None and node.status == NodeStatus.OFFLINE:
                self.acknowledge_node_heartbeat(node_id, node.heartbeat_interval)

    def online(self) -> set[int]:
        """Give the nodes that count as connected now."""
        return {node.node_id for node in self.get_node_info(statuses=[NodeStatus.ONLINE])}

    def tell_askers(self, node_ids: Iterable[int]) -> None:
        """Tell the runs that wait for nodes which fell silent."""
        for node_id in node_ids:
            self._tell_askers(node_id)

    @contextmanager
    def stopped_by(self, run_id: int, person: str) -> Generator[None]:
        """Let a run that is stopped within say who did it."""
        self._stoppers[run_id] = person
        try:
            yield
        finally:
            self._stoppers.pop(run_id, None)

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        """End a task; whoever waits for its run hears of it."""
        task = self.task_store.get(task_id)
        person = self._stoppers.get(task.run_id, "") if task is not None else ""
        if person and sub_status == SubStatus.STOPPED:
            details = STOPPED_BY + person
        changed = super().finish_task(task_id, sub_status, details)
        if changed and task is not None:
            with self.lock_task_store:
                self._end([task])
        return changed

    def _on_task_tokens_expired(self, tasks: list[Task]) -> None:
        """End the runs whose driver fell silent; Flower holds the lock of tasks here."""
        super()._on_task_tokens_expired(tasks)
        self._end(tasks)

    def sweep(self) -> list[int]:
        """Give up what nobody finishes, and let go of what ended runs keep in memory.

        Returns:
            Runs that ended since the last time.
        """
        self.get_run_status(set())  # ends runs whose driver fell silent
        self._expire_sessions()
        self.leftovers.end_unclaimed()
        with self.lock_task_store:
            ended, self._ended_runs = self._ended_runs, set()
        for run_id in ended:
            self.cleanup_run(run_id)
        if ended:
            self.leftovers.drop_apps(ended)
        return sorted(ended)

    def outcome(self, run_id: int) -> str:
        """Say how a run stands, such as ``running`` or ``completed``."""
        status = self.get_run_status({run_id}).get(run_id)
        return "unknown" if status is None else status.sub_status or status.status

    def _end(self, tasks: Iterable[Task]) -> None:
        """Note runs that are over; whoever calls holds the lock of tasks, taken once."""
        ended = {
            task.run_id
            for task in tasks
            if task.status.status == Status.FINISHED and self._is_primary_task(task.task_id)
        }
        self._ended_runs |= ended
        for run_id in ended:
            self._listener.run(run_id)

    def _expire_sessions(self) -> None:
        """Give up pushes just before Flower would, which takes its locks crosswise then."""
        soon = now() + _BEFORE_FLOWER
        with self._lock_object_push_sessions:
            sessions = self._object_push_sessions.items()
            over = {
                session_id: bool(session.pending_object_ids)
                for session_id, session in sessions
                if session.expires_at <= soon
            }
        for session_id, is_incomplete in over.items():
            self._cleanup_push_session(session_id, cleanup_messages=is_incomplete)

    def _tell_askers(self, node_id: int) -> None:
        with self.lock:
            calls = self.message_ins_store.values()
            runs = {
                each.metadata.run_id
                for each in calls
                if each.metadata.dst_node_id == node_id
            }
        for run_id in runs:
            self._listener.run(run_id)
