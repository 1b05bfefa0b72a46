"""Flower's server loops with places to look in: rounds, metrics, arrays, early stop.

``Strategy.start`` is one method that all of Flower's strategies inherit. While a run is
under way it is replaced by the same loop with hooks, so that an app which was never
written for FLIP Lab shows its rounds, and what it had is kept when it is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from flip_lab.engines.flower.checkpoint_state import LoopState
from flip_lab.engines.flower.watching import (
    Watcher,
    watched_central,
    watched_own_loops,
    watching,
)

EvaluateFn: TypeAlias = Callable[[int, ArrayRecord], MetricRecord | None]


class LoopHooks(Watcher, Protocol):
    """What the loop tells the run, in the order in which it happens."""

    def begin_loop(self, state: LoopState) -> int:
        """A loop begins; may put it where an earlier process left it.

        Returns:
            The rounds that are done: 0 for a new loop.
        """
        ...

    def begin_round(self, server_round: int, num_rounds: int) -> None:
        """A round begins; may raise to leave the loop."""
        ...

    def end_round(self) -> None:
        """The round is over."""
        ...

    def between_rounds(self, server_round: int, num_rounds: int) -> None:
        """All that a round changes is in the loop's state: the time for a checkpoint."""
        ...

    def is_stop(self, raised: BaseException) -> bool:
        """Whether this exception is the user's wish to stop, and results are kept."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Loop:
    """One call of ``Strategy.start``."""

    state: LoopState
    grid: Grid
    hooks: LoopHooks
    timeout: float
    evaluate_fn: EvaluateFn | None

    def run(self, num_rounds: int) -> Result:
        """Run all rounds; the steps and their order are Flower's own."""
        self.state.strategy.summary()
        done = self.hooks.begin_loop(self.state)
        try:
            if not done:
                self._evaluate_centrally(0)
            for server_round in range(done + 1, num_rounds + 1):
                self.hooks.begin_round(server_round, num_rounds)
                self._train(server_round)
                self._evaluate(server_round)
                self._evaluate_centrally(server_round)
                self.hooks.end_round()
                self.hooks.between_rounds(server_round, num_rounds)
        except BaseException as raised:
            if not self.hooks.is_stop(raised):
                raise
        return self.state.result

    def _exchange(self, messages: Iterable[Message]) -> list[Message]:
        return list(self.grid.send_and_receive(messages, timeout=self.timeout))

    def _train(self, server_round: int) -> None:
        strategy, result = self.state.strategy, self.state.result
        replies = self._exchange(
            strategy.configure_train(
                server_round, result.arrays, self.state.train_config, self.grid
            )
        )
        arrays, metrics = strategy.aggregate_train(server_round, replies)
        if arrays is not None:
            result.arrays = arrays
        if metrics is not None:
            result.train_metrics_clientapp[server_round] = metrics

    def _evaluate(self, server_round: int) -> None:
        strategy, result = self.state.strategy, self.state.result
        replies = self._exchange(
            strategy.configure_evaluate(
                server_round, result.arrays, self.state.evaluate_config, self.grid
            )
        )
        metrics = strategy.aggregate_evaluate(server_round, replies)
        if metrics is not None:
            result.evaluate_metrics_clientapp[server_round] = metrics

    def _evaluate_centrally(self, server_round: int) -> None:
        if self.evaluate_fn is None:
            return
        result = self.state.result
        metrics = self.evaluate_fn(server_round, result.arrays)
        if metrics is not None:
            result.evaluate_metrics_serverapp[server_round] = metrics


@contextmanager
def hooked_strategies(hooks: LoopHooks) -> Generator[None]:
    """Replace ``Strategy.start`` by the loop above while the block runs."""
    original = Strategy.start

    def start(  # noqa: PLR0913, PLR0917  # Flower's own signature
        self: Strategy,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        result = Result()
        result.arrays = initial_arrays
        state = LoopState(
            strategy=self,
            result=result,
            train_config=ConfigRecord() if train_config is None else train_config,
            evaluate_config=ConfigRecord() if evaluate_config is None else evaluate_config,
        )
        loop = _Loop(
            state=state,
            grid=grid,
            hooks=hooks,
            timeout=timeout,
            evaluate_fn=watched_central(evaluate_fn, hooks),
        )
        with watching(self, hooks):
            return loop.run(num_rounds)

    Strategy.start = start
    try:
        with watched_own_loops(hooks):
            yield
    finally:
        Strategy.start = original
