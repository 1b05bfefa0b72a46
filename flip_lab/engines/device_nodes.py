"""The nodes of a hub or SuperLink, as the run that drives them sees them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from math import inf

from flwr.app import Message, RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FederationUnreachableError
from flip_lab.engines.hub_nodes import HubNodes
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.node_book import NodeBook

_LOG = logging.getLogger(__name__)
_RETURN_S = 60.0  # what nodes get to find a hub that was started again
_MOST_QUESTIONS = 3  # a stock node starts a process for each, and that may fail

Ask = Callable[[list[Message]], Iterable[Message]]
"""Sends questions, and gives the answers that came."""


class DeviceNodes:
    """Who is there now, and what each of them holds.

    Args:
        session: The run on the hub.
        book: Keeps what is known of nodes.
        hub: Knows nodes by name; ``None`` for a stock SuperLink.
        asks_partitions: Whether nodes can be asked which partition they hold.

    Attributes:
        looked_s: When the hub was asked last who is there, by ``tick_s``.
        online: Who was.
    """

    def __init__(
        self,
        session: HubSession,
        book: NodeBook,
        hub: HubNodes | None,
        *,
        asks_partitions: bool,
    ) -> None:
        """Know no node yet."""
        self._session = session
        self._book = book
        self._hub = hub
        self._asks_partitions = asks_partitions
        self._asked = Counter[int]()
        self.looked_s = -inf
        self.online = frozenset[int]()

    @property
    def are_missed_at_once(self) -> bool:
        """Whether the other side is a hub; a stock SuperLink takes a minute."""
        return self._hub is not None

    @property
    def are_returning(self) -> bool:
        """Whether the hub was lost a moment ago, and nodes are on their way back to it."""
        return tick_s() - self._session.back_s < _RETURN_S

    def look(self) -> list[int]:
        """Ask who is connected, and tell who came and went."""
        online = self._session.call(lambda attachment: attachment.online_node_ids())
        self.online = frozenset(online)
        self.looked_s = tick_s()
        self._book.online(online, may_return=self.are_returning)
        return online

    def awaits(self, online: list[int]) -> bool:
        """Whether a hub that was started again does not have all its nodes back yet.

        A strategy sizes its cohort by who is there when it asks: a round that began now
        would have another one than in the simulation. Nodes of a stock SuperLink come back
        as other nodes, and nobody waits for those.
        """
        is_early = self.are_missed_at_once and self.are_returning
        return is_early and bool(self._book.missing(online))

    def lost(self, node_id: int) -> None:
        """Tell that a node went while it was at work."""
        self._book.lost(node_id, "was lost while it was at work")

    def meet(self, online: list[int], ask: Ask) -> None:
        """Learn who nodes are that were not there before, and what each of them holds.

        Args:
            online: Who is there now.
            ask: How to ask them.
        """
        if self._hub is not None and self._book.strangers(online):
            try:
                self._book.learn(self._hub.known())
            except FederationUnreachableError as error:  # the run does not depend on it
                _LOG.warning("Nodes go without their names for now: %s", error)
        unplaced = self._book.unplaced(online)
        new = [node for node in unplaced if self._asked[node] < _MOST_QUESTIONS]
        if new and self._asks_partitions:
            self._ask_partitions(new, ask)

    def _ask_partitions(self, nodes: Iterable[int], ask: Ask) -> None:
        """Ask nodes which partition each holds; again when one did not say."""
        self._asked.update(nodes)
        questions = [Message(RecordDict(), node, "query.describe") for node in nodes]
        for answer in ask(questions):
            partition_id = _described_partition(answer)
            if partition_id is not None:
                self._book.holds(answer.metadata.src_node_id, partition_id)


def _described_partition(answer: Message) -> int | None:
    if not answer.has_content():
        return None
    content = answer.content
    found = [
        record.get("partition-id")
        for name, record in (
            *content.config_records.items(),
            *content.metric_records.items(),
        )
        if name in {"config", "metrics"}
    ]
    return next((value for value in found if isinstance(value, int)), None)
