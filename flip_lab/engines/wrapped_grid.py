"""An engine's Grid as a wrapper hands it on: its nodes, their states, its clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import RecordDict

from flip_lab.core.ports import Control
from flip_lab.engines.base import EngineGrid
from flip_lab.engines.chosen_nodes import NodeRoll, fit_to_choice
from flip_lab.engines.flower.messages import RunInfo


class WrappedGrid(EngineGrid):
    """A Grid around another one, without the nodes that users leave out.

    Args:
        inner: The engine's Grid.
        control: Knows how long the run was paused.

    Attributes:
        choice: Which nodes the launch chose; empty for all.
    """

    def __init__(self, inner: EngineGrid, control: Control) -> None:
        """Wrap an open Grid."""
        self._inner = inner
        self._control = control
        self._roll = NodeRoll(inner)
        self.choice = ""

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._inner.run

    @property
    def excluded(self) -> frozenset[int]:
        """Nodes that the user leaves out; ``sample_nodes`` does not wait for them."""
        return self._roll.excluded

    @property
    def num_lost(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only
        """Nodes that were there and are not."""
        return self._inner.num_lost

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes in order of their partitions, without those that are left out."""
        return self._roll.here()

    def found(self, nodes: Mapping[int, int]) -> frozenset[int]:
        """Find nodes that may have other ids here, see ``NodeRoll.found``."""
        return self._roll.found(nodes)

    def fit(self, strategy: object) -> None:
        """Let a strategy not wait for nodes that take no part, see ``fit_to_choice``."""
        if self.choice:
            fit_to_choice(strategy, self.choice, len(list(self.all_node_ids())))

    def all_node_ids(self) -> Iterable[int]:
        """List all nodes in order of their partitions."""
        return self._inner.get_node_ids()

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds, 0-based; -1 when unknown."""
        return self._inner.partition_of(node_id)

    def node_states(self) -> Mapping[int, RecordDict]:
        """Give the Context state of each node that has one, by node id."""
        return self._inner.node_states()

    def restore_states(self, states: Mapping[int, RecordDict]) -> None:
        """Give nodes the states of a checkpoint."""
        self._inner.restore_states(states)

    def worked_s(self) -> float:
        """Give the clock that time-outs go by, in s: it stands still in a pause."""
        return super().worked_s() - self._control.paused_s()
