"""A real federation on this machine: a SuperLink and nodes as separate processes.

For tests that must meet Flower's own SuperLink and SuperNodes over TLS, with signed nodes,
as hospitals run them. Starting takes seconds, so share one between tests::

    with LoopbackFederation(num_nodes=2) as federation:
        federation.write_config(project / "flip-lab.toml", "loopback")
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FederationUnreachableError
from flip_lab.engines.flower.control import ControlClient, SuperLink
from flip_lab.testing.credentials import write_node_key, write_server_certificates
from flip_lab.testing.hub_processes import (
    Program,
    end_programs,
    free_port,
    quiet_environment,
    script,
    start_program,
    wait_until,
)
from flip_lab.testing.leash import Leash

_HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class LoopbackNode:
    """One SuperNode of a loopback federation.

    Attributes:
        node_id: Flower's id of the node.
        partition_id: What its ``--node-config`` says, 0-based.
        process_id: The SuperNode's process, which leads a process group of its own.
        log_path: What the node and its ClientApp processes print.
    """

    node_id: int
    partition_id: int
    process_id: int
    log_path: Path


class LoopbackFederation:
    """A SuperLink and its nodes on 127.0.0.1; a context manager.

    Args:
        num_nodes: SuperNodes to start; node ``i`` holds partition ``i``.
        start_timeout_s: How long starting may take in all; machines are slow at times.
    """

    def __init__(self, num_nodes: int = 2, *, start_timeout_s: float = 300.0) -> None:
        """Choose a size; entering the context starts the processes."""
        self.address = ""
        self.nodes: tuple[LoopbackNode, ...] = ()
        self._num_nodes = num_nodes
        self._start_timeout_s = start_timeout_s
        self._cleanup = ExitStack()
        self._leash = Leash()
        self._servers: list[Program] = []
        self._directory = Path()

    @property
    def root_certificates(self) -> Path:
        """The authority to trust, a PEM file."""
        return self._directory / "ca.crt"

    @property
    def superexec_secret(self) -> Path:
        """The file with the secret of the SuperLink."""
        return self._directory / "superexec.secret"

    def __enter__(self) -> Self:
        """Start everything and wait until all nodes are online.

        Raises:
            EngineStartError: If they are not in time; the ends of the logs are its detail.
        """
        try:
            self._start_all()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End exactly the processes that were started, nodes first."""
        self._cleanup.close()

    def write_config(self, path: Path, name: str) -> None:
        """Add this federation to a ``flip-lab.toml``, which may exist.

        Args:
            path: The file.
            name: What ``on=`` shall say: letters, digits, ``-`` and ``_``.
        """
        values = {
            "address": self.address,
            "root-certificates": str(self.root_certificates),
            "superexec-secret": str(self.superexec_secret),
        }
        # A JSON string is a TOML string.
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", f"[federations.{name}]", *lines, ""]))

    def _superlink(self) -> SuperLink:
        return SuperLink(
            address=self.address,
            root_certificates=self.root_certificates.read_bytes(),
            superexec_secret=self.superexec_secret.read_bytes(),
        )

    def _start_all(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="flip-lab-")
        self._directory = Path(self._cleanup.enter_context(temporary))
        self._cleanup.enter_context(self._leash)
        self._cleanup.callback(self._end_all)
        end_s = tick_s() + self._start_timeout_s
        self._start_superlink()
        with ControlClient(self._superlink()) as control:
            self._wait("The SuperLink", lambda: _answers(control), end_s)
            indices = range(self._num_nodes)
            self.nodes = tuple(self._start_node(control, index) for index in indices)
            ids = {node.node_id for node in self.nodes}
            self._wait("A node", lambda: ids <= set(control.online_node_ids()), end_s)

    def _end_all(self) -> None:
        """End the nodes first: they say goodbye to the SuperLink."""
        end_programs(self._servers[1:])
        end_programs(self._servers[:1])

    def _start_superlink(self) -> None:
        files = write_server_certificates(self._directory, host=_HOST)
        self.superexec_secret.write_bytes(secrets.token_bytes(32))
        port = free_port(_HOST)
        self.address = f"{_HOST}:{port}"
        options = {
            "host": _HOST,
            "port": str(port),
            "ssl-certfile": str(files.certificate),
            "ssl-keyfile": str(files.key),
            "ssl-ca-certfile": str(self.root_certificates),
            "isolation": "process",
            "superexec-auth-secret-file": str(self.superexec_secret),
        }
        flags = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
        self._start("flower-superlink", "superlink", options, *flags)

    def _start_node(self, control: ControlClient, index: int) -> LoopbackNode:
        key_path = self._directory / f"node-{index}.key"
        node_id = control.register_node(write_node_key(key_path))
        options = {
            "superlink": self.address,
            "root-certificates": str(self.root_certificates),
            "auth-supernode-private-key": str(key_path),
            "node-config": f"partition-id={index} num-partitions={self._num_nodes}",
            "isolation": "subprocess",
            "host": _HOST,
            "port": str(free_port(_HOST)),
        }
        server = self._start("flower-supernode", f"node-{index}", options)
        return LoopbackNode(
            node_id=node_id,
            partition_id=index,
            process_id=server.process.pid,
            log_path=server.log_path,
        )

    def _start(
        self, name: str, log_name: str, options: Mapping[str, str], *flags: str
    ) -> Program:
        command = [script(name), *flags]
        for key, value in options.items():
            command += [f"--{key}", value]
        environment = {
            **quiet_environment(self._directory, _HOST),
            **self._leash.environment,
        }
        log_path = self._directory / f"{log_name}.log"
        server = start_program(command, log_path, environment)
        self._servers.append(server)
        return server

    def _wait(self, what: str, is_ready: Callable[[], bool], end_s: float) -> None:
        wait_until(f"{what} of the loopback federation", is_ready, self._servers, end_s)


def _answers(control: ControlClient) -> bool:
    try:
        control.online_node_ids()
    except FederationUnreachableError:
        return False
    return True
