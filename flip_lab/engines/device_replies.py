"""What comes back from real nodes, made fit for a strategy and for the record."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Message

from flip_lab.core.clock import now_s
from flip_lab.core.errors import AppNotAllowedError, ReplyRefusedError
from flip_lab.core.holding import Holding
from flip_lab.core.notice import Notice, NoticeCode, Notify
from flip_lab.engines.base import Reply
from flip_lab.engines.flower.facts import Facts, take_facts
from flip_lab.engines.flower.fetching import NODE_AWAY, REPLY_GONE, Arrival
from flip_lab.engines.flower.messages import NO_REPLY, error_reply
from flip_lab.engines.flower.outgoing import readdressed_reply
from flip_lab.engines.node_book import NodeBook
from flip_lab.engines.outbox import Sent

REFUSED = 807
"""Error code of a reply that was refused, as its error's: FLIP-807."""


class DeviceReplies:
    """Makes replies of what arrived; refuses what no honest client sends.

    Args:
        book: Who the nodes are.
        notify: Told of replies that were refused, and of apps that a site refuses.
        held: Told what nodes say that they hold, with each reply that says so.
    """

    def __init__(
        self, book: NodeBook, notify: Notify, held: Callable[[Holding], None]
    ) -> None:
        """Begin with nothing told."""
        self._book = book
        self._notify = notify
        self._held = held
        self._told: set[int] = set()

    def reply(self, each: Sent, arrival: Arrival, *, may_return: bool) -> Reply | None:
        """Give the reply to a message.

        Args:
            each: The message.
            arrival: What came.
            may_return: Whether a node that the hub misses may be on its way back to it.

        Returns:
            ``None`` if the answer was lost on its way and is worth another attempt.
        """
        message, refusal = arrival.reply, arrival.refusal
        is_lost = message is None and refusal is None
        code = _code(message)
        is_lost |= code in REPLY_GONE
        if (is_lost or (code == NODE_AWAY and may_return)) and each.may_go_again:
            return None
        arrived_s = now_s()
        facts = take_facts(message) if message is not None else None
        if refusal is None and message is not None:
            try:
                each.expectation.check(message)
            except ReplyRefusedError as error:
                refusal = error
        if refusal is not None:
            message = self._refused(each, refusal)
        elif message is None or is_lost:
            message = error_reply(each.message, self._lost(each), code=NO_REPLY)
        elif message.has_error():
            message = self._explained(each, message)
        elif facts is not None and facts.holding is not None:
            self._held(facts.holding)
        return _reply(each, message, facts, arrived_s)

    def _refused(self, each: Sent, refusal: ReplyRefusedError) -> Message:
        who = self._book.who(each.node_id)
        what = f"The reply of {who} was refused: {refusal.what}."
        error = ReplyRefusedError(what, fix=refusal.fix)
        self._tell("reply_refused", each, f"{error.what} The round goes on without it.")
        return error_reply(each.message, str(error), code=REFUSED)

    def _lost(self, each: Sent) -> str:
        who = self._book.who(each.node_id)
        if each.is_refused:
            self._book.lost(each.node_id, "is not connected, or its key was revoked")
            return (
                f"The hub takes no messages for {who}: it has not connected since the hub "
                "was started, or its key was revoked. Fix: look whether it runs; enrol it "
                "again if it was revoked."
            )
        return (
            f"The reply of {who} was lost on its way {each.num_sendings} times. Fix: look "
            "into the node's log; its connection breaks while it sends."
        )

    def _explained(self, each: Sent, message: Message) -> Message:
        """Say in an error who it was, and what to do, where Flower does not."""
        reason = message.error.reason or ""
        who = self._book.who(each.node_id)
        if message.error.code == NODE_AWAY:
            waited_s = now_s() - each.given_s
            told = (
                f"The hub has lost {who}: no sign of life, or its process ended. The round "
                f"went on without it {waited_s:.0f} s after it was asked. Fix: look "
                "whether its machine and its network are up; it takes part again as soon "
                "as it is connected."
            )
            return error_reply(each.message, told, code=NODE_AWAY)
        if AppNotAllowedError.code in reason and each.node_id not in self._told:
            self._told.add(each.node_id)
            self._tell("app_refused", each, f"The site of {who} refuses this app: {reason}")
        return message

    def _tell(self, code: NoticeCode, each: Sent, told: str) -> None:
        partition_id = self._book.partition_of(each.node_id)
        self._notify(
            Notice(
                code=code,
                message=told,
                node_id=each.node_id,
                partition_id=partition_id if partition_id >= 0 else None,
            )
        )


def _code(message: Message | None) -> int | None:
    return message.error.code if message is not None and message.has_error() else None


def _reply(each: Sent, message: Message, facts: Facts | None, arrived_s: float) -> Reply:
    """Put a reply on the clock of this machine; a node's own may be wrong."""
    readdressed_reply(message, each.message_id, each.node_id)
    waited_s = max(arrived_s - each.given_s, 0.0)
    if facts is None:
        return Reply(message=message, started_s=each.given_s, duration_s=waited_s)
    duration_s = min(facts.duration_s, waited_s)
    latest_s = arrived_s - duration_s
    return Reply(
        message=message,
        started_s=min(max(facts.started_s, each.given_s), latest_s),
        duration_s=duration_s,
        logged=facts.logged,
    )
