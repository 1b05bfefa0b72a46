"""The engine of real devices: this process drives the nodes of a SuperLink.

``on="hospitals"`` is the only change between simulation and reality.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Lock
from time import sleep

from flwr.app import Message, RecordDict

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FederationUnreachableError, NotEnoughNodesError
from flip_lab.engines.base import EngineGrid, Job, Reply
from flip_lab.engines.federations import FederationConfig, load_federation
from flip_lab.engines.flower.attach import Attachment, Ending, Run, attach
from flip_lab.engines.flower.control import SuperLink

__all__ = ["DeploymentEngine", "DeploymentGrid", "FederationConfig", "load_federation"]

_NODE_WAIT_S = 60.0
_DESCRIBE_WAIT_S = 180.0  # a stock node starts a process, and imports torch, to answer
_DETAILS_LENGTH = 500  # the SuperLink shows it in a list of runs
_POLL_S = (0.1, 1.0)  # eager while replies come, gentle with the SuperLink while none do


class DeploymentGrid(EngineGrid):
    """The nodes of a SuperLink, for the one run that this process drives there.

    Safe to call from several threads (Flower's legacy server does).

    Messages are with the nodes at once, and a node starts its client by itself. So a pause
    holds from the next push on, which ``RunGrid`` sees to; nodes that were asked before it
    finish. ``reconfigure`` is refused: the run configuration goes to the nodes with the
    app, when the run starts.

    Args:
        attachment: The run on the SuperLink.
    """

    def __init__(self, attachment: Attachment) -> None:
        """Start without knowing who holds which partition."""
        self._attachment = attachment
        self._partitions: dict[int, int] = {}
        self._lock = Lock()
        self._sent_s: dict[str, float] = {}
        self._ready: dict[str, Reply] = {}
        self._pause_s = _POLL_S[0]
        self._next_poll_s = 0.0

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return self._attachment.run

    def get_node_ids(self) -> Iterable[int]:
        """List the connected nodes by partition, those of unknown partition last.

        A simulation lists its nodes in the same order, so both sample the same cohorts.
        """
        online = self._attachment.online_node_ids()
        known = [node for node in online if node in self._partitions]
        unknown = [node for node in online if node not in self._partitions]
        return sorted(known, key=self._partitions.__getitem__) + unknown

    def partition_of(self, node_id: int) -> int:
        """Give the partition that the node reported; -1 if it was not asked or silent."""
        return self._partitions.get(node_id, -1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; a node that is no longer registered answers with an error."""
        batch = list(messages)
        if not batch:
            return []
        sent_s = now_s()
        ids = self._attachment.push(batch)
        with self._lock:
            self._sent_s.update(dict.fromkeys(ids, sent_s))
            self._pause_s, self._next_poll_s = _POLL_S[0], 0.0
        return ids

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give the replies that are there and not yet handed over.

        Asks the SuperLink each 0.1 s while replies come, and up to each second while none
        do, however short the time-outs of the calls are and however many threads wait.
        """
        wanted = set(message_ids)
        end_s = tick_s() + timeout_s
        while True:
            with self._lock:
                if timeout_s == 0 or tick_s() >= self._next_poll_s:
                    self._poll()
                arrived = [key for key in self._ready if key in wanted]
                replies = [self._ready.pop(key) for key in arrived]
                is_hopeless = wanted.isdisjoint(self._sent_s)
                pause_s = max(self._next_poll_s - tick_s(), 0.0)
            rest_s = end_s - tick_s()
            if replies or is_hopeless or rest_s <= 0:
                return replies
            sleep(min(rest_s, pause_s))

    def _poll(self) -> None:
        """Fetch what has arrived for anybody."""
        messages = self._attachment.pull(list(self._sent_s)) if self._sent_s else []
        self._pause_s = _POLL_S[0] if messages else min(self._pause_s * 1.5, _POLL_S[1])
        self._next_poll_s = tick_s() + self._pause_s
        for message in messages:
            message_id = message.metadata.reply_to_message_id
            sent_s = self._sent_s.pop(message_id)
            self._ready[message_id] = Reply(
                message=message, started_s=sent_s, duration_s=now_s() - sent_s
            )

    def wait_for_nodes(self, num_nodes: int, *, timeout_s: float) -> None:
        """Wait until enough nodes are connected.

        Raises:
            NotEnoughNodesError: If they are not there in time.
        """
        end_s = tick_s() + timeout_s
        while len(online := self._attachment.online_node_ids()) < num_nodes:
            if tick_s() >= end_s:
                raise NotEnoughNodesError(
                    f"{len(online)} of {num_nodes} nodes were connected after "
                    f"{timeout_s:.0f} s.",
                    fix="Start the missing nodes, or ask for fewer with num_nodes.",
                )
            sleep(_POLL_S[1])

    def ask_partitions(self) -> None:
        """Ask every connected node once which partition it holds."""
        nodes = self._attachment.online_node_ids()
        questions = [Message(RecordDict(), node, "query.describe") for node in nodes]
        for answer in self.send_and_receive(questions, timeout=_DESCRIBE_WAIT_S):
            partition_id = _described_partition(answer)
            if partition_id is not None:
                self._partitions[answer.metadata.src_node_id] = partition_id


def _described_partition(answer: Message) -> int | None:
    if not answer.has_content():
        return None
    content = answer.content
    found = [
        record.get("partition-id")
        for name, record in (
            *content.config_records.items(),
            *content.metric_records.items(),
        )
        if name in {"config", "metrics"}
    ]
    return next((value for value in found if isinstance(value, int)), None)


class DeploymentEngine:
    """Real devices: attaches to the federation's SuperLink and drives its nodes.

    Args:
        federation: Which one.
        node_wait_s: How long to wait for the nodes that a run needs, seconds.
    """

    name = "deployment"

    def __init__(
        self, federation: FederationConfig, *, node_wait_s: float = _NODE_WAIT_S
    ) -> None:
        """Keep the address; nothing is connected yet."""
        self._federation = federation
        self._node_wait_s = node_wait_s

    @contextmanager
    def open(self, job: Job) -> Generator[DeploymentGrid]:
        """Become the ServerApp of a new run; the SuperLink learns how it ended.

        Leaving normally completes the run there, an exception fails it, and what ends a
        program (KeyboardInterrupt, SystemExit) stops it.

        Raises:
            FederationUnreachableError: If the SuperLink does not answer, or refuses us.
            NotEnoughNodesError: If fewer than ``job.num_nodes`` nodes come in time.
        """
        superlink = _superlink(self._federation)
        attachment = attach(superlink, files=job.app.fab_files(), run_config=job.run_config)
        try:
            grid = DeploymentGrid(attachment)
            grid.wait_for_nodes(job.num_nodes, timeout_s=self._node_wait_s)
            if job.answers_describe:
                grid.ask_partitions()
            yield grid
        except Exception as error:
            told = f"{type(error).__name__}: {error}"[:_DETAILS_LENGTH]
            attachment.close(Ending.FAILED, told)
            raise
        except BaseException:
            attachment.close(Ending.STOPPED, "Stopped where the run was launched.")
            raise
        attachment.close(Ending.COMPLETED)


def _superlink(federation: FederationConfig) -> SuperLink:
    """Read the files that a federation names.

    Raises:
        FederationUnreachableError: If one cannot be read.
    """
    roots = federation.root_certificates
    try:
        return SuperLink(
            address=federation.address,
            root_certificates=roots.read_bytes() if roots else None,
            superexec_secret=federation.superexec_secret.read_bytes(),
        )
    except OSError as error:
        raise FederationUnreachableError(
            f"A file of federation {federation.name!r} cannot be read: {error}.",
            fix="Copy it from the SuperLink's administrator, and name it in flip-lab.toml.",
        ) from error
