"""A hub and its nodes on this machine: real processes, real TLS, enrolled keys.

For tests, notebooks and demonstrations that must meet what a hospital meets::

    with LoopbackHub(num_nodes=2) as hub:
        hub.write_config(Path("flip-lab.toml"), "hospitals")
        lab.launch("hospitals", on="hospitals").wait()

The processes are those of ``flip-lab hub up`` and ``flip-lab node up``. Starting takes
seconds, so share one between the tests of a module. Meanwhile the hub and each node can be
killed, started again, and set up differently. They end with the block, and with the process
that it is in, also when that is killed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from flip_lab.core.clock import tick_s
from flip_lab.hub.preparing import prepare_hub
from flip_lab.testing.hub_commands import Commands
from flip_lab.testing.hub_contact import HubContact
from flip_lab.testing.hub_nodes import (
    HubNode,
    change_settings,
    enrolled_node,
    is_let_in,
)
from flip_lab.testing.hub_processes import (
    free_port,
    quiet_environment,
    wait_until,
)
from flip_lab.testing.hub_programs import Programs
from flip_lab.testing.leash import Leash
from flip_lab.testing.network import Host
from flip_lab.testing.network_balancer import Balancer

_LOOPBACK = "127.0.0.1"


class LoopbackHub(HubContact):
    """A hub and its nodes on this machine; a context manager.

    Args:
        num_nodes: Nodes to enrol and start; node ``i`` holds partition ``i``.
        in_one_process: Whether one process is all the nodes; then they start, stop and
            freeze together.
        node_options: What their ``node.toml`` says other than by default, as attributes of
            ``NodeConfig``: ``{"allow": ("any",)}``. ``change_node`` does it for one node.
        with_standby: Whether a second hub waits, both behind a load balancer.
        hosts: Where the nodes run, if not here; ``address`` is then one that they reach.
        address: The address of this machine where the hub listens.
        directory: Where everything is kept, also afterwards. Default: a temporary
            directory, which stays only when the block fails.
        start_timeout_s: How long starting may take in all; machines are slow at times.
    """

    def __init__(  # noqa: PLR0913  # each can be left out
        self,
        num_nodes: int = 2,
        *,
        in_one_process: bool = False,
        node_options: Mapping[str, Any] | None = None,
        with_standby: bool = False,
        hosts: Sequence[Host] = (),
        address: str = _LOOPBACK,
        directory: Path | None = None,
        start_timeout_s: float = 300.0,
    ) -> None:
        """Choose a size; entering the context starts the processes."""
        super().__init__(directory or Path())
        self._num_nodes = num_nodes
        self._in_one_process = in_one_process
        self._node_options = node_options or {}
        self._num_hubs = 1 + with_standby
        self._hosts = hosts
        self._host = address
        self._is_temporary = directory is None
        self._timeout_s = start_timeout_s
        self._cleanup = ExitStack()
        self._leash = Leash()
        self._ports = [free_port(address) for _ in range(self._num_hubs)]
        self._enrolled: list[HubNode] = []

    def __enter__(self) -> Self:
        """Start everything and wait until all nodes are online.

        Raises:
            EngineStartError: If they are not in time; the ends of the logs are its detail.
        """
        try:
            self._start_all()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """End exactly the processes that were started, nodes first."""
        self._cleanup.close()
        if error is not None and self.directory.exists():
            error.add_note(f"The loopback hub's logs are in {self.directory}.")
        elif self._is_temporary:
            shutil.rmtree(self.directory)

    # --- What is there ----------------------------------------------------------------

    @property
    def nodes(self) -> list[HubNode]:
        """The nodes, in order of their partitions."""
        return [
            replace(node, process_id=self._node_programs.process_id(self._program(index)))
            for index, node in enumerate(self._enrolled)
        ]

    @property
    def hub_process_id(self) -> int:
        """The process of the hub; with a standby, that of the one that is up for longer."""
        return self._hubs.process_id(self._hubs.first)

    # --- What may happen to the hub ---------------------------------------------------

    def kill_hub(self) -> None:
        """Kill the hub, as a power cut would; of two, the one that is up for longer."""
        self._hubs.kill(self._hubs.first)

    def stop_hub(self) -> None:
        """Ask the hub to end, and wait for it; of two, the one that is up for longer."""
        self._hubs.stop(self._hubs.first)

    def start_hub(self) -> None:
        """Start the hub that is not up, at its old port, and wait until one is ready.

        Raises:
            EngineStartError: If none is in time.
        """
        self._hubs.start(next(n for n in range(self._num_hubs) if not self._is_up(n)))
        self._wait("The hub", self.is_ready)

    def restart_hub(self) -> None:
        """End the hub and start it again at the same port; of two, as of ``stop_hub``.

        Raises:
            EngineStartError: If none is ready in time.
        """
        self.stop_hub()
        self.start_hub()

    # --- What may happen to nodes -----------------------------------------------------

    def add_node(self, **options: Any) -> HubNode:  # noqa: ANN401  # NodeConfig's attributes
        """Enrol a further node; ``start_node`` starts it.

        Args:
            **options: As of ``change_node``.
        """
        index = len(self._enrolled)
        count = max(self._num_nodes, index + 1)
        config = {"partition-id": index, "num-partitions": count}
        directory = self.directory / "nodes" / f"node-{index}"
        node = enrolled_node(self.place, self.address, directory, config)
        change_settings(directory, {**self._node_options, **options})
        self._enrolled.append(node)
        return node

    def change_node(self, index: int, **options: Any) -> None:  # noqa: ANN401  # as above
        """Change what a node's ``node.toml`` says; counts from its next start.

        Args:
            index: Which node.
            **options: Attributes of ``NodeConfig``, such as ``allow=("any",)``.
        """
        change_settings(self._enrolled[index].directory, options)

    def start_node(self, index: int, environment: Mapping[str, str] | None = None) -> None:
        """Start a node that is not up; ``wait_for_nodes`` waits until it is online.

        Args:
            index: Which node.
            environment: Variables beside the usual ones.
        """
        self._node_programs.start(self._program(index), environment)

    def stop_node(self, index: int) -> None:
        """Ask a node to finish what it does and end, and wait for it."""
        self._node_programs.stop(self._program(index))

    def kill_node(self, index: int) -> None:
        """Kill a node, as a power cut would."""
        self._node_programs.kill(self._program(index))

    def freeze_node(self, index: int) -> None:
        """Let a node's process stand still: its connections stay, and it says nothing."""
        self._node_programs.freeze(self._program(index))

    def thaw_node(self, index: int) -> None:
        """Let a frozen node go on."""
        self._node_programs.thaw(self._program(index))

    def wait_for_nodes(self) -> None:
        """Wait until every node that has a process is online, with this very process.

        A node that was killed a moment ago counts as online at its hub for a while.

        Raises:
            EngineStartError: If one ends, or is not online in time.
        """
        wanted = [node for node in self.nodes if node.process_id]
        names = {node.name for node in wanted}
        self._wait(
            "A node", lambda: all(map(is_let_in, wanted)) and names <= self.online_nodes()
        )

    # --- How it is made ---------------------------------------------------------------

    def _start_all(self) -> None:
        if self._is_temporary:
            self.directory = Path(tempfile.mkdtemp(prefix="flip-lab-"))
        self._cleanup.enter_context(self._leash)
        prepare_hub(self.place.path, hosts=[self._host, "localhost"], port=self._ports[0])
        self.address = f"{self._host}:{self._ports[0]}"
        if self._num_hubs > 1:
            targets = [f"{self._host}:{port}" for port in self._ports]
            balancer = Balancer(targets, self.root_certificates, host=self._host)
            self.address = self._cleanup.enter_context(balancer).address
        for _ in range(self._num_nodes):
            self.add_node()
        self._cleanup.callback(self._hubs.stop_all)
        self._cleanup.callback(self._node_programs.stop_all)  # first: they say goodbye
        self._hubs.start(0)
        for index in {self._program(index) for index in range(self._num_nodes)}:
            self._node_programs.start(index)
        self._wait("The hub", self.is_ready)
        for number in range(1, self._num_hubs):
            self._hubs.start(number)
        self.wait_for_nodes()

    @cached_property
    def _hubs(self) -> Programs:
        return Programs("hub", self.directory, self._commands.hub, self._environment)

    @cached_property
    def _node_programs(self) -> Programs:
        return Programs("node", self.directory, self._commands.node, self._environment)

    @cached_property
    def _commands(self) -> Commands:
        return Commands(
            place=self.place,
            host=self._host,
            ports=self._ports,
            nodes=self._enrolled,
            hosts=self._hosts,
            in_one_process=self._in_one_process,
        )

    @property
    def _environment(self) -> dict[str, str]:
        inherited = quiet_environment(self.directory, self._host)
        return {**inherited, **self._leash.environment}

    def _program(self, index: int) -> int:
        """Give the number of the process that a node is in."""
        return 0 if self._in_one_process else index

    def _is_up(self, number: int) -> bool:
        return bool(self._hubs.process_id(number))

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        watched = [*self._hubs.all, *self._node_programs.all]
        name = f"{what} of the loopback hub"
        wait_until(name, is_so, watched, tick_s() + self._timeout_s)
