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

from flip_lab.engines.flower.watching import (
    Watcher,
    watched_central,
    watched_own_loops,
    watching,
)

EvaluateFn: TypeAlias = Callable[[int, ArrayRecord], MetricRecord | None]


class LoopHooks(Watcher, Protocol):
    """What the loop tells the run, in the order in which it happens."""

    def begin_round(self, server_round: int, num_rounds: int) -> None:
        """A round begins; may raise to leave the loop."""
        ...

    def end_round(self) -> None:
        """The round is over."""
        ...

    def is_stop(self, raised: BaseException) -> bool:
        """Whether this exception is the user's wish to stop, and results are kept."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Loop:
    """One call of ``Strategy.start``."""

    strategy: Strategy
    grid: Grid
    hooks: LoopHooks
    timeout: float
    train_config: ConfigRecord
    evaluate_config: ConfigRecord
    evaluate_fn: EvaluateFn | None

    def run(self, arrays: ArrayRecord, num_rounds: int) -> Result:
        """Run all rounds; the steps and their order are Flower's own."""
        result = Result()
        result.arrays = arrays
        self.strategy.summary()
        try:
            self._evaluate_centrally(result, 0)
            for server_round in range(1, num_rounds + 1):
                self.hooks.begin_round(server_round, num_rounds)
                self._train(result, server_round)
                self._evaluate(result, server_round)
                self._evaluate_centrally(result, server_round)
                self.hooks.end_round()
        except BaseException as raised:
            if not self.hooks.is_stop(raised):
                raise
        return result

    def _exchange(self, messages: Iterable[Message]) -> list[Message]:
        return list(self.grid.send_and_receive(messages, timeout=self.timeout))

    def _train(self, result: Result, server_round: int) -> None:
        replies = self._exchange(
            self.strategy.configure_train(
                server_round, result.arrays, self.train_config, self.grid
            )
        )
        arrays, metrics = self.strategy.aggregate_train(server_round, replies)
        if arrays is not None:
            result.arrays = arrays
        if metrics is not None:
            result.train_metrics_clientapp[server_round] = metrics

    def _evaluate(self, result: Result, server_round: int) -> None:
        replies = self._exchange(
            self.strategy.configure_evaluate(
                server_round, result.arrays, self.evaluate_config, self.grid
            )
        )
        metrics = self.strategy.aggregate_evaluate(server_round, replies)
        if metrics is not None:
            result.evaluate_metrics_clientapp[server_round] = metrics

    def _evaluate_centrally(self, result: Result, server_round: int) -> None:
        if self.evaluate_fn is None:
            return
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
        loop = _Loop(
            strategy=self,
            grid=grid,
            hooks=hooks,
            timeout=timeout,
            train_config=ConfigRecord() if train_config is None else train_config,
            evaluate_config=ConfigRecord() if evaluate_config is None else evaluate_config,
            evaluate_fn=watched_central(evaluate_fn, hooks),
        )
        with watching(self, hooks):
            return loop.run(initial_arrays, num_rounds)

    Strategy.start = start
    try:
        with watched_own_loops(hooks):
            yield
    finally:
        Strategy.start = original
