"""Look at what a strategy aggregates, whichever loop drives it.

Flower's examples include strategies with a ``start`` of their own, which no loop of ours
can replace. Watching the methods that aggregate works for those too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

MARK = "_flip_lab_watched"


class Watcher(Protocol):
    """Who is told what a strategy aggregated."""

    def check_trained(self) -> None:
        """Training replies are in, not yet aggregated; raises if none is any good."""
        ...

    def replied(self, server_round: int, replies: list[Message]) -> list[Message]:
        """Training replies are in; gives those that the strategy is to aggregate."""
        ...

    def trained(
        self, arrays: ArrayRecord | None, metrics: MetricRecord | None, *, server_round: int
    ) -> None:
        """The strategy has aggregated the training replies of a round."""
        ...

    def evaluated(
        self, metrics: MetricRecord | None, *, scope: str, server_round: int
    ) -> None:
        """Clients (``"federated"``) or the server (``"central"``) evaluated the model."""
        ...


@contextmanager
def watching(strategy: Strategy, watcher: Watcher) -> Generator[None]:
    """Watch one strategy object while the block runs; inside another such block: no-op."""
    if MARK in vars(strategy):
        yield
        return
    marks = {
        MARK: True,
        "aggregate_train": _train(strategy.aggregate_train, watcher),
        "aggregate_evaluate": _evaluate(strategy.aggregate_evaluate, watcher),
    }
    vars(strategy).update(marks)
    try:
        yield
    finally:
        for name in marks:
            vars(strategy).pop(name, None)


def watched_central(evaluate: Any, watcher: Watcher) -> Any:
    """Give the server's evaluation function, watched; ``None`` stays ``None``."""
    if evaluate is None or hasattr(evaluate, MARK):
        return evaluate

    def watched(server_round: int, *rest: Any, **more: Any) -> Any:
        metrics = evaluate(server_round, *rest, **more)
        watcher.evaluated(metrics, scope="central", server_round=server_round)
        return metrics

    setattr(watched, MARK, True)
    return watched


def _train(aggregate: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    @functools.wraps(aggregate)
    def watched(server_round: int, *rest: Any, **more: Any) -> Any:
        watcher.check_trained()
        if rest:
            rest = (watcher.replied(server_round, list(rest[0])), *rest[1:])
        elif "replies" in more:
            more["replies"] = watcher.replied(server_round, list(more["replies"]))
        arrays, metrics = aggregate(server_round, *rest, **more)
        watcher.trained(arrays, metrics, server_round=server_round)
        return arrays, metrics

    return watched


def _evaluate(aggregate: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    @functools.wraps(aggregate)
    def watched(server_round: int, *rest: Any, **more: Any) -> Any:
        metrics = aggregate(server_round, *rest, **more)
        watcher.evaluated(metrics, scope="federated", server_round=server_round)
        return metrics

    return watched


@contextmanager
def watched_own_loops(watcher: Watcher) -> Generator[None]:
    """Watch every strategy class that brings its own ``start``, also ones defined later."""
    originals: dict[type[Strategy], Callable[..., Any]] = {}

    def watch(kind: type[Strategy]) -> None:
        if "start" in vars(kind):
            originals[kind] = kind.start
            kind.start = _watched_start(kind.start, watcher)

    for kind in set(_below(Strategy)):  # a class may be below along two lines
        watch(kind)
    vars_of: Any = Strategy
    vars_of.__init_subclass__ = classmethod(watch)
    try:
        yield
    finally:
        del vars_of.__init_subclass__
        for kind, start in originals.items():
            kind.start = start


def _below(kind: type[Strategy]) -> Iterator[type[Strategy]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _watched_start(start: Callable[..., Any], watcher: Watcher) -> Callable[..., Any]:
    @functools.wraps(start)
    def watched(self: Strategy, *args: Any, **kwargs: Any) -> Any:
        if "evaluate_fn" in kwargs:
            kwargs["evaluate_fn"] = watched_central(kwargs["evaluate_fn"], watcher)
        with watching(self, watcher):
            return start(self, *args, **kwargs)

    return watched
