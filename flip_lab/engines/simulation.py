"""The Grid of a simulated federation; where its clients run is an Executor's business."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from threading import RLock

from flwr.app import Message, RecordDict

from flip_lab.core.errors import RunError
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import EngineGrid, Job, Reply
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, Executor
from flip_lab.engines.flower.messages import (
    RunInfo,
    become_server,
    error_reply,
    phase_of,
    server_round_of,
    stamp,
)

FIRST_NODE_ID = 1_000_000
"""Node ids follow the partitions, so cohorts are the same on every engine."""


def setting_of(job: Job) -> ClientSetting:
    """Give what is the same for every client of a simulated run.

    Flower's numeric run id comes from the seed: an app that draws from it draws the same
    in a repeated run.
    """
    return ClientSetting(
        run_number=1 + Stream(seed=job.seed, phase="run-number").integer(),
        seed=job.seed,
        num_nodes=job.num_nodes,
        run_config=job.run_config,
    )


class SimulationGrid(EngineGrid):
    """Simulated nodes: deterministic ids, state kept per node, replies as they come.

    Safe to call from several threads (Flower's legacy server does).

    Args:
        setting: What is the same for the whole run.
        executor: Where client calls are carried out.
    """

    def __init__(self, setting: ClientSetting, executor: Executor) -> None:
        """Take the ServerApp's identity in this process."""
        self._run = become_server(setting.run_number)
        self._num_nodes = setting.num_nodes
        self._executor = executor
        self._lock = RLock()
        self._numbers = itertools.count(1)
        self._states: dict[int, RecordDict] = {}
        self._sent: dict[str, Message] = {}
        self._ready: dict[str, Reply] = {}

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes in order of their partitions."""
        return range(FIRST_NODE_ID, FIRST_NODE_ID + self._num_nodes)

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds."""
        return node_id - FIRST_NODE_ID

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the executor and give their ids, in the same order."""
        with self._lock:
            calls = [self._call(message) for message in messages]
            self._executor.submit(calls)
            return [call.message.metadata.message_id for call in calls]

    def _call(self, message: Message) -> ClientCall:
        node_id = message.metadata.dst_node_id
        if not 0 <= self.partition_of(node_id) < self._num_nodes:
            raise RunError(
                f"A message is addressed to node {node_id}, which does not exist.",
                fix="Address nodes that grid.get_node_ids() lists.",
            )
        message_id = f"message-{next(self._numbers)}"
        stamp(message, message_id)
        self._sent[message_id] = message
        return ClientCall(
            message=message,
            partition_id=self.partition_of(node_id),
            server_round=server_round_of(message) or 0,
            phase=phase_of(message),
            state=self._states.get(node_id) or RecordDict(),
        )

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give new replies; carries out or waits for client calls when there is none."""
        wanted = list(message_ids)
        with self._lock:
            if not any(message_id in self._ready for message_id in wanted):
                for outcome in self._executor.completed(timeout_s=timeout_s):
                    self._absorb(outcome)
            found = [self._ready.pop(key) for key in wanted if key in self._ready]
        return sorted(found, key=lambda reply: reply.started_s)

    def _absorb(self, outcome: ClientOutcome) -> None:
        message = self._sent.pop(outcome.message_id)
        if outcome.state is not None:
            self._keep(message.metadata.dst_node_id, outcome.state)
        reply = outcome.reply or error_reply(message, outcome.error)
        stamp(reply, f"reply-to-{outcome.message_id}")
        self._ready[outcome.message_id] = Reply(
            message=reply, started_s=outcome.started_s, duration_s=outcome.duration_s
        )

    def _keep(self, node_id: int, state: RecordDict) -> None:
        if len(state):
            self._states[node_id] = state
        else:  # nodes without a state cost nothing, however many there are
            self._states.pop(node_id, None)
