"""This process as the ServerApp of a run on a real SuperLink or hub.

A stock SuperLink runs with ``--isolation process`` and a secret, and no executor of its
own; a hub adds the secret itself, for those whose token may drive runs. We start a run
there, claim its ServerApp task and drive the nodes from here, so a run on devices is
controlled, recorded and debugged like a simulated one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from threading import Lock

import httpx
from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID, SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    GetNodesRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.core.errors import EngineError, FederationUnreachableError
from flip_lab.engines.flower.control import ControlClient, SuperLink, introduced
from flip_lab.engines.flower.fetching import Arrival, Fetcher
from flip_lab.engines.flower.heartbeat import Heartbeat
from flip_lab.engines.flower.objects import ObjectCalls
from flip_lab.engines.flower.outgoing import Parcels, pack
from flip_lab.engines.flower.refusals import coded_errors
from flip_lab.engines.flower.runtime import LongPoll, runtime_client, server_app_client

_LOG = logging.getLogger(__name__)
_ATTACHED = Lock()  # Flower keeps the identity of the task process-wide
_TOO_LARGE = 413


class Ending(StrEnum):
    """How a run ends in the eyes of the SuperLink."""

    COMPLETED = SubStatus.COMPLETED
    FAILED = SubStatus.FAILED
    STOPPED = SubStatus.STOPPED


class Attachment:
    """One run on a SuperLink whose ServerApp is this process.

    Made by ``attach``; every call may raise ``FederationUnreachableError``.

    Args:
        superlink: Where the run is.
        token: Stands for its task.
    """

    def __init__(self, superlink: SuperLink, token: str) -> None:
        """Take the task that the token stands for, and keep it alive by heartbeats."""
        self._address = superlink.address
        self._long_poll = LongPoll()
        self._client = server_app_client(superlink, token, self._long_poll)
        pulse = server_app_client(superlink, token)
        try:
            with coded_errors(superlink.address):
                task = self._client.PullTaskInput(PullTaskInputRequest())
        except BaseException:
            self._client.close()
            pulse.close()
            raise
        self.run: Run = run_from_proto(task.run)
        self._objects = ObjectCalls(
            self._client,
            Node(node_id=SUPERLINK_NODE_ID),
            self.run.run_id,
            in_batches=superlink.token is not None,
        )
        self._fetcher = Fetcher(self._objects)
        # ``Message()`` reads who sends it from here.
        TaskIdentity.task_id = task.task_id
        TaskIdentity.run_id = self.run.run_id
        TaskIdentity.node_id = task.context.node_id
        beat = SendTaskHeartbeatRequest()
        self._heartbeat = Heartbeat(lambda: pulse.SendTaskHeartbeat(beat), pulse.close)

    @property
    def is_news_told(self) -> bool:
        """Whether a hub holds our requests for replies until there may be some."""
        return self._long_poll.is_heard and not self._fetcher.is_underway

    def online_node_ids(self) -> list[int]:
        """List the nodes that are connected now, in order of their ids."""
        with coded_errors(self._address):
            nodes = self._client.GetNodes(GetNodesRequest()).nodes
        return sorted(node.node_id for node in nodes)

    def push(self, messages: Sequence[Message], check: Callable[[], None]) -> set[str]:
        """Send messages; each is stamped with its id.

        Args:
            messages: What to send, of this run; contents that they share travel once.
            check: Called before each part of them; may raise to leave.

        Returns:
            The ids of those that were not taken: the node is not registered any more.

        Raises:
            EngineError: If they are larger than the SuperLink takes at once.
        """
        parcels = pack(messages)
        with self._sized(len(messages)), coded_errors(self._address):
            taken = self._push(parcels, check)
        return {message_id for message_id in parcels.ids if message_id not in taken}

    def _push(self, parcels: Parcels, check: Callable[[], None]) -> set[str]:
        answer = self._client.PushMessages(
            PushAppMessagesRequest(
                messages_list=parcels.messages, message_object_trees=parcels.trees
            )
        )
        contents = parcels.contents(answer.objects_to_push, check)
        self._objects.push(contents, answer.session_id)
        return set(answer.message_ids)

    @contextmanager
    def _sized(self, num_messages: int) -> Generator[None]:
        """Explain a refusal for size.

        Raises:
            EngineError: If that is why.
            FederationUnreachableError: If it is not.
        """
        try:
            yield
        except FederationUnreachableError as error:
            cause = error.__cause__
            if not isinstance(cause, httpx.HTTPStatusError):
                raise
            if cause.response.status_code != _TOO_LARGE:
                raise
            raise EngineError(
                f"The SuperLink does not take {num_messages} messages at once.",
                fix="Sample fewer nodes per round.",
            ) from cause

    def pull(self, limits: Mapping[str, int], *, wait_s: float) -> list[Arrival]:
        """Give what has arrived whole; each is handed over once.

        Args:
            limits: The largest reply to take, bytes, by the id of the message.
            wait_s: How long a hub may hold the request, seconds.
        """
        wanted = [key for key in limits if not self._fetcher.has(key)]
        with coded_errors(self._address):
            if wanted:
                request = PullAppMessagesRequest(message_ids=wanted)
                wait_s = 0.0 if self._fetcher.is_underway else wait_s
                answer = self._long_poll.pull(self._client, request, wait_s)
                self._fetcher.announce(answer)
            return self._fetcher.collect(limits)

    def retire(self) -> None:
        """Give no sign of life any more: the run goes on elsewhere."""
        self._heartbeat.close()

    def close(self, ending: Ending | None, details: str = "") -> None:
        """Tell the SuperLink how the run ended and let go of it.

        A SuperLink that cannot be told any more is no error: the results are here.

        Args:
            ending: What ``flwr list`` shall show; ``None`` tells nothing: it is over there.
            details: One sentence for a run that did not complete.
        """
        self.retire()
        try:
            if ending is not None:
                output = PushTaskOutputRequest(sub_status=ending.value, details=details)
                self._client.PushTaskOutput(output)
        except httpx.HTTPError as error:
            _LOG.warning("The SuperLink did not hear that the run ended: %s", error)
        finally:
            self._objects.close()


@contextmanager
def only_driver() -> Generator[None]:
    """Be the only one of this process that drives runs on real devices.

    Raises:
        EngineError: If this process already drives one.
    """
    if not _ATTACHED.acquire(blocking=False):
        raise EngineError(
            "This process already drives a run on real devices.",
            fix="End that run first, or launch this one in a process of its own.",
        )
    try:
        yield
    finally:
        _ATTACHED.release()


def attach(superlink: SuperLink, fab: Fab) -> Attachment:
    """Start a run on a SuperLink and become its ServerApp, or leave none behind.

    Args:
        superlink: Where, and what proves that we may.
        fab: The app for the nodes; its hash is that of no other run.

    Raises:
        FederationUnreachableError: If the SuperLink does not answer, or refuses us.
    """
    with ControlClient(superlink) as control:
        run_id = control.start_run(fab)
        try:
            return Attachment(superlink, _acquire(superlink, fab))
        except BaseException:
            with suppress(FederationUnreachableError):
                control.stop_run(run_id)
            raise


def _acquire(superlink: SuperLink, fab: Fab) -> str:
    """Claim the task of the run that we just started; gives its token.

    Raises:
        FederationUnreachableError: If the secret is wrong, or somebody was faster.
    """
    interceptors = introduced(superlink, "SuperExec")
    if superlink.superexec_secret is not None:
        signature = SuperExecAuthHttpInterceptor(
            master_secret=superlink.superexec_secret,
            protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"}),
        )
        interceptors.append(signature)
    # Named for agents, but the SuperLink compares nothing but the hash; asking for a type
    # of task instead would give us the oldest run of anybody.
    request = AcquireTaskRequest(agentapp_fab_hashes=[fab.hash_str])
    with (
        coded_errors(superlink.address),
        runtime_client(superlink, interceptors) as client,
    ):
        response = client.AcquireTask(request)
    if not response.HasField("task"):
        raise FederationUnreachableError(
            f"Another executor took our run from the SuperLink at {superlink.address}.",
            fix="Start the SuperLink with --isolation process, and no flower-superexec.",
        )
    return response.token
