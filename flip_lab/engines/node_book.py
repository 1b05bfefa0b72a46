"""Who the nodes of a run are, what each holds, and who of them is there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flip_lab.core.cohort import NodeFacts
from flip_lab.core.notice import Notice, Notify
from flip_lab.engines.hub_nodes import HubNode


class NodeBook:
    """What is known of nodes, by Flower's id of them.

    Args:
        notify: Told when a node that was there is lost, and when it is back.
    """

    def __init__(self, notify: Notify) -> None:
        """Know nobody."""
        self._notify = notify
        self._names: dict[int, str] = {}
        self._tags: dict[int, frozenset[str]] = {}
        self._partitions: dict[int, int] = {}
        self._met: set[int] = set()
        self._lost: set[int] = set()

    def learn(self, nodes: Mapping[int, HubNode]) -> None:
        """Take over what a hub knows."""
        for node_id, node in nodes.items():
            self._names[node_id] = node.name
            self._tags[node_id] = node.tags
            if node.partition_id >= 0:
                self._partitions[node_id] = node.partition_id

    def holds(self, node_id: int, partition_id: int) -> None:
        """Take note of what a node said that it holds."""
        self._partitions[node_id] = partition_id

    def strangers(self, online: Iterable[int]) -> list[int]:
        """List nodes that have no name or no partition yet."""
        return [
            node_id
            for node_id in online
            if node_id not in self._names or node_id not in self._partitions
        ]

    def unplaced(self, online: Iterable[int]) -> list[int]:
        """List nodes that have no partition yet."""
        return [node_id for node_id in online if node_id not in self._partitions]

    def facts(self) -> Mapping[int, NodeFacts]:
        """Give what a choice of nodes looks at."""
        return {
            node_id: NodeFacts(
                name=name, tags=self._tags[node_id], partition_id=self.partition_of(node_id)
            )
            for node_id, name in self._names.items()
        }

    def in_order(self, online: Sequence[int]) -> list[int]:
        """List nodes by partition, those of unknown partition last.

        A simulation lists its nodes in the same order, so both sample the same cohorts.
        """
        known = [node for node in online if node in self._partitions]
        return sorted(known, key=self._partitions.__getitem__) + self.unplaced(online)

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds; -1 when unknown."""
        return self._partitions.get(node_id, -1)

    def who(self, node_id: int) -> str:
        """Name a node, such as ``node 'north' (partition 2)``."""
        name = self._names.get(node_id)
        told = f"node {name!r}" if name else f"node {node_id}"
        partition_id = self.partition_of(node_id)
        return f"{told} (partition {partition_id})" if partition_id >= 0 else told

    @property
    def num_lost(self) -> int:
        """How many nodes were there and are not."""
        return len(self._lost)

    def missing(self, online: Iterable[int]) -> set[int]:
        """Give the nodes that were there, are not, and were not given up as lost yet."""
        return self._met - self._lost - set(online)

    def online(self, node_ids: Iterable[int], *, may_return: bool) -> None:
        """Take note of who is connected now; tells of those who come back or go.

        Args:
            node_ids: Who is.
            may_return: Whether those that are missing may be on their way back to a hub
                that was lost itself; then nothing is told of them yet.
        """
        there = set(node_ids)
        for node_id in sorted(self._lost & there):
            self._lost.discard(node_id)
            self._tell("node_back", node_id, "is connected again")
        self._met |= there
        for node_id in () if may_return else sorted(self._met - there):
            self.lost(node_id, "is no longer connected; rounds go on without it")

    def lost(self, node_id: int, why: str) -> None:
        """Take note that a node is not there; tells of it once until it is back.

        Args:
            node_id: The node.
            why: The rest of a sentence that begins with the node.
        """
        if node_id not in self._lost:
            self._lost.add(node_id)
            self._met.add(node_id)
            self._tell("node_lost", node_id, why)

    def _tell(self, code: str, node_id: int, why: str) -> None:
        who = self.who(node_id)
        partition_id = self.partition_of(node_id)
        self._notify(
            Notice(
                code="node_back" if code == "node_back" else "node_lost",
                message=f"{who[0].upper()}{who[1:]} {why}.",
                node_id=node_id,
                partition_id=partition_id if partition_id >= 0 else None,
            )
        )
