"""What the server loop tells, turned into facts; the newest arrays are remembered."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flwr.app import ArrayRecord, MetricRecord

from flip_lab.core.events import EventKind
from flip_lab.engines.flower.checkpoint_state import LoopState
from flip_lab.engines.flower.messages import scalars
from flip_lab.engines.run_grid import RunGrid, StopRun
from flip_lab.runs.checkpoint_keeper import CheckpointKeeper, Moment
from flip_lab.runs.recorder import Recorder

_log = logging.getLogger("flip_lab.run")


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
        stopped: Whether the user's wish ended the loop.
    """

    def __init__(self, grid: RunGrid, recorder: Recorder, keeper: CheckpointKeeper) -> None:
        """Watch one run."""
        self._grid = grid
        self._recorder = recorder
        self._keeper = keeper
        self.server_round = 0
        self.arrays: ArrayRecord | None = None
        self.stopped = False

    def begin_loop(self, state: LoopState) -> int:
        """Take the loop up from the run's newest checkpoint, if it has one."""
        taken_up = self._keeper.begin_loop(state)
        if taken_up.model_round:
            self.arrays = state.result.arrays
            self.server_round = taken_up.model_round
        return taken_up.server_round

    def begin_round(self, server_round: int, num_rounds: int) -> None:
        """Open the round, unless the user wants to stop."""
        self._grid.begin_round(server_round, num_rounds)
        _log.info("[round %d/%d]", server_round, num_rounds)

    def check_trained(self) -> None:
        """Fail when no client could train."""
        self._grid.check_trained()

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

    def is_stop(self, raised: BaseException) -> bool:
        """Whether the user asked the loop to end."""
        self.stopped = isinstance(raised, StopRun)
        return self.stopped

    def _record(self, metrics: MetricRecord | None, place: _Place) -> None:
        numbers = scalars(metrics)
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
