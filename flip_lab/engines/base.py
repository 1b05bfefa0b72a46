"""What an engine is: something that opens a Grid for a job, and closes it again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

RunConfig: TypeAlias = Mapping[str, bool | int | float | str]


class AppSource(Protocol):
    """How any process gets hold of an app; small and picklable, holds no live app."""

    def load_server_app(self) -> ServerApp:
        """Import or rebuild the ServerApp."""
        ...

    def load_client_app(self) -> ClientApp:
        """Import or rebuild the ClientApp."""
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
    """

    run_id: str
    seed: int
    num_nodes: int
    run_config: RunConfig
    app: AppSource
    answers_describe: bool
    workers: int
    work_dir: Path


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A client's reply, with what the engine knows of how it came about.

    Attributes:
        message: The reply; ``reply_to_message_id`` names the message it answers. A reply
            with an error carries the tail of the client's traceback in its reason.
        started_s: When the client began, seconds since the Unix epoch.
        duration_s: Seconds the client took; on devices, from dispatch to reply.
    """

    message: Message
    started_s: float
    duration_s: float


class EngineGrid(Grid):
    """A Grid that hands replies over as they come; all an engine has to write.

    Waiting, ordering, recording, seeding of the server and control are added once, around
    any engine, by ``flip_lab.engines.run_grid.RunGrid``.
    """

    @abstractmethod
    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give the replies to these messages that are there and not yet handed over.

        Args:
            message_ids: Ids that ``push_messages`` returned.
            timeout_s: How long to wait for the first one; 0 asks without waiting.

        Returns:
            New replies in order of arrival; empty when none came in time.
        """

    @abstractmethod
    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds, 0-based; -1 when unknown."""


class Engine(Protocol):
    """Where a run happens: in process, on Ray, on real devices."""

    name: str

    def open(self, job: Job) -> AbstractContextManager[EngineGrid]:
        """Start what the job needs; leaving the context frees every process of it.

        Raises:
            EngineError: If it cannot start; nothing half-started is left behind.
        """
        ...
