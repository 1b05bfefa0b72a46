"""A run's round policy carried out: whom to ask besides, which replies count, who is late.

An ``Exchange`` decides and knows no clock and no Grid; ``RunGrid`` asks and waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from flwr.app import Message

from flip_lab.core.errors import QuorumError
from flip_lab.core.notice import Notice, Notify, unheard
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import Reply
from flip_lab.engines.flower.messages import asked_singly, phase_of, twin_for

LateBefore: TypeAlias = Mapping[tuple[int, str], Mapping[int, int]]
"""Of a run that is repeated: who was late, by round and phase; partitions by node id."""

_MOST_NAMED = 20


@dataclass(kw_only=True)
class Exchange:
    """The replies to the messages of one phase of a round.

    Attributes:
        order: Ids of the messages, in order of dispatch.
        goal: Good replies that close it; ``None``: only when all are in.
        left_out: Ids whose replies do not count, whenever they come.
        missing: Ids that are waited for.
        replies: Those that count, by the id of the message.
        num_good: How many of them carry no error.
    """

    order: Sequence[str]
    goal: int | None = None
    left_out: frozenset[str] = frozenset()
    missing: dict[str, None] = field(init=False)
    replies: dict[str, Reply] = field(init=False, default_factory=dict[str, Reply])
    num_good: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Wait for all that count."""
        self._place = {key: place for place, key in enumerate(self.order)}
        self.missing = {key: None for key in self.order if key not in self.left_out}

    @property
    def is_full(self) -> bool:
        """Whether as many replied well as were wanted."""
        return self.goal is not None and self.num_good >= self.goal

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is waited for."""
        return self.is_full or not self.missing

    @property
    def silent(self) -> list[str]:
        """Ids of the messages whose replies do not count, in order of dispatch."""
        return [key for key in self.order if key not in self.replies]

    @property
    def failed(self) -> list[str]:
        """Ids of the messages that were answered with an error."""
        return [key for key, each in self.replies.items() if each.message.has_error()]

    def take(self, arrived: Iterable[Reply]) -> list[Reply]:
        """Take in replies that came together; those that were ready first count first.

        Returns:
            Those that count, in this order.
        """
        counted: list[Reply] = []
        known = [each for each in arrived if self._key(each) in self._place]
        for reply in sorted(known, key=self._readiness):
            key = self._key(reply)
            if key in self.missing and not self.is_full:
                del self.missing[key]
                self.replies[key] = reply
                self.num_good += not reply.message.has_error()
                counted.append(reply)
        return counted

    def in_order(self) -> list[Message]:
        """Give the replies that count in order of dispatch: sums of floats depend on it."""
        return [self.replies[key].message for key in self.order if key in self.replies]

    @staticmethod
    def _key(reply: Reply) -> str:
        return reply.message.metadata.reply_to_message_id

    def _readiness(self, reply: Reply) -> tuple[float, int]:
        return reply.started_s + reply.duration_s, self._place[self._key(reply)]


class PolicyInForce:
    """Applies the policy of one run to its rounds.

    Args:
        policy: The policy that the run was launched with; ``None``: rounds wait for every
            reply, as strategies do.
        seed: The run's seed; whom to ask besides is drawn from it.
        late_before: Of a run that is repeated: who was late then. The same replies count
            again, whatever the clock says; ``None`` for other runs.
        notify: Told of rounds that closed without somebody.

    Attributes:
        launched: The policy that the run was launched with.
    """

    def __init__(
        self,
        policy: RoundPolicy | None = None,
        *,
        seed: int,
        late_before: LateBefore | None = None,
        notify: Notify = unheard,
    ) -> None:
        """Ask nobody yet."""
        self.launched = self._policy = policy
        self._seed = seed
        self._late_before = late_before
        self._notify = notify
        self._told: set[str] = set()

    def put_in_force(self, policy: RoundPolicy | None) -> RoundPolicy | None:
        """Let another policy hold from now on.

        Args:
            policy: The one that the user set; ``None``: that of the launch.

        Returns:
            What holds now.
        """
        self._policy = policy or self.launched
        return self._policy

    @property
    def _now(self) -> RoundPolicy:
        return self._policy or RoundPolicy()

    @property
    def deadline_s(self) -> float | None:
        """How long a round waits; ``None`` without a limit of ours."""
        return None if self._late_before is not None else self._now.deadline_s

    def is_about(self, messages: Sequence[Message]) -> bool:
        """Say whether the policy is about such messages: training, evaluation."""
        if self._policy is None or not messages:
            return False
        return phase_of(messages[0]) in {"train", "evaluate"}

    def more_messages(
        self, messages: Sequence[Message], server_round: int, nodes: Iterable[int]
    ) -> list[Message]:
        """Give the messages to nodes that are asked besides; none of them twice.

        Args:
            messages: What the strategy sends.
            server_round: The round.
            nodes: All that take part, in order of their partitions.
        """
        num_more = self._now.num_more(len(messages))
        if not num_more or phase_of(messages[0]) != "train":
            return []
        if why := _why_nobody_else(messages):
            self._tell_once(why)
            return []
        asked = {message.metadata.dst_node_id for message in messages}
        others = [node for node in nodes if node not in asked]
        if len(others) < num_more:
            self._tell_once(
                f"Only {len(others)} nodes can be asked besides the strategy's, in place "
                f"of {num_more}: there are no others."
            )
        drawn = Stream(
            seed=self._seed, server_round=server_round, phase="over-selection"
        ).generator()
        places: list[int] = drawn.permutation(len(others))[:num_more].tolist()
        return [twin_for(messages[0], others[place]) for place in places]

    def exchange(
        self,
        order: Sequence[str],
        *,
        num_asked: int,
        late: frozenset[str],
    ) -> Exchange:
        """Begin to take in replies.

        Args:
            order: Ids of all messages that were sent.
            num_asked: How many of them the strategy sent.
            late: Ids of those that were late in the run that is repeated.
        """
        if self._late_before is not None:
            return Exchange(order=order, left_out=late)
        return Exchange(order=order, goal=num_asked if num_asked < len(order) else None)

    def late_before(self, server_round: int, phase: str) -> Mapping[int, int]:
        """Say who was late in this phase of the run that is repeated."""
        return (self._late_before or {}).get((server_round, phase), {})

    def judge(self, done: Tally) -> None:
        """Look at a phase that has closed.

        Raises:
            QuorumError: If too few replied well.
        """
        if self._late_before is not None:
            return
        needed = self._now.num_needed(done.num_asked)
        nobody_late = not done.silent and self._now.quorum is None
        if done.num_good < needed and not nobody_late:
            raise QuorumError(
                f"{done.of_round} closed{done.after} with {done.num_good} "
                f"good replies of {done.num_asked} that were asked for; it needs {needed}. "
                f"{done.missing_text()}",
                fix="Give rounds a longer deadline_s or a smaller quorum, or ask more with "
                "over_selection; run.clients() says who is slow.",
            )
        if done.silent and done.num_good < done.num_asked:
            self._notify(
                Notice(
                    code="quorum",
                    message=f"{done.of_round} closed{done.after} with "
                    f"{done.num_good} good replies of {done.num_asked} that were asked "
                    f"for. {done.missing_text()}",
                )
            )

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._notify(Notice(code="quorum", message=message))


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of one phase of a round.

    Attributes:
        server_round: The round.
        phase: ``"train"`` or ``"evaluate"``.
        num_asked: Nodes that the strategy asked for.
        num_good: Good replies that count.
        waited_s: Seconds until it closed; 0 when unknown.
        silent: Those who were not back by then, in words.
        failed: Those who failed, in words.
    """

    server_round: int
    phase: str
    num_asked: int
    num_good: int
    waited_s: float
    silent: Sequence[str] = ()
    failed: Sequence[str] = ()

    @property
    def of_round(self) -> str:
        """Name the phase to begin a sentence with."""
        return f"Round {self.server_round} ({self.phase})"

    @property
    def after(self) -> str:
        """Say how long it took, where that is known."""
        return f" after {self.waited_s:.1f} s" if self.waited_s else ""

    def missing_text(self) -> str:
        """Say who is missing."""
        told = {"Not back by then": self.silent, "Failed": self.failed}
        return " ".join(
            f"{what}: {_named(several)}." for what, several in told.items() if several
        )


def _why_nobody_else(messages: Sequence[Message]) -> str:
    if asked_singly(messages[0]):
        return (
            "The app's server loop is of Flower's older API and asks clients one by one; "
            "nobody is asked besides."
        )
    contents = {id(message.content) for message in messages}
    if len(contents) > 1:
        return (
            "The strategy sends each node something else; nobody is asked besides, for "
            "nobody could say what to send."
        )
    return ""


def _named(several: Sequence[str]) -> str:
    more = len(several) - _MOST_NAMED
    return ", ".join(several[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
