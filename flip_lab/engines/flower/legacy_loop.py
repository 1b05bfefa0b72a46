"""Hooks for Flower's older server loop (``server_fn``, ``flwr.server.strategy``).

Apps of that style still run, with the same bits every time: Flower waits for their clients
in threads and would sum in order of arrival; here results are put in order first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from flwr.app import Array, ArrayRecord, MetricRecord
from flwr.common import parameters_to_ndarrays
from flwr.server import server as flwr_server
from flwr.server.client_manager import SimpleClientManager
from flwr.server.server import Server

from flip_lab.core.clock import tick_s
from flip_lab.engines.flower.strategy_loop import LoopHooks

_DAY_S = 86_400.0  # Flower's own patience
_BREATH_S = 0.5
Method: TypeAlias = Callable[..., Any]


def _record(metrics: Mapping[str, object] | None, **more: float | None) -> MetricRecord:
    numbers = {**(metrics or {}), **{k: v for k, v in more.items() if v is not None}}
    kept = {k: v for k, v in numbers.items() if isinstance(v, (int, float))}
    return MetricRecord({key: float(value) for key, value in kept.items()})


def _arrays(parameters: Any) -> ArrayRecord:
    arrays = parameters_to_ndarrays(parameters)
    return ArrayRecord({str(i): Array(array) for i, array in enumerate(arrays)})


class _Hooked:
    """What follows each of a legacy server's methods; Flower calls them by keyword."""

    def __init__(self, hooks: LoopHooks) -> None:
        self._hooks = hooks
        self._num_rounds = 0

    def fit(self, original: Method, server: Server, **given: Any) -> Any:
        self._num_rounds = given["num_rounds"]
        outcome = original(server, **given)
        arrays = _arrays(server.parameters)
        self._hooks.trained(arrays, None, server_round=self._num_rounds)
        self._hooks.end_round()
        return outcome

    def fit_round(self, original: Method, server: Server, **given: Any) -> Any:
        server_round: int = given["server_round"]
        self._hooks.begin_round(server_round, self._num_rounds)
        outcome = original(server, **given)
        self._hooks.check_trained()
        if outcome is not None:
            parameters, metrics, _ = outcome
            arrays = _arrays(parameters) if parameters else None
            self._hooks.trained(arrays, _record(metrics), server_round=server_round)
        return outcome

    def evaluate_round(self, original: Method, server: Server, **given: Any) -> Any:
        outcome = original(server, **given)
        if outcome is not None:
            loss, metrics, _ = outcome
            record = _record(metrics, eval_loss=loss)
            self._hooks.evaluated(
                record, scope="federated", server_round=given["server_round"]
            )
        return outcome


@contextmanager
def hooked_legacy_server(
    hooks: LoopHooks, check_stop: Callable[[], None]
) -> Generator[None]:
    """Let the hooks see the rounds of a legacy server while the block runs.

    Args:
        hooks: What the loop tells the run.
        check_stop: Called often while a strategy waits for clients, which Flower does for
            a day; raises to leave.
    """
    hooked = _Hooked(hooks)
    after: dict[str, Method] = {
        "fit": hooked.fit,
        "fit_round": hooked.fit_round,
        "evaluate_round": hooked.evaluate_round,
    }
    with ExitStack() as stack:
        for name, follow in after.items():
            _swap(stack, Server, name, _joined(follow, getattr(Server, name)))
        for name in ("fit_clients", "evaluate_clients"):
            _swap(stack, flwr_server, name, _ordered(getattr(flwr_server, name)))
        wait_for = SimpleClientManager.wait_for
        _swap(stack, SimpleClientManager, "wait_for", _interruptible(wait_for, check_stop))
        yield


def _swap(stack: ExitStack, holder: object, name: str, new: Method) -> None:
    """Replace an attribute until the stack unwinds."""
    stack.callback(setattr, holder, name, getattr(holder, name))
    setattr(holder, name, new)


def _ordered(exchange: Method) -> Method:
    """Put results in the order of the instructions: sums of floats depend on it."""

    @functools.wraps(exchange)
    def ordered(client_instructions: Any, **given: Any) -> Any:
        results, failures = exchange(client_instructions=client_instructions, **given)
        place = {id(client): i for i, (client, _) in enumerate(client_instructions)}
        return sorted(results, key=lambda result: place[id(result[0])]), failures

    return ordered


def _interruptible(wait_for: Method, check_stop: Callable[[], None]) -> Method:
    """Let who waits for clients look up now and then."""

    @functools.wraps(wait_for)
    def waited(manager: Any, num_clients: int, timeout: float = _DAY_S) -> bool:
        end_s = tick_s() + timeout
        while not wait_for(manager, num_clients, min(_BREATH_S, end_s - tick_s())):
            check_stop()
            if tick_s() >= end_s:
                return False
        return True

    return waited


def _joined(hooked: Method, original: Method) -> Method:
    @functools.wraps(original)
    def method(server: Server, **given: Any) -> Any:
        return hooked(original, server, **given)

    return method
