"""This process as the ServerApp of a run on a real SuperLink.

The SuperLink runs with ``--isolation process`` and a secret, and no executor of its own.
We start a run there, claim its ServerApp task with the secret and drive the nodes from
here, so a run on devices is controlled, recorded and debugged like a simulated one.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from http import HTTPStatus
from threading import Lock

import httpx
from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.common.serde import run_from_proto
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.core.errors import EngineError, FederationUnreachableError
from flip_lab.engines.flower.control import (
    ControlClient,
    SuperLink,
    VersionHeaders,
    coded_errors,
)
from flip_lab.engines.flower.fab import build_fab
from flip_lab.engines.flower.runtime import CalmGrid, runtime_client

_LOG = logging.getLogger(__name__)
_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ATTACHED = Lock()  # Flower keeps the identity of the task process-wide


class Ending(StrEnum):
    """How a run ends in the eyes of the SuperLink."""

    COMPLETED = SubStatus.COMPLETED
    FAILED = SubStatus.FAILED
    STOPPED = SubStatus.STOPPED


class Attachment:
    """One run on a SuperLink whose ServerApp is this process.

    Made by ``attach``; every call may raise ``FederationUnreachableError``.
    """

    def __init__(self, superlink: SuperLink, token: str) -> None:
        """Take the task that the token stands for, and keep it alive by heartbeats."""
        self._superlink = superlink
        self._grid = CalmGrid(superlink, token)
        # No retries here: they would sleep in the thread that ``close`` waits for.
        self._pulse = runtime_client(superlink, self._grid.credentials())
        self._heartbeat = HeartbeatSender(self._beat)
        self._asked: dict[str, int] = {}
        with coded_errors(superlink.address):
            task = self._grid.client.PullTaskInput(PullTaskInputRequest())
        self.run: Run = run_from_proto(task.run)
        self._grid.set_run(self.run)
        # ``Message()`` reads who sends it from here.
        TaskIdentity.task_id = task.task_id
        TaskIdentity.run_id = self.run.run_id
        TaskIdentity.node_id = task.context.node_id
        self._heartbeat.start()

    def _beat(self) -> bool:
        """Say that we live; ``False`` asks Flower's thread to try again soon."""
        try:
            self._pulse.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except httpx.TransportError:
            return False
        except httpx.HTTPStatusError as error:
            # A refusal is final, and the next push or pull meets and reports it.
            return not error.response.is_server_error
        return True

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Report a refused token with the SuperLink's own word on the run.

        Raises:
            FederationUnreachableError: If the SuperLink does not answer, or refuses.
        """
        try:
            with coded_errors(self._superlink.address):
                yield
        except FederationUnreachableError as error:
            cause = error.__cause__
            refused = isinstance(cause, httpx.HTTPStatusError)
            if not refused or cause.response.status_code not in _REFUSALS:
                raise
            with ControlClient(self._superlink) as control:
                status = control.run_status(self.run.run_id)
            raise FederationUnreachableError(
                f"The SuperLink at {self._superlink.address} takes no more orders for "
                f"this run; it says: {status}.",
                fix="Launch it again, unless somebody stopped it there on purpose.",
            ) from cause

    def online_node_ids(self) -> list[int]:
        """List the nodes that are connected now, in order of their ids."""
        with self._explained():
            return sorted(self._grid.get_node_ids())

    def push(self, messages: Sequence[Message]) -> list[str]:
        """Send messages and give their ids, in the same order.

        Raises:
            EngineError: If they are larger than the SuperLink takes at once.
        """
        with self._explained():
            accepted = list(self._grid.push_messages(messages))
        if len(accepted) != len(messages):
            raise EngineError(
                f"The SuperLink does not take {len(messages)} messages at once.",
                fix="Sample fewer nodes per round.",
            )
        # An empty id says that the node is no longer registered. We wait for a reply all
        # the same: the SuperLink answers a question about a message it never had.
        ids = [message.metadata.message_id for message in messages]
        nodes = (message.metadata.dst_node_id for message in messages)
        self._asked.update(zip(ids, nodes, strict=True))
        return ids

    def pull(self, message_ids: Sequence[str]) -> list[Message]:
        """Give the replies that are there; each is handed over once and says its node."""
        with self._explained():
            replies = list(self._grid.pull_messages(message_ids))
        for reply in replies:
            # The SuperLink answers for a lost node in its own name; say which it was.
            node_id = self._asked.pop(reply.metadata.reply_to_message_id)
            reply.metadata.__dict__["_src_node_id"] = node_id
        return replies

    def close(self, ending: Ending, details: str = "") -> None:
        """Tell the SuperLink how the run ended and let go of it.

        A SuperLink that cannot be told any more is no error: the results are here.

        Args:
            ending: What ``flwr list`` shall show.
            details: One sentence for a run that did not complete.
        """
        self._grid.hurry()
        output = PushTaskOutputRequest(sub_status=ending.value, details=details)
        try:
            self._grid.client.PushTaskOutput(output)
        except httpx.HTTPError as error:
            _LOG.warning("The SuperLink did not hear that the run ended: %s", error)
        finally:
            if self._heartbeat.is_running:
                self._heartbeat.stop()
            self._pulse.close()
            self._grid.close()
            _ATTACHED.release()


def attach(
    superlink: SuperLink,
    *,
    files: Mapping[str, bytes],
    run_config: Mapping[str, bool | int | float | str],
) -> Attachment:
    """Start a run on a SuperLink and become its ServerApp.

    Args:
        superlink: Where, and with which secret.
        files: The app for the nodes, by relative path, with its ``pyproject.toml``.
        run_config: The run configuration that ClientApps shall read.

    Raises:
        AppError: If Flower does not take the app.
        EngineError: If this process already drives a run on a SuperLink.
        FederationUnreachableError: If the SuperLink does not answer, or refuses us.
    """
    fab = build_fab(files, run_config)
    if not _ATTACHED.acquire(blocking=False):
        raise EngineError(
            "This process already drives a run on real devices.",
            fix="End that run first, or launch this one in a process of its own.",
        )
    try:
        return _start(superlink, fab)
    except BaseException:
        _ATTACHED.release()
        raise


def _start(superlink: SuperLink, fab: Fab) -> Attachment:
    """Start a run and claim it, or leave none behind."""
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
    signature = SuperExecAuthHttpInterceptor(
        master_secret=superlink.superexec_secret,
        protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"}),
    )
    # Named for agents, but the SuperLink compares nothing but the hash; asking for a type
    # of task instead would give us the oldest run of anybody.
    request = AcquireTaskRequest(agentapp_fab_hashes=[fab.hash_str])
    interceptors = [VersionHeaders("SuperExec"), signature]
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
