"""What is known of a round in numbers: of the federation, and of each client's reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

UPDATE_NUMBERS = ("update_norm", "drift", "cosine")
"""What is known of a client only once its arrays are looked at."""

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientNumbers:
    """What is known of one client's reply.

    Attributes:
        node_id: The node.
        partition_id: The slice of data that it holds, 0-based; -1 when unknown.
        numbers: By name: what the client reported, ``num_examples``, ``duration_s``, and
            where its arrays were looked at ``update_norm``, ``drift`` and ``cosine``.
    """

    node_id: int
    partition_id: int
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def name(self) -> str:
        """What people call it: by its partition, where that is known."""
        known = self.partition_id >= 0
        return f"partition {self.partition_id}" if known else f"node {self.node_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundNumbers:
    """What is known of a round when a condition is looked at.

    Attributes:
        server_round: The round, 1-based.
        metrics: Metrics of the whole federation, by name.
        clients: The clients that replied well, in the order of their replies.
        failures: How many of the cohort failed, or never replied.
    """

    server_round: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    clients: Sequence[ClientNumbers] = ()
    failures: int = 0


def named_clients(clients: Sequence[ClientNumbers]) -> list[str]:
    """Name the first few of some clients, and count the others."""
    names = [each.name for each in clients[:_MOST_NAMED]]
    more = len(clients) - len(names)
    return [*names, f"{more} more"] if more else names
