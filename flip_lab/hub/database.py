"""The hub's database: what is true when hubs, nodes and researchers come and go.

A SuperLink forgets everything when it ends. This does not: at its start a hub registers
the nodes that are enrolled here, and a standby does so when it becomes the active one.
"""

from __future__ import annotations

from typing import Self

from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_deliveries import Deliveries
from flip_lab.hub.database_enrolments import Enrolments
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_nodes import Nodes
from flip_lab.hub.database_runs import Runs
from flip_lab.hub.database_tokens import Tokens
from flip_lab.hub.place import HubPlace
from flip_lab.store.layout import LabDir


class HubDatabase:
    """The tables of a hub; any number of threads and processes may use them at once.

    What people change is in the log of the hub's lab, under the name that ``acting_as``
    gives, before it counts.

    Args:
        place: The hub's directory.
        create: Whether to make the database; else it must be there.

    Attributes:
        connections: The SQLite file.
        nodes: Who is let in.
        enrolments: Tokens with which devices become nodes.
        tokens: What opens the hub to people.
        runs: Who started which run.
        deliveries: Models for nodes, and what became of them.

    Raises:
        HubStateError: If it is missing, damaged, or of a newer version.
    """

    def __init__(self, place: HubPlace, *, create: bool = False) -> None:
        """Open the file, and see that it is whole."""
        log = Log(LabDir(place.lab))
        self.connections = Connections(place.database_file, create=create)
        self.nodes = Nodes(self.connections, log)
        self.enrolments = Enrolments(self.connections, log)
        self.tokens = Tokens(self.connections, log)
        self.runs = Runs(self.connections, log)
        self.deliveries = Deliveries(self.connections, log)

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the file."""
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.connections.close()
