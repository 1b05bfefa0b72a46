"""Who takes part: the nodes that a launch chose, without those that users leave out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from flip_lab.core.cohort import NodeChoice, NodeFacts
from flip_lab.core.errors import CohortError
from flip_lab.engines.base import EngineGrid

_MOST_LISTED = 20


class NodeRoll:
    """Knows which of an engine's nodes take part; in order of their partitions.

    Args:
        inner: The engine's Grid.

    Attributes:
        excluded: Nodes that users leave out now.
    """

    def __init__(self, inner: EngineGrid) -> None:
        """Leave nobody out."""
        self._inner = inner
        self.excluded: frozenset[int] = frozenset()

    def here(self) -> Iterable[int]:
        """List those that take part."""
        nodes = self._inner.get_node_ids()
        if not self.excluded:
            return nodes
        return tuple(node_id for node_id in nodes if node_id not in self.excluded)

    def found(self, nodes: Mapping[int, int]) -> frozenset[int]:
        """Find nodes that may have other ids here, where the run did not begin.

        Args:
            nodes: Partitions by node id, -1 when unknown.

        Returns:
            Their ids here: those with such an id, or such a partition.
        """
        if not nodes:
            return frozenset()
        partitions = {partition_id for partition_id in nodes.values() if partition_id >= 0}
        return frozenset(
            node_id
            for node_id in self._inner.get_node_ids()
            if node_id in nodes or self._inner.partition_of(node_id) in partitions
        )


class ChosenNodes:
    """Picks the nodes of a launch's choice, such as ``eu and not slow``.

    Args:
        choice: What the launch chose; empty takes every node.
        look_up: Gives what is known of nodes by id, asked when a node is seen for the
            first time; ``None`` where nobody knows nodes by name: a simulation, or a stock
            SuperLink.

    Raises:
        CohortError: If the choice cannot be understood, or names what nobody knows here.
    """

    def __init__(
        self, choice: str, look_up: Callable[[], Mapping[int, NodeFacts]] | None = None
    ) -> None:
        """Understand the choice; nobody is asked yet."""
        self._choice = NodeChoice.parse(choice) if choice else None
        self._look_up = look_up
        self._known: Mapping[int, NodeFacts] = {}
        if self._choice is not None and self._choice.words and look_up is None:
            raise CohortError(
                f"Nobody knows nodes by {', '.join(map(repr, self._choice.words))} here.",
                fix="Name partitions, such as nodes='0-3, 7'; names and tags are known to "
                "a hub.",
            )

    @property
    def needs_partitions(self) -> bool:
        """Whether it can only tell of nodes whose partition is known."""
        return self._choice is not None and self._choice.has_partitions

    def among(
        self, node_ids: Iterable[int], partition_of: Callable[[int], int]
    ) -> Iterable[int]:
        """Give those of some nodes that were chosen, in their order.

        Args:
            node_ids: The nodes that are there.
            partition_of: Gives the partition of a node, -1 when unknown.
        """
        choice = self._choice
        if choice is None:
            return node_ids
        there = list(node_ids)
        if self._look_up is not None and any(node not in self._known for node in there):
            self._known = self._look_up()
        return [node for node in there if choice.fits(self._facts(node, partition_of))]

    def num_wanted(self, num_nodes: int) -> int:
        """Say for how many nodes a run waits.

        Args:
            num_nodes: How many there are in all, chosen or not.

        Returns:
            How many of them were chosen, as far as that is known; 0 for none of those
            that are known, whether they are there now or not.
        """
        if self._choice is None:
            return num_nodes
        known = list(self._known.values())
        if not self._choice.words:
            known = [NodeFacts(partition_id=place) for place in range(num_nodes)]
        if not known:
            return num_nodes
        return min(num_nodes, sum(map(self._choice.fits, known)))

    def _facts(self, node_id: int, partition_of: Callable[[int], int]) -> NodeFacts:
        known = self._known.get(node_id, NodeFacts())
        partition_id = partition_of(node_id)
        if partition_id < 0:
            return known
        return NodeFacts(name=known.name, tags=known.tags, partition_id=partition_id)

    def nobody(self, node_ids: Iterable[int], partition_of: Callable[[int], int]) -> str:
        """Say why nobody was chosen, naming what there is to choose from; else nothing.

        Args:
            node_ids: The nodes that are there.
            partition_of: Gives the partition of a node, -1 when unknown.

        Returns:
            A sentence; empty where somebody was chosen, or nobody is there.
        """
        if self._choice is None:
            return ""
        there = list(node_ids)
        if not there or list(self.among(there, partition_of)):
            return ""
        facts = [self._facts(node, partition_of) for node in there]
        told = {
            "tags": sorted({tag for each in facts for tag in each.tags}),
            "names": sorted({each.name for each in facts if each.name}),
            "partitions": sorted({e.partition_id for e in facts if e.partition_id >= 0}),
        }
        known = "; ".join(f"{what}: {_listed(each)}" for what, each in told.items() if each)
        return (
            f"None of the {len(there)} nodes is {self._choice.text!r}. "
            f"There are {known or 'no names, tags or partitions'}."
        )

    def require_somebody(
        self, node_ids: Iterable[int], partition_of: Callable[[int], int]
    ) -> None:
        """Refuse a choice that no node meets.

        Raises:
            CohortError: If nodes are there, and none was chosen.
        """
        if problem := self.nobody(node_ids, partition_of):
            raise CohortError(problem, fix="Choose by what there is, or tag nodes first.")


def fit_to_choice(strategy: object, choice: str, num_chosen: int) -> None:
    """Let a strategy not wait for nodes that take no part.

    Args:
        strategy: A strategy of Flower's; ``min_available_nodes`` becomes at most the
            number of those that take part.
        choice: What the launch chose; empty for all nodes, who are waited for.
        num_chosen: How many take part.

    Raises:
        CohortError: If it trains or evaluates with more: it would wait for ever.
    """
    if not choice:
        return
    for name in ("min_train_nodes", "min_evaluate_nodes"):
        least = getattr(strategy, name, 0)
        if isinstance(least, int) and least > num_chosen:
            raise CohortError(
                f"{num_chosen} nodes are {choice!r}, and the strategy's {name} is {least}.",
                fix="Choose more nodes, or give the strategy a smaller one.",
            )
    waited_for = getattr(strategy, "min_available_nodes", 0)
    if isinstance(waited_for, int) and waited_for > num_chosen:
        vars(strategy)["min_available_nodes"] = num_chosen


def _listed(values: Iterable[object]) -> str:
    every = list(map(str, values))
    more = f" and {len(every) - _MOST_LISTED} more" if len(every) > _MOST_LISTED else ""
    return ", ".join(every[:_MOST_LISTED]) + more
