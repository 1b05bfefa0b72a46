"""The Grid of real nodes: what is asked arrives once, whatever happens to hub and nodes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from threading import Condition, Lock
from time import sleep

from flwr.app import Message, RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FederationUnreachableError, NotEnoughNodesError
from flip_lab.engines.base import BREATH_S, EngineGrid, Reply
from flip_lab.engines.chosen_nodes import ChosenNodes
from flip_lab.engines.device_replies import DeviceReplies
from flip_lab.engines.flower.attach import Attachment
from flip_lab.engines.flower.fetching import Arrival
from flip_lab.engines.flower.messages import RunInfo
from flip_lab.engines.flower.outgoing import readdressed
from flip_lab.engines.hub_nodes import HubNodes
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.node_book import NodeBook
from flip_lab.engines.outbox import Outbox, Sent

_LOG = logging.getLogger(__name__)
_POLL_S = (0.1, 1.0)  # eager while replies come, gentle with a SuperLink while none do
_LOOK_S = 0.25
_NODES_EVERY_S = 5.0  # while replies are awaited
_RETURN_S = 60.0  # what nodes get to find a hub that was started again
_RESTART_S = 30.0  # what a node that went while it was at work gets to start again
_MOST_QUESTIONS = 3  # a stock node starts a process for each, and that may fail
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
        self._session, self._outbox = surroundings.session, surroundings.outbox
        self._book = surroundings.book
        self._asked = Counter[int]()
        self._pushing = Lock()
        self._news = Condition()
        self._is_polling = False
        self._ready: dict[str, Reply] = {}
        self._pause_s = _POLL_S[0]
        self._next_poll_s = self._looked_s = 0.0
        self._online = frozenset[int]()

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._session.attachment.run

    # --- nodes -------------------------------------------------------------------

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
        online = self._look()
        self._meet(online)
        chosen = self._all.chosen.among(self._book.in_order(online), self.partition_of)
        return list(chosen)

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds; -1 when nobody knows."""
        return self._book.partition_of(node_id)

    def _look(self) -> list[int]:
        """Ask who is connected, and tell who came and went."""
        online = self._session.call(lambda attachment: attachment.online_node_ids())
        self._online = frozenset(online)
        self._looked_s = tick_s()
        self._book.online(online, may_return=self._are_returning)
        return online

    def _meet(self, online: list[int]) -> None:
        """Learn who nodes are that were not there before, and what each of them holds."""
        if self._all.hub is not None and self._book.strangers(online):
            try:
                self._book.learn(self._all.hub.known())
            except FederationUnreachableError as error:  # the run does not depend on it
                _LOG.warning("Nodes go without their names for now: %s", error)
        unplaced = self._book.unplaced(online)
        new = [node for node in unplaced if self._asked[node] < _MOST_QUESTIONS]
        if new and self._all.asks_partitions:
            self._ask_partitions(new)

    def _ask_partitions(self, nodes: Iterable[int]) -> None:
        """Ask nodes which partition each holds; again when one did not say."""
        self._asked.update(nodes)
        questions = [Message(RecordDict(), node, "query.describe") for node in nodes]
        for answer in self.send_and_receive(questions, timeout=_DESCRIBE_WAIT_S):
            partition_id = _described_partition(answer)
            if partition_id is not None:
                self._book.holds(answer.metadata.src_node_id, partition_id)

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
                next_s = tick_s() + _POLL_S[1]
            wanted = self._all.chosen.num_wanted(num_nodes)
            if wanted and len(online) >= wanted:
                return
            if not wanted or tick_s() >= end_s:
                self._all.chosen.require_somebody(self._look(), self.partition_of)
                raise NotEnoughNodesError(
                    f"{len(online)} of {wanted or num_nodes} nodes were connected after "
                    f"{timeout_s:.0f} s.",
                    fix="Start the missing nodes, or ask for fewer with num_nodes.",
                )
            sleep(_LOOK_S)

    # --- messages ----------------------------------------------------------------

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; a node that is no longer registered answers with an error."""
        batch = list(messages)
        if not batch:
            return []
        with self._news:
            added = self._outbox.add(batch)
        try:
            self._flush()
        except BaseException:
            with self._news:
                for each in added:
                    self._outbox.forget(each)
            raise
        with self._news:
            self._pause_s, self._next_poll_s = _POLL_S[0], 0.0
        return [each.message_id for each in added]

    def _flush(self) -> None:
        """Send what the run has not sent yet, also what a run before it had."""
        with self._pushing:
            self._session.call(self._flush_to)

    def _flush_to(self, attachment: Attachment) -> None:
        with self._news:
            due = self._outbox.due(attachment, self._may_go)
        if not due:
            return
        twins = readdressed((each.message, each.node_id) for each in due)
        refused = attachment.push(twins, self._all.check)
        with self._news:
            for each, twin in zip(due, twins, strict=True):
                wire_id = twin.metadata.message_id
                self._outbox.sent(attachment, each, wire_id, is_refused=wire_id in refused)

    @property
    def _are_returning(self) -> bool:
        """Whether the hub was lost a moment ago, and nodes are on their way back to it."""
        return tick_s() - self._session.back_s < _RETURN_S

    def _may_return(self, each: Sent) -> bool:
        """Whether a node that is not there still has time to come back.

        A hub misses a node at once, a stock SuperLink only after a minute: time enough.
        """
        grace_s = 0.0 if self._all.hub is None else _RESTART_S
        return self._are_returning or tick_s() - each.away_s < grace_s

    def _may_go(self, each: Sent) -> bool:
        """Whether a node is there to be asked, or had its time to come back."""
        has_looked = self._looked_s > max(self._session.back_s, each.away_s)
        is_there = has_looked and each.node_id in self._online
        return is_there or not self._may_return(each)

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Give the replies that are there and not yet handed over.

        A hub holds the question until there is an answer. A SuperLink is asked each 0.1 s
        while replies come, and up to each second while none do, however short the time-outs
        of the calls are and however many threads wait.
        """
        wanted = set(message_ids)
        end_s = tick_s() + timeout_s
        has_polled = False
        while True:
            with self._news:
                arrived = [key for key in self._ready if key in wanted]
                if arrived or not self._outbox.has(wanted):
                    return [self._ready.pop(key) for key in arrived]
                rest_s = end_s - tick_s()
                if rest_s <= 0 and (has_polled or timeout_s > 0):
                    return []
                pause_s = max(self._next_poll_s - tick_s(), 0.0) if timeout_s else 0.0
                if self._is_polling or pause_s:
                    self._wait(min(rest_s, pause_s or rest_s))
                    has_polled = True
                    continue
                self._is_polling = True
            try:
                self._poll(max(rest_s, 0.0))
            finally:
                has_polled = True
                with self._news:
                    self._is_polling = False
                    self._news.notify_all()

    def _wait(self, duration_s: float) -> None:
        """Wait for another thread's news, or until it is time to ask."""
        if self._is_polling:
            self._news.wait(max(duration_s, 0.0))
            return
        self._news.release()
        try:
            sleep(max(duration_s, 0.0))
        finally:
            self._news.acquire()

    def _poll(self, wait_s: float) -> None:
        """Fetch what has arrived for anybody."""
        with self._news:
            is_urgent = self._outbox.holds(self._session.attachment)
        every_s = _LOOK_S if is_urgent else _NODES_EVERY_S
        if tick_s() >= self._looked_s + every_s:
            self._look()
        self._flush()
        arrivals = self._session.call(lambda attachment: self._pull(attachment, wait_s))
        for arrival in arrivals:
            self._take(arrival)
        is_held = self._session.attachment.is_news_told
        with self._news:
            eager_s, gentle_s = _POLL_S
            pause_s = eager_s if arrivals else min(self._pause_s * 1.5, gentle_s)
            self._pause_s = pause_s
            self._next_poll_s = tick_s() + (0.0 if is_held else pause_s)

    def _pull(self, attachment: Attachment, wait_s: float) -> list[Arrival]:
        with self._news:
            limits = self._outbox.on(attachment)
        return attachment.pull(limits, wait_s=min(wait_s, BREATH_S)) if limits else []

    def _take(self, arrival: Arrival) -> None:
        with self._news:
            each = self._outbox.find(arrival.message_id)
        if each is None:
            return
        if arrival.is_node_away and not self._are_returning:
            self._book.lost(each.node_id, "was lost while it was at work")
            each.away_s = tick_s() if each.away_s == -inf else each.away_s
        may_return = self._may_return(each)
        reply = self._all.replies.reply(each, arrival, may_return=may_return)
        with self._news:
            if reply is None:
                self._outbox.again(each)
                return
            self._outbox.forget(each)
            self._ready[each.message_id] = reply


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
