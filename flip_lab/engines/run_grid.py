"""The one wrapper around any engine's Grid: recording, seeding of the server, control.

Unmodified apps meet only this Grid, so a simulated and a real run leave the same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from flwr.app import ArrayRecord, Message, RecordDict

from flip_lab.core.clock import now_s
from flip_lab.core.errors import ClientsFailedError
from flip_lab.core.events import ClientFact, EventKind
from flip_lab.core.ports import Control, Emit
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import EngineGrid, Reply, RunConfig
from flip_lab.engines.client_facts import Dispatch, replied_fact, silent_fact
from flip_lab.engines.flower.messages import (
    RunInfo,
    first_arrays,
    payload_bytes,
    phase_of,
    server_round_of,
)
from flip_lab.engines.rounds import Round, RoundDone
from flip_lab.engines.seeding import seed_globals
from flip_lab.engines.settings import SettingsBook


class StopRun(BaseException):
    """The user asked the run to end; passes through an app's ``except Exception``.

    Args:
        because: Which of the user's rules was met; empty when the user stopped the run.
    """

    def __init__(self, because: str = "") -> None:
        """Keep the reason."""
        super().__init__(because)
        self.because = because


class RunGrid(EngineGrid):
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
        excluded: Nodes that the user leaves out.
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
        seen = run_config if inner.can_reconfigure else None
        self.settings = SettingsBook(seen or {}, emit)
        self.excluded: frozenset[int] = frozenset()
        self.sent_arrays: ArrayRecord | None = None
        self.last_round = RoundDone()
        self.on_round_over: Callable[[int], None] = _nothing
        self.on_reply: Callable[[ClientFact, Reply, int], None] = _ignore
        self._unsettled = 0
        self._inner = inner
        self._emit = emit
        self._control = control
        self._seed = seed
        self._records_updates = records_updates
        self._lock = Lock()
        self._sent: dict[str, Dispatch] = {}
        self._round = Round()
        self._looped = False
        self._durations_s: dict[int, float] = {}
        self._first_named = 1  # hand-written loops may count their rounds from 0

    @property
    def run(self) -> RunInfo:
        """Flower's description of the run."""
        return self._inner.run

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes in order of their partitions, without those that are left out."""
        nodes = self._inner.get_node_ids()
        if not self.excluded:
            return nodes
        return tuple(node_id for node_id in nodes if node_id not in self.excluded)

    def found(self, nodes: Mapping[int, int]) -> frozenset[int]:
        """Find nodes that may have other ids here, where the run did not begin.

        Args:
            nodes: Partitions by node id, -1 when unknown.

        Returns:
            Their ids here: those with such an id, or such a partition.
        """
        if not nodes:
            return frozenset()
        partitions = {partition_id for partition_id in nodes.values() if partition_id >= 0}
        return frozenset(
            node_id
            for node_id in self._inner.get_node_ids()
            if node_id in nodes or self.partition_of(node_id) in partitions
        )

    def all_node_ids(self) -> Iterable[int]:
        """List all nodes in order of their partitions."""
        return self._inner.get_node_ids()

    def partition_of(self, node_id: int) -> int:
        """Give the partition that a node holds, 0-based; -1 when unknown."""
        return self._inner.partition_of(node_id)

    def node_states(self) -> Mapping[int, RecordDict]:
        """Give the Context state of each node that has one, by node id."""
        return self._inner.node_states()

    def restore_states(self, states: Mapping[int, RecordDict]) -> None:
        """Give nodes the states of a checkpoint."""
        self._inner.restore_states(states)

    @property
    def training_durations_s(self) -> Mapping[int, float]:
        """Seconds that each partition's last training took; failed ones are left out."""
        return self._durations_s

    def worked_s(self) -> float:
        """Give the clock that time-outs go by, in s: it stands still in a pause."""
        return super().worked_s() - self._control.paused_s()

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
        self.excluded = self.found(in_force.excluded)
        partitions = [self.partition_of(node_id) for node_id in self.excluded]
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
        """
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

    # --- messages -----------------------------------------------------------------

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages and record the cohort."""
        self._control.hold()
        self.check_stop()
        given = list(messages)
        batch = self.settings.lay_over(given)
        sizes = {id(each.content): payload_bytes(each) for each in _distinct(batch)}
        dispatches = [self._describe(each, sizes[id(each.content)]) for each in batch]
        for message, dispatch in zip(batch, dispatches, strict=True):
            _name_round(message, dispatch.server_round)
        message_ids = list(self._inner.push_messages(batch))
        self.settings.tell(self._round.number)
        with self._lock:
            self._sent.update(zip(message_ids, dispatches, strict=True))
        for phase in dict.fromkeys(dispatch.phase for dispatch in dispatches):
            if phase == "train":
                self.sent_arrays = first_arrays(batch, phase)
            cohort = [d.node_id for d in dispatches if d.phase == phase]
            self._emit(
                EventKind.DISPATCHED,
                {
                    "phase": phase,
                    "node_ids": list(cohort),
                    "partition_ids": [self.partition_of(node_id) for node_id in cohort],
                },
                server_round=dispatches[0].server_round,
            )
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
        """Hand replies over and record each as it comes."""
        self.check_stop()
        replies = self._inner.await_replies(message_ids, timeout_s=timeout_s)
        for reply in replies:
            self._record(reply)
        return replies

    def _record(self, reply: Reply) -> None:
        message = reply.message
        with self._lock:
            dispatch = self._sent.pop(message.metadata.reply_to_message_id, None)
        if dispatch is None:  # so late that it is on record as silence
            return
        sent = self.sent_arrays if self._records_updates else None
        fact = replied_fact(dispatch, reply, self.partition_of(dispatch.node_id), sent)
        self._keep(dispatch, fact)
        self.on_reply(fact, reply, dispatch.server_round)

    def _keep(self, dispatch: Dispatch, fact: ClientFact) -> None:
        self._round.num_bytes += fact.bytes_down + fact.bytes_up
        if dispatch.phase == "train":
            with self._lock:
                if fact.error_code:
                    who = f"partition {fact.partition_id}, node {fact.node_id}"
                    self._round.failures.append(f"{who}: {fact.error}")
                else:
                    self._round.trained += 1
                    self._durations_s[fact.partition_id] = fact.duration_s
        self._emit(EventKind.CLIENT, fact.body(), server_round=dispatch.server_round)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages, wait for their replies and record those that never came."""
        batch = list(messages)
        replies = list(super().send_and_receive(batch, timeout=timeout))
        answered = {reply.metadata.reply_to_message_id for reply in replies}
        for message in batch:
            if message.metadata.message_id not in answered:
                self._record_silence(message.metadata.message_id)
        return replies

    def _record_silence(self, message_id: str) -> None:
        with self._lock:
            dispatch = self._sent.pop(message_id, None)
        if dispatch is None:
            return
        partition_id = self.partition_of(dispatch.node_id)
        self._keep(dispatch, silent_fact(dispatch, partition_id, now_s()))


def _ignore(fact: ClientFact, reply: Reply, server_round: int) -> None:
    """Do what a run that nobody looks at does with a reply that is on record."""


def _nothing(server_round: int) -> None:
    """Do what a run that nobody steers does after a round."""


def _distinct(messages: Iterable[Message]) -> Iterable[Message]:
    """Give one message for each content; all messages of a round share one."""
    return {id(message.content): message for message in messages}.values()


def _name_round(message: Message, server_round: int) -> None:
    """Tell the engine the round of a message whose app names none.

    A client's random numbers depend on the round; without it they would repeat.
    """
    if server_round_of(message) is None and not message.metadata.group_id:
        message.metadata.group_id = str(server_round)
