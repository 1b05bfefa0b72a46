"""The Grid of a simulated federation; where its clients run is an Executor's business."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from threading import Condition
from typing import cast

from flwr.app import Message, RecordDict

from flip_lab.core.errors import RunError
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import EngineGrid, Job, Reply, RunConfig
from flip_lab.engines.chosen_nodes import ChosenNodes
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, Executor
from flip_lab.engines.flower.messages import (
    RunInfo,
    become_server,
    copy_content,
    detached_content,
    error_reply,
    phase_of,
    server_round_of,
    snapshot,
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
        timeout_s=job.client_timeout_s,
    )


class SimulationGrid(EngineGrid):
    """Simulated nodes: deterministic ids, state kept per node, replies as they come.

    Safe to call from several threads (Flower's legacy server does): one of them waits for
    the executor, the others for that one. A node carries out one message at a time, as a
    real one does; nodes cost nothing until a message is sent to them.

    Args:
        job: The run.
        executor: Where client calls are carried out.
    """

    can_reconfigure = True

    def __init__(self, job: Job, executor: Executor) -> None:
        """Take the ServerApp's identity in this process."""
        self._run = become_server(setting_of(job).run_number)
        self._num_nodes = job.num_nodes
        self._chosen = self._chosen_nodes(job.nodes)
        self._executor = executor
        self._news = Condition()
        self._is_collecting = False
        self._numbers = itertools.count(1)
        self._states: dict[int, RecordDict] = {}
        self._sent: dict[str, Message] = {}
        self._queues: dict[int, deque[tuple[Message, RunConfig]]] = {}  # of nodes at work
        self._overlay: RunConfig = {}
        self._ready: dict[str, Reply] = {}
        self._durations_s = {
            ("train", partition): seconds for partition, seconds in job.durations_s.items()
        }

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._run

    def _chosen_nodes(self, choice: str) -> Iterable[int]:
        """Find the nodes that take part.

        Raises:
            CohortError: If there are none, or the choice names what no simulation knows.
        """
        nodes = range(FIRST_NODE_ID, FIRST_NODE_ID + self._num_nodes)
        chosen = ChosenNodes(choice)
        chosen.require_somebody(nodes, self.partition_of)
        return chosen.among(nodes, self.partition_of)

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes that take part, in order of their partitions."""
        return self._chosen

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds."""
        return node_id - FIRST_NODE_ID

    def node_states(self) -> Mapping[int, RecordDict]:
        """Give the Context state of each node that has one, by node id."""
        with self._news:
            return dict(self._states)

    def restore_states(self, states: Mapping[int, RecordDict]) -> None:
        """Give nodes the states of a checkpoint; all others have none from now on."""
        with self._news:
            self._states = dict(states)

    def reconfigure(self, changes: RunConfig) -> None:
        """Let clients see other values of the run configuration from now on.

        Messages that were sent before go with what was in force then, whenever their
        clients start: on every engine a client sees the same.

        Args:
            changes: All values that differ from those that the run began with.
        """
        with self._news:
            self._overlay = dict(changes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the executor and give their ids, in the same order."""
        batch = list(messages)
        for message in batch:
            self._check_address(message.metadata.dst_node_id)
        snapshots = self._snapshots(batch)
        with self._news:
            ready = [each for each in snapshots if self._accept(each)]
            self._executor.submit([self._call(each, self._overlay) for each in ready])
        message_ids = [each.metadata.message_id for each in snapshots]
        for message, message_id in zip(batch, message_ids, strict=True):
            stamp(message, message_id)
        return message_ids

    def _snapshots(self, messages: list[Message]) -> list[Message]:
        """Give the messages as they are now: an app may reuse its records at once.

        Messages that share one content object go on sharing one.
        """
        copies: dict[int, RecordDict] = {}
        for message in messages:
            if id(message.content) not in copies:
                copies[id(message.content)] = copy_content(message.content)
        return [snapshot(each, copies[id(each.content)]) for each in messages]

    def _check_address(self, node_id: int) -> None:
        if not 0 <= self.partition_of(node_id) < self._num_nodes:
            raise RunError(
                f"A message is addressed to node {node_id}, which does not exist.",
                fix="Address nodes that grid.get_node_ids() lists.",
            )

    def _accept(self, message: Message) -> bool:
        """Give a message its id; say whether its node can begin with it now."""
        message_id = f"message-{next(self._numbers)}"
        stamp(message, message_id)
        self._sent[message_id] = message
        node_id = message.metadata.dst_node_id
        if node_id in self._queues:
            self._queues[node_id].append((message, self._overlay))
            return False
        self._queues[node_id] = deque()
        return True

    def _call(self, message: Message, overlay: RunConfig) -> ClientCall:
        node_id, phase = message.metadata.dst_node_id, phase_of(message)
        partition_id = self.partition_of(node_id)
        return ClientCall(
            message=message,
            partition_id=partition_id,
            server_round=server_round_of(message) or 0,
            phase=phase,
            state=self._states.get(node_id) or RecordDict(),
            expected_s=self._durations_s.get((phase, partition_id), 0.0),
            overlay=overlay,
        )

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give new replies; carries out or waits for client calls when there is none."""
        is_ready = isinstance(message_ids, dict)  # to look into; a list would be slow
        wanted = cast("Collection[str]", message_ids) if is_ready else {*message_ids}
        with self._news:
            found = self._take(wanted)
            if found:
                return found
            if self._is_collecting:
                self._news.wait(timeout_s)
                return self._take(wanted)
            self._is_collecting = True
        outcomes: list[ClientOutcome] = []
        try:
            outcomes = self._executor.completed(timeout_s=timeout_s)
        finally:
            with self._news:
                self._is_collecting = False
                for outcome in outcomes:
                    self._absorb(outcome)
                self._news.notify_all()
                found = self._take(wanted)
        return found

    def _take(self, wanted: Collection[str]) -> list[Reply]:
        keys = [key for key in self._ready if key in wanted]
        found = [self._ready.pop(key) for key in keys]
        return sorted(found, key=lambda reply: reply.started_s)

    def _absorb(self, outcome: ClientOutcome) -> None:
        message = self._sent.pop(outcome.message_id, None)
        if message is None:  # answered already, in the name of a client that took too long
            return
        node_id = message.metadata.dst_node_id
        if outcome.state is not None:
            self._keep(node_id, outcome.state)
            key = (phase_of(message), self.partition_of(node_id))
            self._durations_s[key] = outcome.duration_s
        reply = outcome.reply or error_reply(message, outcome.error)
        stamp(reply, f"reply-to-{outcome.message_id}")
        self._ready[outcome.message_id] = Reply(
            message=reply,
            started_s=outcome.started_s,
            duration_s=outcome.duration_s,
            digest=outcome.digest,
            logged=outcome.logged,
        )
        self._continue(node_id)

    def _continue(self, node_id: int) -> None:
        """Let a node begin with what waits for it, from the state it has now."""
        waiting = self._queues[node_id]
        if waiting:
            self._executor.submit([self._call(*waiting.popleft())])
        else:
            del self._queues[node_id]

    def _keep(self, node_id: int, state: RecordDict) -> None:
        if len(state):
            self._states[node_id] = detached_content(state)
        else:  # nodes without a state cost nothing, however many there are
            self._states.pop(node_id, None)
