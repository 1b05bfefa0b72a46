"""The one wrapper around any engine's Grid: recording, seeding of the server, control.

Unmodified apps meet only this Grid, so a simulated and a real run leave the same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from threading import Lock, get_ident

from flwr.app import ArrayRecord, Message

from flip_lab.core.clock import now_s
from flip_lab.core.errors import ClientsFailedError
from flip_lab.core.events import ClientFact, EventKind
from flip_lab.core.ports import Control, Emit
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import BREATH_S, EngineGrid, Reply, RunConfig
from flip_lab.engines.client_facts import Dispatch
from flip_lab.engines.flower.messages import (
    asked_singly,
    first_arrays,
    name_round,
    one_a_content,
    payload_bytes,
    phase_of,
    server_round_of,
)
from flip_lab.engines.reply_log import ReplyLog
from flip_lab.engines.round_policy import Exchange, PolicyInForce, Tally
from flip_lab.engines.rounds import Round, RoundDone
from flip_lab.engines.seeding import seed_globals
from flip_lab.engines.settings import SettingsBook
from flip_lab.engines.wrapped_grid import WrappedGrid


class StopRun(BaseException):
    """The user asked the run to end; passes through an app's ``except Exception``.

    Args:
        because: Which of the user's rules was met; empty when the user stopped the run.
    """

    def __init__(self, because: str = "") -> None:
        """Keep the reason."""
        super().__init__(because)
        self.because = because


class RunGrid(WrappedGrid):
    """Records every message of a run, and lets the user stop it between messages.

    Args:
        inner: The engine's Grid.
        emit: Where facts go.
        control: What the user wants; asked before each message and while waiting.
        seed: The run's seed; the server's global generators restart from it each round.
        run_config: Flower's run configuration, as clients see it.
        records_updates: Whether the norm of each training update is recorded as a metric
            of the client, ``update_norm``.

    Attributes:
        settings: The run's settings, and what the user set.
        policy: When rounds close.
        sent_arrays: What went out with the newest training messages; where they differ,
            with the first of them.
        last_round: The newest round that has ended.
        on_round_over: Called once after each round, before the next one begins; may raise
            ``StopRun``.
        on_reply: Called after each reply that came, once it is on record.
    """

    def __init__(
        self,
        inner: EngineGrid,
        *,
        emit: Emit,
        control: Control,
        seed: int,
        run_config: RunConfig | None = None,
        records_updates: bool = False,
    ) -> None:
        """Wrap an open Grid."""
        super().__init__(inner, control)
        seen = run_config if inner.can_reconfigure else None
        self.settings = SettingsBook(seen or {}, emit)
        self.policy = PolicyInForce(seed=seed)
        self.sent_arrays: ArrayRecord | None = None
        self.last_round = RoundDone()
        self.on_round_over: Callable[[int], None] = _nothing
        self.on_reply: Callable[[ClientFact, Reply, int], None] = _ignore
        self._unsettled = 0
        self._emit = emit
        self._seed = seed
        self._records_updates = records_updates
        self._log = ReplyLog(emit, inner.partition_of)
        self._lock = Lock()
        self._thread = get_ident()
        self._round = Round()
        self._looped = False
        self._first_named = 1  # hand-written loops may count their rounds from 0

    @property
    def training_durations_s(self) -> Mapping[int, float]:
        """Seconds that each partition's last training took; failed ones are left out."""
        return self._log.durations_s

    # --- rounds -------------------------------------------------------------------

    def begin_round(self, server_round: int, num_rounds: int | None = None) -> None:
        """Open a round; called by the strategy loop, or by the first message of a round.

        Args:
            server_round: The round, 1-based.
            num_rounds: How many there will be; ``None`` when only the app knows.

        Raises:
            ClientsFailedError: If every client of the round before failed to train.
            StopRun: If a stop was requested.
        """
        self._looped = num_rounds is not None or self._looped
        self.end_round()
        self.settle_round()
        in_force = self._control.begin_round(server_round)
        self.check_stop()
        self._roll.excluded = excluded = self.found(in_force.excluded)
        partitions = [self.partition_of(node_id) for node_id in excluded]
        policy = self.policy.put_in_force(in_force.policy)
        self.settings.policy = {} if policy is None else policy.to_json()
        self._inner.reconfigure(self.settings.put_in_force(in_force.values, partitions))
        self._round = Round(number=server_round, started_s=self.worked_s())
        self._emit(
            EventKind.ROUND_STARTED, {"num_rounds": num_rounds}, server_round=server_round
        )
        seed_globals(Stream(seed=self._seed, server_round=server_round, phase="server"))

    def end_round(self) -> None:
        """Close the round under way, if there is one.

        Raises:
            ClientsFailedError: If every client that should train failed.
        """
        closing, self._round = self._round, Round(number=0)
        if closing.number == 0:
            return
        self._raise_if_all_failed(closing)
        self.last_round = RoundDone(
            duration_s=self.worked_s() - closing.started_s,
            num_bytes=closing.num_bytes,
            failures=len(closing.failures),
        )
        self._emit(
            EventKind.ROUND_ENDED,
            {"duration_s": self.last_round.duration_s},
            server_round=closing.number,
        )
        self._unsettled = closing.number
        self._control.end_round()

    def settle_round(self) -> None:
        """Ask the user's rules about the round that has ended, if nobody did yet.

        Raises:
            StopRun: If one of them ends the run.
        """
        server_round, self._unsettled = self._unsettled, 0
        if server_round:
            self.on_round_over(server_round)

    def check_trained(self) -> None:
        """Fail now, before a strategy keeps the old model as if nothing had happened.

        Raises:
            ClientsFailedError: If every client that should train in this round failed.
            QuorumError: If clients that were asked one by one, as Flower's older server
                loop does, were late, and too few are left.
        """
        if self._round.late:
            self.policy.judge(_summed_up(self._round))
        self._raise_if_all_failed(self._round)

    def check_stop(self) -> None:
        """Leave the run if the user asked for it.

        Raises:
            StopRun: If a stop was requested.
        """
        if self._control.stop_requested():
            raise StopRun

    @staticmethod
    def _raise_if_all_failed(which: Round) -> None:
        if which.trained or not which.failures:
            return
        raise ClientsFailedError(
            f"All {len(which.failures)} clients of round {which.number} failed to train, "
            "so the model did not change.",
            fix="Mend the ClientApp; one client's traceback stands below, "
            "run.clients() has them all.",
            detail=which.failures[0],
        )

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes that take part, in order of their partitions.

        An app that waits for more nodes than there are asks again and again: here it hears
        that it shall stop. A thread of Flower's own that lists nodes is left alone.

        Raises:
            StopRun: If a stop was requested.
        """
        if get_ident() == self._thread:
            self.check_stop()
        return super().get_node_ids()

    # --- messages -----------------------------------------------------------------

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages and record the cohort."""
        self._control.hold()
        self.check_stop()
        given = list(messages)
        batch = self.settings.lay_over(given)
        sizes = {id(each.content): payload_bytes(each) for each in one_a_content(batch)}
        dispatches = [self._describe(each, sizes[id(each.content)]) for each in batch]
        for message, dispatch in zip(batch, dispatches, strict=True):
            name_round(message, dispatch.server_round)
        self._log.tell_cohorts(dispatches)
        message_ids = list(self._inner.push_messages(batch))
        self.settings.tell(self._round.number)
        if any(dispatch.phase == "train" for dispatch in dispatches):
            self.sent_arrays = first_arrays(batch, "train")
        self._log.sent(message_ids, dispatches)
        return message_ids

    def _describe(self, message: Message, bytes_down: int) -> Dispatch:
        phase = phase_of(message)
        return Dispatch(
            node_id=message.metadata.dst_node_id,
            phase=phase,
            server_round=self._place_in_round(message, phase),
            bytes_down=bytes_down,
            sent_s=now_s(),
        )

    def _place_in_round(self, message: Message, phase: str) -> int:
        """Find the message's round; a hand-written server loop opens rounds by messages."""
        if self._looped:
            return self._round.number
        named = server_round_of(message)
        with self._lock:
            if named == 0 and phase == "train":
                self._first_named = 0
            over = phase == "train" and (self._round.trained or self._round.failures)
            implied = self._round.number + 1 if over else self._round.number
            number = implied if named is None else named + 1 - self._first_named
            if number > self._round.number or (phase == "train" and number == 0):
                self.begin_round(max(number, 1))
        return self._round.number

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Hand replies over and record each as it comes; late ones are not handed over."""
        replies = self._receive(message_ids, timeout_s)
        for reply in replies:
            self._record(reply)
        return replies

    def _receive(self, message_ids: Iterable[str], timeout_s: float) -> list[Reply]:
        """Give replies that are not late; those that are go on record as that."""
        self.check_stop()
        wanted = self._log.with_late(message_ids)
        replies = self._inner.await_replies(wanted, timeout_s=timeout_s)
        return [each for each in replies if not self._log.take_late(each, self._round)]

    def _record(self, reply: Reply) -> None:
        sent = self.sent_arrays if self._records_updates else None
        if told := self._log.record(reply, self._round, sent):
            fact, dispatch = told
            self.on_reply(fact, reply, dispatch.server_round)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages, wait for their replies and record those that never came.

        Raises:
            QuorumError: If the run's policy closes the round with too few good replies.
        """
        batch = list(messages)
        if self.policy.is_about(batch):
            return self._under_policy(batch, timeout)
        replies = list(super().send_and_receive(batch, timeout=timeout))
        answered = {reply.metadata.reply_to_message_id for reply in replies}
        for message in batch:
            if message.metadata.message_id not in answered:
                self._log.record_silence(message.metadata.message_id, self._round)
        return replies

    def _under_policy(self, asked: list[Message], timeout: float | None) -> list[Message]:
        policy = self.policy
        phase = phase_of(asked[0])
        server_round = self._place_in_round(asked[0], phase)
        more = policy.more_messages(asked, server_round, self.get_node_ids())
        order = list(self.push_messages([*asked, *more]))
        nodes = {key: each.node_id for key, each in self._log.dispatches(order).items()}
        late = self.found(policy.late_before(server_round, phase))
        exchange = policy.exchange(
            order,
            num_asked=len(asked),
            late=frozenset(key for key in order if nodes[key] in late),
        )
        began_s, limit_s = self.worked_s(), inf if timeout is None else timeout
        self._wait(exchange, began_s + min(limit_s, policy.deadline_s or inf))
        waited_s = self.worked_s() - began_s
        if not exchange.is_closed and waited_s >= limit_s:
            for key in exchange.silent:
                self._log.record_silence(key, self._round)
        self._log.close(exchange.silent, is_told=not exchange.is_full)
        tally = Tally(
            server_round=server_round,
            phase=phase,
            num_asked=len(asked),
            num_good=exchange.num_good,
            waited_s=waited_s,
            silent=[self._log.who(nodes[key]) for key in exchange.silent],
            failed=[self._log.who(nodes[key]) for key in exchange.failed],
        )
        if not asked_singly(asked[0]):
            policy.judge(tally)
        elif phase == "train":
            self._round.late += tally.silent
        return exchange.in_order()

    def _wait(self, exchange: Exchange, end_s: float) -> None:
        """Let replies come until the exchange closes, or its time is over."""
        while not exchange.is_closed and (left_s := end_s - self.worked_s()) > 0:
            arrived = self._receive(exchange.missing, min(BREATH_S, left_s))
            for reply in exchange.take(arrived):
                self._record(reply)
            for reply in arrived:
                if (key := reply.message.metadata.reply_to_message_id) in exchange.silent:
                    self._log.close([key], is_told=False)
                    self._log.take_late(reply, self._round)

    def tell_missing(self) -> None:
        """Put on record who was late and never came, as the run ends."""
        self._log.tell_missing()


def _summed_up(under_way: Round) -> Tally:
    """Give a round of training whose clients were asked one by one."""
    failed = under_way.failures
    return Tally(
        server_round=under_way.number,
        phase="train",
        num_asked=under_way.trained + len(failed) + len(under_way.late),
        num_good=under_way.trained,
        waited_s=0.0,
        silent=under_way.late,
        failed=[each.partition(":")[0] for each in failed],
    )


def _ignore(fact: ClientFact, reply: Reply, server_round: int) -> None:
    """Do what a run that nobody looks at does with a reply that is on record."""


def _nothing(server_round: int) -> None:
    """Do what a run that nobody steers does after a round."""
