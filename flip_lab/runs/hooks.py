"""What the server loop tells, turned into facts; the newest arrays are remembered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ArrayRecord, Message, MetricRecord

from flip_lab.core.events import EventKind
from flip_lab.engines.flower.checkpoint_state import LoopState
from flip_lab.engines.flower.messages import scalars
from flip_lab.engines.run_grid import RunGrid, StopRun
from flip_lab.runs.checkpoint_keeper import CheckpointKeeper, Moment
from flip_lab.runs.recorder import Recorder

_log = logging.getLogger("flip_lab.run")


class Steering(Protocol):
    """What users' conditions do to the rounds."""

    def note(self, metrics: Mapping[str, float]) -> None:
        """Metrics of the round under way are known."""
        ...

    def replied(self, server_round: int, replies: list[Message]) -> list[Message]:
        """Training replies are in; gives those that are to be aggregated."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where in a run a metric belongs."""

    phase: str
    scope: str
    server_round: int


class RunHooks:
    """Turns what the server loop tells into facts, and remembers the newest arrays.

    Attributes:
        arrays: The model as last aggregated; ``None`` before the first time.
        server_round: The round that it was aggregated in.
        stop: The user's wish or rule that ended the loop; ``None`` if none did.
    """

    def __init__(
        self,
        grid: RunGrid,
        recorder: Recorder,
        keeper: CheckpointKeeper,
        steering: Steering | None = None,
    ) -> None:
        """Watch one run; ``steering`` is for one that users may stop at a break."""
        self._steering = steering
        self._loop: LoopState | None = None
        self._grid = grid
        self._recorder = recorder
        self._keeper = keeper
        self.server_round = 0
        self.arrays: ArrayRecord | None = None
        self.stop: StopRun | None = None

    def begin_loop(self, state: LoopState) -> int:
        """Take the loop up from the run's newest checkpoint, if it has one."""
        self._loop = state
        self._grid.settings.learn("train", state.train_config)
        self._grid.settings.learn("evaluate", state.evaluate_config)
        taken_up = self._keeper.begin_loop(state)
        self._grid.fit(state.strategy)
        self._grid.settings.set_on(state.strategy)
        if not taken_up.server_round:
            self._grid.settings.tell(0)  # to be seen by who pauses before the first round
        if taken_up.model_round:
            self.arrays = state.result.arrays
            self.server_round = taken_up.model_round
        return taken_up.server_round

    def begin_round(self, server_round: int, num_rounds: int) -> None:
        """Open the round, unless the user wants to stop."""
        self._grid.begin_round(server_round, num_rounds)
        if self._loop is not None:
            self._grid.settings.set_on(self._loop.strategy)
        _log.info("[round %d/%d]", server_round, num_rounds)

    def check_trained(self) -> None:
        """Fail when no client could train."""
        self._grid.check_trained()

    def replied(self, server_round: int, replies: list[Message]) -> list[Message]:
        """Give the replies that are to be aggregated; may stop here at a break."""
        if self._steering is None:
            return replies
        return self._steering.replied(server_round, replies)

    def trained(
        self, arrays: ArrayRecord | None, metrics: MetricRecord | None, *, server_round: int
    ) -> None:
        """Keep the new model and record the aggregated training metrics."""
        if arrays is not None:
            self.arrays, self.server_round = arrays, server_round
        where = _Place(phase="train", scope="federated", server_round=server_round)
        self._record(metrics, where)

    def evaluated(
        self, metrics: MetricRecord | None, *, scope: str, server_round: int
    ) -> None:
        """Record the aggregated evaluation metrics."""
        where = _Place(phase="evaluate", scope=scope, server_round=server_round)
        self._record(metrics, where)

    def end_round(self) -> None:
        """Close the round."""
        self._grid.end_round()

    def between_rounds(self, server_round: int, num_rounds: int) -> None:
        """Keep a checkpoint, if one is due."""
        moment = Moment(server_round=server_round, model_round=self.server_round)
        self._keeper.between_rounds(moment, num_rounds)
        self._grid.settle_round()

    def is_stop(self, raised: BaseException) -> bool:
        """Whether the user asked the loop to end."""
        self.stop = raised if isinstance(raised, StopRun) else None
        return self.stop is not None

    def _record(self, metrics: MetricRecord | None, place: _Place) -> None:
        numbers = scalars(metrics)
        if self._steering is not None:
            self._steering.note(numbers)
        for name, value in numbers.items():
            body = {
                "phase": place.phase,
                "scope": place.scope,
                "name": name,
                "value": value,
            }
            self._recorder.emit(EventKind.METRIC, body, server_round=place.server_round)
        if numbers:
            shown = "  ".join(f"{name}={value:.4g}" for name, value in numbers.items())
            _log.info(
                "[round %d] %s %s: %s", place.server_round, place.scope, place.phase, shown
            )
