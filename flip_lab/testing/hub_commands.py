"""The command lines of a loopback hub: what people type, with ports of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flip_lab.hub.place import HubPlace
from flip_lab.node.config import load_node
from flip_lab.testing.hub_nodes import HubNode
from flip_lab.testing.hub_processes import script
from flip_lab.testing.network import Host


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Gives the command of each process.

    Attributes:
        place: The hub's directory.
        host: The address where hubs listen.
        ports: One for each hub; with several all of them are standbys.
        nodes: The enrolled nodes; grows.
        hosts: Where each node runs, if not here.
        in_one_process: Whether one process is all the nodes.
    """

    place: HubPlace
    host: str
    ports: Sequence[int]
    nodes: Sequence[HubNode]
    hosts: Sequence[Host]
    in_one_process: bool

    def hub(self, number: int) -> list[str]:
        """Give the command of a hub."""
        command = [script("flip-lab"), "hub", "up", str(self.place.path)]
        where = ["--host", self.host, "--port", str(self.ports[number])]
        return [*command, *where, *(["--standby"] if len(self.ports) > 1 else [])]

    def node(self, index: int) -> list[str]:
        """Give the command of a node, or of all of them."""
        command = [script("flip-lab"), "node", "up"]
        directory = self.nodes[index].directory
        if self.in_one_process:
            workers = load_node(directory).workers
            return [
                *command,
                f"--directory={directory.parent}",
                f"--count={len(self.nodes)}",
                f"--workers={workers}",
            ]
        command.append(str(directory))
        return self.hosts[index].command(command) if self.hosts else command
