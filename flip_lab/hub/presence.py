"""Who is there: the last sign of life of each node, and broken connections.

A node that is killed goes without a word, and Flower notices after two missed heartbeats.
But its machine closes its connections at once; if one that the hub held open breaks, and
the node does not ask anything else soon, it is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from flip_lab.core.clock import now_s, tick_s
from flip_lab.engines.flower.superlink_state import HubLinkState
from flip_lab.hub.node_keys import KnownNode

GRACE_S = 3.0
"""How long a node may take to come back when a connection of it breaks."""


@dataclass(slots=True)
class Seen:
    """What is known of a node's connection.

    Attributes:
        last_s: Last sign of life, seconds since the Unix epoch.
        clock_skew_s: How far its clock was ahead of ours then.
        held: How many requests of it are held open now.
        lost_at: When it counts as lost if nothing comes, by the monotonic clock.
    """

    last_s: float
    clock_skew_s: float
    held: int = 0
    lost_at: float | None = None


class Presence:
    """Keeps count; ``tick`` may be called from another thread.

    Args:
        state: Learns who is there and who is lost.
    """

    def __init__(self, state: HubLinkState) -> None:
        """Have seen nobody yet."""
        self._state = state
        self._turn = Lock()
        self._seen: dict[int, Seen] = {}
        self._unsaved: dict[str, float] = {}
        self._online: set[int] = set()

    def sign(self, node: KnownNode, clock_skew_s: float) -> None:
        """Note a sign of life: any request that the node signed."""
        with self._turn:
            seen = self._seen.get(node.node_id)
            if seen is None:
                seen = self._seen[node.node_id] = Seen(last_s=0, clock_skew_s=0)
            seen.last_s = self._unsaved[node.fingerprint] = now_s()
            seen.clock_skew_s = clock_skew_s
            seen.lost_at = None
        self._state.keep_online(node.node_id)

    def expects(self, node_id: int) -> None:
        """Note that a node is about to ask more: if it does not, it is lost.

        Nothing of it is held open yet, so nothing would tell that its process ended.
        """
        with self._turn:
            self._seen[node_id].lost_at = tick_s() + GRACE_S

    def holds(self, node_id: int) -> None:
        """Note that a request of a node is held open."""
        with self._turn:
            self._seen[node_id].held += 1

    def holds_no_more(self, node_id: int, *, is_broken: bool) -> None:
        """Note that a request is not held any more.

        Args:
            node_id: Whose it was.
            is_broken: Whether the connection broke, rather than that we answered.
        """
        with self._turn:
            seen = self._seen[node_id]
            seen.held -= 1
            if is_broken and not seen.held:
                seen.lost_at = tick_s() + GRACE_S

    def tick(self) -> None:
        """Count those as lost that did not come back, and tell the runs that ask them."""
        now = tick_s()
        with self._turn:
            lost = [
                node_id
                for node_id, seen in self._seen.items()
                if seen.lost_at is not None and seen.lost_at <= now
            ]
            for node_id in lost:
                self._seen[node_id].lost_at = None
        for node_id in lost:
            self._state.deactivate_node(node_id)
        online = self._state.online()
        self._state.tell_askers(self._online - online)
        self._online = online

    def unsaved(self) -> Mapping[str, float]:
        """Give the last signs of life since the last call, by fingerprint."""
        with self._turn:
            unsaved, self._unsaved = self._unsaved, {}
        return unsaved

    def of(self, node_id: int) -> Seen | None:
        """Give what is known of a node's connection since the hub was started."""
        return self._seen.get(node_id)

    def online(self) -> set[int]:
        """Give the nodes that are there now, as Flower counts them."""
        return self._state.online()
