"""Hooks for Flower's older server loop (``server_fn``, ``flwr.server.strategy``).

Apps of that style still run. Flower waits for their clients in threads and sums in order
of arrival, so unlike everything else their results may differ in the last bits.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from flwr.app import Array, ArrayRecord, MetricRecord
from flwr.common import parameters_to_ndarrays
from flwr.server.server import Server

from flip_lab.engines.flower.strategy_loop import LoopHooks


def _record(metrics: Mapping[str, object] | None, **more: float | None) -> MetricRecord:
    numbers = {**(metrics or {}), **{k: v for k, v in more.items() if v is not None}}
    kept = {k: v for k, v in numbers.items() if isinstance(v, (int, float))}
    return MetricRecord({key: float(value) for key, value in kept.items()})


def _arrays(parameters: Any) -> ArrayRecord:  # noqa: ANN401  # Flower's legacy type
    arrays = parameters_to_ndarrays(parameters)
    return ArrayRecord({str(i): Array(array) for i, array in enumerate(arrays)})


@contextmanager
def hooked_legacy_server(hooks: LoopHooks) -> Generator[None]:
    """Let the hooks see the rounds of a legacy server while the block runs."""
    fit, fit_round, evaluate_round = Server.fit, Server.fit_round, Server.evaluate_round
    total = 0

    def hooked_fit(self: Server, num_rounds: int, timeout: float | None) -> Any:  # noqa: ANN401
        nonlocal total
        total = num_rounds
        outcome = fit(self, num_rounds, timeout)
        hooks.trained(_arrays(self.parameters), None, server_round=num_rounds)
        hooks.end_round()
        return outcome

    def hooked_fit_round(self: Server, server_round: int, timeout: float | None) -> Any:  # noqa: ANN401
        hooks.begin_round(server_round, total)
        outcome = fit_round(self, server_round, timeout)
        hooks.check_trained()
        if outcome is not None:
            parameters, metrics, _ = outcome
            arrays = _arrays(parameters) if parameters else None
            hooks.trained(arrays, _record(metrics), server_round=server_round)
        return outcome

    def hooked_evaluate_round(  # what Flower calls after each round
        self: Server, server_round: int, timeout: float | None
    ) -> Any:  # noqa: ANN401
        outcome = evaluate_round(self, server_round, timeout)
        if outcome is not None:
            loss, metrics, _ = outcome
            record = _record(metrics, eval_loss=loss)
            hooks.evaluated(record, scope="federated", server_round=server_round)
        return outcome

    Server.fit, Server.fit_round = hooked_fit, hooked_fit_round  # type: ignore[method-assign]
    Server.evaluate_round = hooked_evaluate_round  # type: ignore[method-assign]
    try:
        yield
    finally:
        Server.fit, Server.fit_round = fit, fit_round  # type: ignore[method-assign]
        Server.evaluate_round = evaluate_round  # type: ignore[method-assign]
