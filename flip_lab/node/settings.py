"""What a site says of its node: where its hub is, what may run, and how much it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flip_lab.fl.data.site_source import DataSource, NodeScalar, site_config

SCENARIOS = "scenarios"
"""Lets the scenarios of this version of FLIP Lab run."""

WORK = "work"
"""Where clients run, in the directory of the first node of a process."""


@dataclass(frozen=True, kw_only=True)
class NodeLimits:
    """What one client call may use at a site.

    Time and memory need worker processes (``workers`` of at least 1): a call in the node's
    own process cannot be stopped. The size of messages holds everywhere.

    Attributes:
        call_timeout_s: Longest time from start to end, seconds; > 0.
        memory_mb: Largest address space of a worker, MiB; ``None`` for no limit.
        cpu_s: Longest processor time of one call, seconds; ``None`` for no limit.
        message_mb: Largest message in either direction, MiB; > 0.
    """

    call_timeout_s: float = 3600.0
    memory_mb: int | None = None
    cpu_s: float | None = None
    message_mb: int = 1024


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """The endpoint at which a site answers predictions.

    Attributes:
        host: Address to listen at.
        port: Port to listen at, 0 for any free one.
        token_file: File with the token that callers must send; ``None``: the node writes
            one to ``serve.token`` in its directory.
        certificate: PEM file that the endpoint shows, with those between it and its
            authority; without one it listens on this machine only.
        key: PEM file of the private key to it.
    """

    host: str = "127.0.0.1"
    port: int = 8082
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Everything that a node knows of itself.

    Attributes:
        name: The site's name, as the hub knows it.
        hub: ``host:port`` of the hub (or of a stock SuperLink).
        directory: The node's directory.
        config: Flower's node configuration: ``partition-id``, ``num-partitions``, …
        data: The site's data; ``None`` when apps bring their own.
        allow: Which apps may run: ``"scenarios"`` (those of this version of FLIP Lab),
            ``"any"``, or ``"sha256:<app hash>"``.
        limits: What one client call may use.
        logs_tail_lines: Lines of a failed client's traceback that the researcher gets;
            0: none, only which error it was.
        workers: Worker processes for client calls, reused; 0: the node's own process,
            where no limit holds but that of messages. Sites that enrol begin with 1.
        serve: The prediction endpoint; ``None`` for none.
    """

    name: str
    hub: str
    directory: Path
    config: Mapping[str, NodeScalar] = field(default_factory=dict[str, NodeScalar])
    data: DataSource | None = None
    allow: tuple[str, ...] = (SCENARIOS,)
    limits: NodeLimits = field(default_factory=NodeLimits)
    logs_tail_lines: int = 0
    workers: int = 0
    serve: ServeSettings | None = None

    def node_config(self) -> dict[str, NodeScalar]:
        """Give what clients see as their node configuration, the data among it."""
        return {**self.config, **(site_config(self.data, self.directory))}

    @property
    def key_file(self) -> Path:
        """The node's private key, made here and never sent."""
        return self.directory / "node.key"

    @property
    def root_certificates(self) -> Path | None:
        """The one authority that the node trusts; ``None``: the system's."""
        path = self.directory / "ca.crt"
        return path if path.exists() else None

    @property
    def contexts(self) -> Path:
        """Where clients' contexts are kept, one directory for each run."""
        return self.directory / "contexts"

    @property
    def models(self) -> Path:
        """Where delivered models are kept."""
        return self.directory / "models"

    @property
    def log_file(self) -> Path:
        """The node's own log; it never leaves the site."""
        return self.directory / "node.log"

    @property
    def status_file(self) -> Path:
        """What the node says of itself at this moment, JSON."""
        return self.directory / "status.json"
