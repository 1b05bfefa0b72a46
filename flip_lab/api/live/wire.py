"""Events and messages as JSON texts; each is written once, however many read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import orjson

from flip_lab.api.replies import plain
from flip_lab.core.events import EventKind, RunEvent

_CLIENT_NUMBERS = ("num_examples", "started_s", "duration_s")


def event_bytes(event: RunEvent) -> bytes:
    """Write one event as the API shows it."""
    told = {
        "sequence": event.sequence,
        "time_s": event.time_s,
        "server_round": event.server_round,
        "kind": event.kind.value,
        "body": event.body if _is_plain(event) else plain(event.body),
    }
    try:
        return orjson.dumps(told)
    except TypeError:  # halves of a character, which tracebacks hold at times
        return json.dumps(told, default=dict).encode("ascii")


def _is_plain(event: RunEvent) -> bool:
    """Say whether JSON can hold the body as it is; most events are of two kinds."""
    body: Mapping[str, Any] = event.body
    match event.kind:
        case EventKind.METRIC:
            return isfinite(body["value"])
        case EventKind.CLIENT:
            numbers = sum(body[name] for name in _CLIENT_NUMBERS)
            return isfinite(sum(body["metrics"].values(), numbers))
        case _:
            return False


def events_text(
    events: Iterable[bytes], *, reached: int, superseded: Sequence[tuple[int, int]]
) -> str:
    """Write a message with events.

    Args:
        events: The events, written.
        reached: Sequence of the last of them.
        superseded: Pairs of sequences: what lies between, both excluded, counts no more,
            because the run was taken up again.
    """
    more = ',"superseded":' + json.dumps(superseded) if superseded else ""
    items = b",".join(events).decode()
    return f'{{"type":"events","events":[{items}],"reached":{reached}{more}}}'


def runs_text(rows: Sequence[Mapping[str, Any]], gone: Sequence[str], position: int) -> str:
    """Write a message about rows of the list of runs."""
    message = {"type": "runs", "rows": rows, "gone": gone, "position": position}
    return message_text(message)


def message_text(message: Mapping[str, Any]) -> str:
    """Write any other message."""
    try:
        return orjson.dumps(message).decode()
    except TypeError:  # as above
        return json.dumps(message)
