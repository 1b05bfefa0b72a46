"""Events as they were before they became JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flip_lab.client.answers import Event
from flip_lab.core.events import EventKind, Json, RunEvent


def event_of(run_id: str, told: Event) -> RunEvent:
    """Give an event of a run as its own process made it.

    Args:
        run_id: The run.
        told: The event as the API tells it, numbers that are not finite as texts.
    """
    restore = _RESTORE.get(told.kind)
    return RunEvent(
        run_id=run_id,
        sequence=told.sequence,
        time_s=told.time_s,
        server_round=told.server_round,
        kind=told.kind,
        body=told.body if restore is None else restore(told.body),
    )


def _metric(body: Mapping[str, Any]) -> dict[str, Json]:
    return {**body, "value": float(body["value"])}


def _client(body: Mapping[str, Any]) -> dict[str, Json]:
    numbers = {name: float(body[name]) for name in _CLIENT_NUMBERS if name in body}
    metrics = {name: float(value) for name, value in body["metrics"].items()}
    return {**body, **numbers, "metrics": metrics}


_CLIENT_NUMBERS = ("num_examples", "started_s", "duration_s")
_RESTORE: Mapping[EventKind, Callable[[Mapping[str, Any]], dict[str, Json]]] = (
    MappingProxyType({EventKind.METRIC: _metric, EventKind.CLIENT: _client})
)
"""The kinds whose numbers may be NaN or infinite; diverged runs are normal."""
