"""What an engine is: something that opens a Grid for a job, and closes it again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import CommandRefusedError, RunError
from flip_lab.core.holding import Holding
from flip_lab.core.logged import Logged
from flip_lab.core.notice import Notify, unheard
from flip_lab.engines.gate import Gate

RunConfig: TypeAlias = Mapping[str, bool | int | float | str]

BREATH_S = 0.5
"""How often a waiting run looks up, seconds: stop requests, deadlines."""


def never_stopped() -> None:
    """Let a run that nobody can stop go on."""


def unknown_stopper(person: str, where: str) -> None:
    """Take note of nobody, where nobody keeps who stopped a run."""


def unheard_holding(holding: Holding) -> None:
    """Take what a node holds where nobody keeps that."""


class AppSource(Protocol):
    """How any process gets hold of an app; small and picklable, holds no live app."""

    def load_server_app(self) -> ServerApp:
        """Import or rebuild the ServerApp.

        Raises:
            AppImportError: If that raises, or gives something else.
        """
        ...

    def load_client_app(self) -> ClientApp:
        """Import or rebuild the ClientApp.

        Raises:
            AppImportError: If that raises, or gives something else.
        """
        ...

    def fab_files(self) -> dict[str, bytes]:
        """Give the app's source files by relative path, to send to real nodes.

        Raises:
            UnsupportedInputError: If the app has no source files of its own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an engine is asked to serve.

    Attributes:
        run_id: The run's id in the lab.
        seed: The run's seed.
        num_nodes: Simulated nodes, or the number of real nodes the run waits for.
        run_config: Flower's run configuration, as the app reads it from its Context.
        app: Where the ClientApp comes from.
        answers_describe: Whether the ClientApp answers the ``query.describe`` message
            with its partition (the apps built from a Scenario do).
        workers: Processes that train side by side, where the engine has processes.
        work_dir: Directory that apps run in.
        client_timeout_s: Longest time that one client call may take, seconds; a client
            that takes longer is stopped and counts as failed. ``None`` for no limit.
        durations_s: Seconds that partitions took to train before, where that is known;
            the longest are started first.
        nodes: Which of the nodes take part, see ``flip_lab.core.cohort``; empty for all.
        gate: Closed while the run is paused: then the engine starts no client.
        notify: Told what happens beside replies, such as a node that is lost.
        check_stop: Called often while the engine waits for nodes or for a hub; raises to
            leave when the user asked the run to end.
        stopped_by: Told when somebody ended the run where its nodes are: who (empty when
            unknown), and where. ``check_stop`` raises then.
        held: Told what real nodes say that they hold of the scenario's data.
    """

    run_id: str
    seed: int
    num_nodes: int
    run_config: RunConfig
    app: AppSource
    answers_describe: bool
    workers: int
    work_dir: Path
    client_timeout_s: float | None = None
    durations_s: Mapping[int, float] = field(default_factory=dict[int, float])
    nodes: str = ""
    gate: Gate = field(default_factory=Gate)
    notify: Notify = unheard
    check_stop: Callable[[], None] = never_stopped
    stopped_by: Callable[[str, str], None] = unknown_stopper
    held: Callable[[Holding], None] = unheard_holding


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A client's reply, with what the engine knows of how it came about.

    Attributes:
        message: The reply; ``reply_to_message_id`` names the message it answers. A reply
            with an error carries the tail of the client's traceback in its reason.
        started_s: When the client began, seconds since the Unix epoch.
        duration_s: Seconds the client took; on devices, from dispatch to reply.
        digest: Hash of the reply's arrays, where the engine took it beside the client.
        logged: What the client's code logged beside its reply, by name.
    """

    message: Message
    started_s: float
    duration_s: float
    digest: str = ""
    logged: Mapping[str, Logged] = field(default_factory=dict[str, Logged])


class EngineGrid(Grid):
    """A Grid that hands replies over as they come.

    An engine writes ``push_messages``, ``await_replies``, ``get_node_ids`` and
    ``partition_of``; waiting and ordering are here, once. Recording, seeding of the server
    and control are added around any engine by ``flip_lab.engines.run_grid.RunGrid``.
    """

    num_lost = 0
    """Nodes that were there and are not, which rounds need not wait for."""

    can_reconfigure = False
    """Whether clients can be let see other values of the run configuration."""

    @abstractmethod
    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give the replies to these messages that are there and not yet handed over.

        Args:
            message_ids: Ids that ``push_messages`` returned.
            timeout_s: How long to wait for the first one; 0 asks without waiting.

        Returns:
            New replies, in no promised order; empty when none came in time.
        """

    @abstractmethod
    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds, 0-based; -1 when unknown."""

    def node_states(self) -> Mapping[int, RecordDict]:
        """Give the Context state of each node that has one, by node id; for checkpoints.

        Nodes that keep their state themselves, as real devices do, are not among them.
        """
        return {}

    def restore_states(self, states: Mapping[int, RecordDict]) -> None:
        """Give nodes the states of a checkpoint; all others have none from now on.

        Raises:
            RunError: If nodes keep their state themselves, and there is one to restore.
        """
        if states:
            raise RunError(
                f"{len(states)} nodes had a state; these nodes keep theirs themselves.",
                fix="Resume the run on the kind of engine that it ran on.",
            )

    def reconfigure(self, changes: RunConfig) -> None:
        """Let clients see other values of the run configuration from now on.

        Args:
            changes: All values that differ from those that the run began with.

        Raises:
            CommandRefusedError: If the nodes were told theirs once and for all.
        """
        if changes:
            raise CommandRefusedError(
                f"Real nodes were told {', '.join(sorted(changes))} when the run began.",
                fix="Set what travels in the messages; run.settings lists it.",
            )

    def set_run(self, run: object) -> None:
        """Refuse: a Grid of ours serves the one run it was opened for.

        Raises:
            RunError: Always.
        """
        raise RunError(
            f"This Grid cannot be handed to another run ({run}).",
            fix="Launch another run; each gets a Grid of its own.",
        )

    def create_message(  # Flower's own signature
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Build a message, as Flower's older server loops ask the Grid to."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def worked_s(self) -> float:
        """Give the clock that time-outs go by, in s: it stands still in a pause."""
        return tick_s()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Give the replies that are there, without waiting."""
        return [reply.message for reply in self.await_replies(message_ids, timeout_s=0)]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies.

        Args:
            messages: What to send.
            timeout: How long to wait in all, seconds; ``None`` waits for every reply.

        Returns:
            The replies that came, in the order the messages were given and never in order
            of arrival: sums of floats depend on it.
        """
        order = list(self.push_messages(messages))
        end_s = None if timeout is None else self.worked_s() + timeout
        missing = dict.fromkeys(order)
        replies: dict[str, Message] = {}
        while missing and (end_s is None or self.worked_s() < end_s):
            left_s = BREATH_S if end_s is None else max(0.0, end_s - self.worked_s())
            for reply in self.await_replies(missing, timeout_s=min(BREATH_S, left_s)):
                message_id = reply.message.metadata.reply_to_message_id
                replies[message_id] = reply.message
                del missing[message_id]
        return [replies[key] for key in order if key in replies]


class Engine(Protocol):
    """Where a run happens: in process, on Ray, on real devices."""

    name: str

    def open(self, job: Job) -> AbstractContextManager[EngineGrid]:
        """Start what the job needs; leaving the context frees every process of it.

        Raises:
            EngineError: If it cannot start; nothing half-started is left behind.
            AppError: If the app cannot be loaded, or packed for the nodes.
        """
        ...
