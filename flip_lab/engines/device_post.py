"""Messages to real nodes: each arrives and is answered once, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from threading import Condition, Lock
from time import sleep

from flwr.app import Message

from flip_lab.core.clock import tick_s
from flip_lab.engines.base import BREATH_S, Reply
from flip_lab.engines.device_nodes import DeviceNodes
from flip_lab.engines.device_replies import DeviceReplies
from flip_lab.engines.flower.attach import Attachment
from flip_lab.engines.flower.fetching import Arrival
from flip_lab.engines.flower.outgoing import readdressed
from flip_lab.engines.hub_session import HubSession
from flip_lab.engines.outbox import Outbox, Sent

_POLL_S = (0.1, 1.0)  # eager while replies come, gentle with a SuperLink while none do
_FEW, _GATHER_S = 8, 0.04  # replies of more nodes than that are fetched several at a time
_LOOK_S = 0.25  # while somebody is waited for
_NODES_EVERY_S = 5.0  # while replies are awaited
_RESTART_S = 30.0  # what a node that went while it was at work gets to start again


class DevicePost:
    """What is under way between a run and its nodes; for several threads.

    Args:
        session: The run on the hub.
        outbox: What is not answered yet.
        nodes: Who is there.
        replies: Makes replies of what arrives.
        check: Called often while sending; raises to leave.
    """

    def __init__(
        self,
        session: HubSession,
        outbox: Outbox,
        nodes: DeviceNodes,
        replies: DeviceReplies,
        *,
        check: Callable[[], None],
    ) -> None:
        """Begin with nothing under way."""
        self._session, self._outbox = session, outbox
        self._nodes, self._replies = nodes, replies
        self._check = check
        self._pushing = Lock()
        self._news = Condition()
        self._is_polling = False
        self._ready: dict[str, Reply] = {}
        self._pause_s = _POLL_S[0]
        self._next_poll_s = 0.0

    def push(self, messages: Iterable[Message]) -> list[str]:
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
        refused = attachment.push(twins, self._check)
        with self._news:
            for each, twin in zip(due, twins, strict=True):
                wire_id = twin.metadata.message_id
                self._outbox.sent(attachment, each, wire_id, is_refused=wire_id in refused)

    def _may_return(self, each: Sent) -> bool:
        """Whether a node that is not there still has time to come back.

        A hub misses a node at once, a stock SuperLink only after a minute: time enough.
        """
        grace_s = _RESTART_S if self._nodes.are_missed_at_once else 0.0
        return self._nodes.are_returning or tick_s() - each.away_s < grace_s

    def _may_go(self, each: Sent) -> bool:
        """Whether a node is there to be asked, or had its time to come back."""
        has_looked = self._nodes.looked_s > max(self._session.back_s, each.away_s)
        is_there = has_looked and each.node_id in self._nodes.online
        return is_there or not self._may_return(each)

    def replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
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
        if tick_s() >= self._nodes.looked_s + every_s:
            self._nodes.look()
        self._flush()
        arrivals = self._session.call(lambda attachment: self._pull(attachment, wait_s))
        for arrival in arrivals:
            self._take(arrival)
        is_held = self._session.attachment.is_news_told
        with self._news:
            eager_s, gentle_s = _POLL_S
            pause_s = eager_s if arrivals else min(self._pause_s * 1.5, gentle_s)
            self._pause_s = pause_s
            is_crowd = bool(arrivals) and self._outbox.num_open > _FEW
            held_s = _GATHER_S if is_crowd else 0.0
            self._next_poll_s = tick_s() + (held_s if is_held else pause_s)

    def _pull(self, attachment: Attachment, wait_s: float) -> list[Arrival]:
        with self._news:
            limits = self._outbox.on(attachment)
        return attachment.pull(limits, wait_s=min(wait_s, BREATH_S)) if limits else []

    def _take(self, arrival: Arrival) -> None:
        with self._news:
            each = self._outbox.find(arrival.message_id)
        if each is None:
            return
        if arrival.is_node_away and not self._nodes.are_returning:
            self._nodes.lost(each.node_id)
            each.away_s = tick_s() if each.away_s == -inf else each.away_s
        may_return = self._may_return(each)
        reply = self._replies.reply(each, arrival, may_return=may_return)
        with self._news:
            if reply is None:
                self._outbox.again(each)
                return
            self._outbox.forget(each)
            self._ready[each.message_id] = reply
