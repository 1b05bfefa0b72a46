"""The Grid of real nodes: what is asked arrives once, whatever happens to hub and nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import sleep

from flwr.app import Message

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import NotEnoughNodesError
from flip_lab.engines.base import EngineGrid, Reply
from flip_lab.engines.chosen_nodes import ChosenNodes
from flip_lab.engines.device_nodes import DeviceNodes
from flip_lab.engines.device_post import DevicePost
from flip_lab.engines.device_replies import DeviceReplies
from flip_lab.engines.flower.messages import RunInfo
from flip_lab.engines.hub_nodes import HubNodes
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.node_book import NodeBook
from flip_lab.engines.outbox import Outbox

_LOOK_S, _LOOK_AGAIN_S = 0.25, 1.0  # for nodes that a run waits for: a stop, them
_DESCRIBE_WAIT_S = 180.0  # a stock node starts a process, and imports torch, to answer


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a Grid of real nodes works with.

    Attributes:
        session: The run on the hub.
        outbox: What is not answered yet.
        book: Who the nodes are.
        replies: Makes replies of what arrives.
        chosen: Which of the nodes take part.
        hub: Knows nodes by name; ``None`` for a stock SuperLink.
        asks_partitions: Whether nodes can be asked which partition they hold.
        check: Called often while waiting; raises to leave.
    """

    session: HubSession
    outbox: Outbox
    book: NodeBook
    replies: DeviceReplies
    chosen: ChosenNodes
    hub: HubNodes | None
    asks_partitions: bool
    check: Callable[[], None]


class DeploymentGrid(EngineGrid):
    """The nodes of a hub or SuperLink, for the one run that this process drives there.

    Safe to call from several threads (Flower's legacy server does).

    Messages are with the nodes at once, and a node starts its client by itself. So a pause
    holds from the next push on, which ``RunGrid`` sees to; nodes that were asked before it
    finish. ``reconfigure`` is refused: the run configuration goes to the nodes with the
    app, when the run starts.

    Args:
        surroundings: What it works with.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        """Know no node yet."""
        self._all = surroundings
        self._session, self._book = surroundings.session, surroundings.book
        self._nodes = DeviceNodes(
            self._session,
            self._book,
            surroundings.hub,
            asks_partitions=surroundings.asks_partitions,
        )
        self._post = DevicePost(
            self._session,
            surroundings.outbox,
            self._nodes,
            surroundings.replies,
            check=surroundings.check,
        )

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._session.attachment.run

    @property
    def num_lost(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only
        """Nodes that were there and are not: rounds of a scenario go on without them.

        An app that asks for a number of nodes means it, and waits.
        """
        return self._book.num_lost if self._all.asks_partitions else 0

    def get_node_ids(self) -> Iterable[int]:
        """List the connected nodes that take part, by partition, unknown ones last.

        A simulation lists its nodes in the same order, so both sample the same cohorts.
        """
        self._all.check()
        online = self._nodes.look()
        while self._nodes.awaits(online):
            sleep(_LOOK_S)
            self._all.check()
            online = self._nodes.look()
        self._nodes.meet(online, self._ask)
        chosen = self._all.chosen.among(self._book.in_order(online), self.partition_of)
        return list(chosen)

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds; -1 when nobody knows."""
        return self._book.partition_of(node_id)

    def _ask(self, questions: list[Message]) -> Iterable[Message]:
        return self.send_and_receive(questions, timeout=_DESCRIBE_WAIT_S)

    def wait_for_nodes(self, num_nodes: int, *, timeout_s: float) -> None:
        """Wait until enough of the nodes that take part are connected.

        Raises:
            NotEnoughNodesError: If they are not there in time.
            CohortError: If nodes are there, and none is of those that were chosen.
        """
        end_s, next_s = tick_s() + timeout_s, 0.0
        online: list[int] = []
        while True:
            self._all.check()
            if tick_s() >= next_s:
                online = list(self.get_node_ids())
                next_s = tick_s() + _LOOK_AGAIN_S
            wanted = self._all.chosen.num_wanted(num_nodes)
            if wanted and len(online) >= wanted:
                return
            if not wanted or tick_s() >= end_s:
                self._all.chosen.require_somebody(self._nodes.look(), self.partition_of)
                raise NotEnoughNodesError(
                    f"{len(online)} of {wanted or num_nodes} nodes were connected after "
                    f"{timeout_s:.0f} s.",
                    fix="Start the missing nodes, or ask for fewer with num_nodes.",
                )
            sleep(_LOOK_S)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; a node that is no longer registered answers with an error."""
        return self._post.push(messages)

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give the replies that are there and not yet handed over."""
        return self._post.replies(message_ids, timeout_s=timeout_s)
