"""What is under way between a run and its nodes, and what goes on record of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from threading import Lock

from flwr.app import ArrayRecord

from flip_lab.core.clock import now_s
from flip_lab.core.events import ClientFact, EventKind
from flip_lab.core.notice import Notice
from flip_lab.core.ports import Emit
from flip_lab.engines.base import Reply
from flip_lab.engines.client_facts import (
    Dispatch,
    late_fact,
    replied_fact,
    silent_fact,
)
from flip_lab.engines.rounds import Round


class ReplyLog:
    """Knows which messages are unanswered, and records what became of each.

    Safe to use from several threads.

    Args:
        emit: Where facts go.
        partition_of: Gives the partition of a node, -1 when unknown.

    Attributes:
        durations_s: Seconds that each partition's last training took, of those that trained
            well.
    """

    def __init__(self, emit: Emit, partition_of: Callable[[int], int]) -> None:
        """Start with nothing under way."""
        self._emit = emit
        self._partition_of = partition_of
        self._lock = Lock()
        self._sent: dict[str, Dispatch] = {}
        self._late: dict[str, tuple[Dispatch, float, bool]] = {}
        self.durations_s: dict[int, float] = {}

    def tell_cohorts(self, dispatches: Sequence[Dispatch]) -> None:
        """Record the cohort of each phase, before the first client can begin."""
        for phase in dict.fromkeys(dispatch.phase for dispatch in dispatches):
            cohort = [d.node_id for d in dispatches if d.phase == phase]
            self._emit(
                EventKind.DISPATCHED,
                {
                    "phase": phase,
                    "node_ids": list(cohort),
                    "partition_ids": [self._partition_of(node_id) for node_id in cohort],
                },
                server_round=dispatches[0].server_round,
            )

    def sent(self, message_ids: Sequence[str], dispatches: Sequence[Dispatch]) -> None:
        """Take note of messages that are on their way."""
        with self._lock:
            self._sent.update(zip(message_ids, dispatches, strict=True))

    def dispatches(self, message_ids: Iterable[str]) -> dict[str, Dispatch]:
        """Give what is known of messages that are unanswered."""
        with self._lock:
            return {key: self._sent[key] for key in message_ids}

    def who(self, node_id: int) -> str:
        """Name a node in words."""
        return f"partition {self._partition_of(node_id)}, node {node_id}"

    def with_late(self, message_ids: Iterable[str]) -> Iterable[str]:
        """Give the ids to ask an engine for: those that are late, too."""
        if not self._late:
            return message_ids  # as it is: an engine may look into it
        with self._lock:
            return {**dict.fromkeys(message_ids), **dict.fromkeys(self._late)}

    # --- recording ------------------------------------------------------------------

    def record(
        self, reply: Reply, under_way: Round, sent: ArrayRecord | None
    ) -> tuple[ClientFact, Dispatch] | None:
        """Record a reply.

        Args:
            reply: The reply.
            under_way: The round to count it in.
            sent: What went out, if the norm of a training update is recorded, too.

        Returns:
            What is on record; ``None`` for a reply so late that it is already, as silence.
        """
        with self._lock:
            key = reply.message.metadata.reply_to_message_id
            dispatch = self._sent.pop(key, None)
        if dispatch is None:
            return None
        partition_id = self._partition_of(dispatch.node_id)
        fact = replied_fact(dispatch, reply, partition_id, sent)
        self._keep(dispatch, fact, under_way)
        return fact, dispatch

    def record_silence(self, message_id: str, under_way: Round) -> None:
        """Record that no reply to a message came in the strategy's time."""
        with self._lock:
            dispatch = self._sent.pop(message_id, None)
        if dispatch is not None:
            partition_id = self._partition_of(dispatch.node_id)
            self._keep(dispatch, silent_fact(dispatch, partition_id, now_s()), under_way)

    def _keep(self, dispatch: Dispatch, fact: ClientFact, under_way: Round) -> None:
        under_way.num_bytes += fact.bytes_down + fact.bytes_up
        if dispatch.phase == "train":
            with self._lock:
                if fact.error_code:
                    under_way.failures.append(f"{self.who(dispatch.node_id)}: {fact.error}")
                else:
                    under_way.trained += 1
                    self.durations_s[fact.partition_id] = fact.duration_s
        self._emit(EventKind.CLIENT, fact.body(), server_round=dispatch.server_round)

    # --- those who are late ----------------------------------------------------------

    def close(self, message_ids: Iterable[str], *, is_told: bool) -> None:
        """Let a round close without the replies to these messages.

        Args:
            message_ids: The messages.
            is_told: Whether a notice says so of each when its reply comes; where more
                nodes were asked than needed, late ones are no news.
        """
        closed_s = now_s()
        with self._lock:
            for key in message_ids:
                if (dispatch := self._sent.pop(key, None)) is not None:
                    self._late[key] = dispatch, closed_s, is_told

    def take_late(self, reply: Reply, under_way: Round) -> bool:
        """Record a reply as late if its round has closed without it; say whether it has."""
        with self._lock:
            late = self._late.pop(reply.message.metadata.reply_to_message_id, None)
        if late is None:
            return False
        dispatch, closed_s, is_told = late
        fact = self._tell_late(dispatch, closed_s, reply)
        under_way.num_bytes += fact.bytes_down + fact.bytes_up
        if is_told:
            notice = Notice(
                code="reply_late",
                message=f"{self.who(dispatch.node_id)}, round {dispatch.server_round} "
                f"({dispatch.phase}): {fact.error} It is not aggregated.",
                node_id=dispatch.node_id,
                partition_id=None if fact.partition_id < 0 else fact.partition_id,
            )
            self._emit(
                EventKind.WARNING, asdict(notice), server_round=dispatch.server_round
            )
        return True

    def tell_missing(self) -> None:
        """Record those who are still late, as the run ends."""
        with self._lock:
            late, self._late = self._late, {}
        for dispatch, closed_s, _ in late.values():
            self._tell_late(dispatch, closed_s, None)

    def _tell_late(
        self, dispatch: Dispatch, closed_s: float, reply: Reply | None
    ) -> ClientFact:
        partition_id = self._partition_of(dispatch.node_id)
        fact = late_fact(dispatch, partition_id, closed_s=closed_s, reply=reply)
        self._emit(EventKind.CLIENT, fact.body(), server_round=dispatch.server_round)
        return fact
