"""The run's only writer: gives each fact its sequence and time, and keeps it.

Facts of a moment are written together; a background thread makes sure that no fact waits
longer than a sixth of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Lock, Thread

from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError, StoreError
from flip_lab.core.events import EventKind, Json, MetricSeries, RunEvent
from flip_lab.core.ports import Emit, EventSink
from flip_lab.core.state import RunLife, RunState

_FLUSH_EVERY_S = 0.15
_AT_ONCE = frozenset(
    {EventKind.STATE, EventKind.ROUND_ENDED, EventKind.ARTIFACT, EventKind.CONTROL}
)


class Recorder:
    """Turns facts into events; safe to call from several threads.

    Args:
        run_id: The run.
        sink: Where events are kept.
        first: Sequence of the first event.
        life: The run's states so far.
    """

    def __init__(
        self, run_id: str, sink: EventSink, *, first: int = 0, life: RunLife | None = None
    ) -> None:
        """Start nothing yet: a process may be copied until its first fact."""
        self._run_id = run_id
        self._sink = sink
        self._next = first
        self._life = life or RunLife()
        self._waiting: list[RunEvent] = []
        self._server_round = 0
        self._lock = Lock()
        self._stepping = Lock()  # the run ends while somebody pauses it
        self._followers: list[Emit] = []
        self._closed = Event()
        self._thread = Thread(target=self._flush_often, name="flip-recorder", daemon=True)

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run_id

    @property
    def last(self) -> int:
        """Sequence of the newest fact, kept or still waiting; -1 before the first."""
        with self._lock:
            return self._next - 1

    @property
    def server_round(self) -> int:
        """The newest round that began; 0 before the first."""
        return self._server_round

    @property
    def life(self) -> RunLife:
        """The run's states so far."""
        return self._life

    def emit(self, kind: EventKind, body: Mapping[str, Json], *, server_round: int) -> None:
        """Record one fact."""
        with self._lock:
            self._waiting.append(
                RunEvent(
                    run_id=self._run_id,
                    sequence=self._next,
                    time_s=now_s(),
                    server_round=server_round,
                    kind=kind,
                    body=body,
                )
            )
            self._next += 1
            if kind is EventKind.ROUND_STARTED:
                self._server_round = server_round
            if self._thread.ident is None:
                self._thread.start()
        if kind in _AT_ONCE:
            self.flush()
        for follower in self._followers:
            follower(kind, body, server_round=server_round)

    def add_follower(self, follower: Emit) -> None:
        """Tell somebody each fact from now on, once it is recorded, in the same thread."""
        self._followers.append(follower)

    def log(self, series: MetricSeries) -> None:
        """Record many metrics of this moment at once; they are kept when this returns.

        Raises:
            StoreError: If they cannot be kept, or the columns differ in length.
        """
        with self._lock:
            self._hand_over()
            self._sink.append_metrics(series, time_s=now_s())
            self._next += len(series.values)

    def enter(
        self,
        state: RunState,
        error: FlipLabError | None = None,
        *,
        more: Mapping[str, Json] | None = None,
    ) -> None:
        """Record a step of the run's life.

        Args:
            state: The state entered.
            error: Why, when the state is ``FAILED``.
            more: What else belongs to the step.

        Raises:
            IllegalTransitionError: If the run cannot go there from where it is.
        """
        with self._stepping:
            self._life = self._life.step(state)
            self._tell_step(state, error, more or {})

    def _tell_step(
        self, state: RunState, error: FlipLabError | None, more: Mapping[str, Json]
    ) -> None:
        body: dict[str, Json] = {"state": state.value, **more}
        if error is not None:
            body |= {
                "code": error.code,
                "what": error.what,
                "fix": error.fix,
                "detail": error.detail,
            }
        self.emit(EventKind.STATE, body, server_round=0)

    def flush(self) -> None:
        """Hand all waiting events to the sink, as one batch.

        Raises:
            StoreError: If the sink cannot keep them; they go on waiting.
        """
        with self._lock:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._waiting:
            self._sink.append(self._waiting)
            self._waiting = []

    def _flush_often(self) -> None:
        while not self._closed.wait(_FLUSH_EVERY_S):
            with suppress(StoreError):  # the run's own next flush raises it again
                self.flush()

    def close(self) -> None:
        """Keep what is waiting and let go of the sink."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            self.flush()
        finally:
            self._sink.close()
