"""Messages that were given to send, until each is answered once.

A strategy knows a message by an id of ours. On the wire it has another one each time that
it is sent, under this run of Flower's or the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from secrets import token_hex

from flwr.app import Message

from flip_lab.core.clock import now_s
from flip_lab.engines.flower.messages import copy_content, phase_of, snapshot, stamp
from flip_lab.engines.reply_checks import Expectation, ReplyRules

_MOST_SENDINGS = 3
_ID_BYTES = 32


@dataclass(kw_only=True, eq=False)
class Sent:
    """A message that is not answered yet.

    Attributes:
        message: As it was given.
        expectation: What its reply must be.
        message_id: The id that the strategy knows.
        given_s: When it was given, seconds since the Unix epoch.
        wire_id: Its id in the run that it was sent in last.
        sent_on: That run; ``None`` if it is to be sent.
        away_s: When the hub first missed the node since, by ``tick_s``; ``-inf`` if never.
        is_refused: Whether the hub did not take it: it knows no such node.
        num_sendings: How often it was sent.
    """

    message: Message
    expectation: Expectation
    message_id: str = field(default_factory=lambda: token_hex(_ID_BYTES))
    given_s: float = field(default_factory=now_s)
    wire_id: str = ""
    sent_on: object = None
    away_s: float = -inf
    is_refused: bool = False
    num_sendings: int = 0

    @property
    def node_id(self) -> int:
        """The node that it is for."""
        return self.message.metadata.dst_node_id

    @property
    def may_go_again(self) -> bool:
        """Whether an answer that was lost on its way is worth another attempt."""
        metadata = self.message.metadata
        is_fresh = now_s() < metadata.created_at + metadata.ttl
        return not self.is_refused and is_fresh and self.num_sendings < _MOST_SENDINGS


class Outbox:
    """Messages of one run that are not answered yet; callers see to locking.

    Args:
        rules: What replies must be.
    """

    def __init__(self, rules: ReplyRules) -> None:
        """Hold none."""
        self._rules = rules
        self._by_wire: dict[str, Sent] = {}
        self._open: dict[str, Sent] = {}

    @property
    def num_open(self) -> int:
        """How many messages are not answered yet."""
        return len(self._open)

    def add(self, messages: Sequence[Message]) -> list[Sent]:
        """Take messages to send.

        Contents are copied, those that messages share once: their sender may change them
        before they are sent again. Arrays are not copied.
        """
        copies = {id(each.content): copy_content(each.content) for each in messages}
        expectations = {
            (id(each.content), phase_of(each)): Expectation.of(each, self._rules)
            for each in messages
        }
        added = [
            Sent(
                message=snapshot(each, copies[id(each.content)]),
                expectation=expectations[id(each.content), phase_of(each)],
            )
            for each in messages
        ]
        for given, each in zip(messages, added, strict=True):
            for message in (given, each.message):
                stamp(message, each.message_id)
            self._open[each.message_id] = each
        return added

    def due(self, run: object, may_go: Callable[[Sent], bool]) -> list[Sent]:
        """List what is to be sent in a run: new messages, and those of an earlier one.

        Args:
            run: The run.
            may_go: Whether a message may go now.
        """
        return [
            each for each in self._open.values() if each.sent_on is not run and may_go(each)
        ]

    def sent(self, run: object, each: Sent, wire_id: str, *, is_refused: bool) -> None:
        """Note that a message was sent."""
        self._by_wire.pop(each.wire_id, None)
        each.sent_on, each.wire_id, each.is_refused = run, wire_id, is_refused
        each.num_sendings += 1
        self._by_wire[wire_id] = each

    def on(self, run: object) -> dict[str, int]:
        """Give the largest reply to take, bytes, by id on the wire, of what a run has."""
        return {
            each.wire_id: each.expectation.limit_bytes
            for each in self._open.values()
            if each.sent_on is run
        }

    def holds(self, run: object) -> bool:
        """Whether a message waits for its node to be there."""
        return any(each.sent_on is not run for each in self._open.values())

    def has(self, message_ids: Iterable[str]) -> bool:
        """Whether one of these messages is not answered yet."""
        return any(message_id in self._open for message_id in message_ids)

    def find(self, wire_id: str) -> Sent | None:
        """Find a message by its id on the wire; ``None`` if it is answered already."""
        return self._by_wire.get(wire_id)

    def again(self, each: Sent) -> None:
        """Send a message once more: its answer was lost on its way."""
        each.sent_on = None

    def forget(self, each: Sent) -> None:
        """Let go of a message: it has its answer, or nobody waits for one."""
        self._by_wire.pop(each.wire_id, None)
        self._open.pop(each.message_id, None)
