"""What rounds add to a checkpoint: their metrics, and the clients' states they changed.

Written once and shared by the checkpoints that follow, so that the cost of one does not
grow with the number of nodes or of rounds. All of it is Flower's own protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, TypeAlias

from flwr.app import MetricRecord, RecordDict

from flip_lab.engines.flower.checkpoint_records import (
    metrics_from_bytes,
    metrics_to_bytes,
    records_from_bytes,
    records_to_bytes,
)
from flip_lab.engines.flower.checkpoint_state import LoopState
from flip_lab.engines.flower.messages import scalars
from flip_lab.store.packs import Bytes, split

Entry: TypeAlias = tuple[str, int, bytes | None]
"""A kind (``state``, or a kind of metrics), its node or its round, the record."""

States: TypeAlias = Mapping[int, RecordDict]
_STATE = "state"


def histories(state: LoopState) -> dict[str, dict[int, MetricRecord]]:
    """Give a loop's aggregated metrics by kind and round, as Flower keeps them."""
    result = state.result
    return {
        "train": result.train_metrics_clientapp,
        "evaluate": result.evaluate_metrics_clientapp,
        "central": result.evaluate_metrics_serverapp,
    }


def new_metrics(state: LoopState, *, after: int) -> Iterator[Entry]:
    """Give the aggregated metrics of the rounds after one; -1 gives all."""
    for kind, history in histories(state).items():
        new: list[int] = []
        for server_round in reversed(history):  # rounds come in order
            if server_round <= after:
                break
            new.append(server_round)
        for server_round in reversed(new):
            yield kind, server_round, metrics_to_bytes(history[server_round])


def changed_states(before: States, now: States) -> Iterator[Entry]:
    """Give the states that changed; an engine replaces a node's records, never edits them.

    Args:
        before: Each node's records at the last checkpoint.
        now: Each node's records now.
    """
    for node_id, records in now.items():
        if before.get(node_id) is not records:
            yield _STATE, node_id, records_to_bytes(records)
    for node_id in before.keys() - now.keys():
        yield _STATE, node_id, None


def marks(entries: list[Entry]) -> dict[str, Any]:
    """Give what the header of a journal says of its entries."""
    return {
        "entries": [
            (kind, number, -1 if content is None else len(content))
            for kind, number, content in entries
        ]
    }


class Replay:
    """Puts together what the journals of a checkpoint say; later ones overrule earlier."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._found: dict[tuple[str, int], bytes | None] = {}

    def add(self, header: Mapping[str, Any], data: Bytes) -> None:
        """Take the next journal, as it was read."""
        entries = header["entries"]
        contents = iter(split(data, (length for *_, length in entries if length >= 0)))
        for kind, number, length in entries:
            content = None if length < 0 else next(contents).tobytes()
            self._found[kind, number] = content

    def states(self) -> dict[int, RecordDict]:
        """Give the clients' states by node.

        Raises:
            CorruptArtifactError: If one cannot be read.
        """
        return {
            number: records_from_bytes(content)
            for (kind, number), content in self._found.items()
            if kind == _STATE and content is not None
        }

    def tell(self, state: LoopState) -> None:
        """Put the metrics into a loop's result, in order of their rounds.

        Raises:
            CorruptArtifactError: If one cannot be read.
        """
        by_kind = histories(state)
        for (kind, number), content in self._found.items():
            if kind != _STATE and content is not None:
                by_kind[kind][number] = metrics_from_bytes(content)


def metrics_of_round(state: LoopState, server_round: int) -> dict[str, float]:
    """Give a round's finite metrics by name; those of the server are ``…_central``."""
    found: dict[str, float] = {}
    for kind, history in histories(state).items():
        suffix = "_central" if kind == "central" else ""
        numbers = scalars(history.get(server_round))
        found |= {f"{name}{suffix}": value for name, value in numbers.items()}
    return {name: value for name, value in found.items() if isfinite(value)}
