"""Who was late in a run: a repetition counts the same replies, whatever the clock says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.policy import LATE
from flip_lab.engines.flower.messages import NO_REPLY
from flip_lab.engines.round_policy import LateBefore


def late_in(events: Iterable[RunEvent]) -> list[dict[str, Any]]:
    """Collect who was late in which round.

    Args:
        events: All events of a run that has ended.

    Returns:
        One item for each round and phase in which somebody was, fit for JSON:
        ``server_round``, ``phase``, ``node_ids``, ``partition_ids``.
    """
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for event in in_force(list(events)):
        body = event.body
        is_late = event.kind is EventKind.CLIENT and body["error_code"] in {LATE, NO_REPLY}
        if not is_late:
            continue
        key = event.server_round, str(body["phase"])
        about: dict[str, Any] = {"server_round": key[0], "phase": key[1]}
        item = found.setdefault(key, {**about, "node_ids": [], "partition_ids": []})
        item["node_ids"].append(body["node_id"])
        item["partition_ids"].append(body["partition_id"])
    return [found[key] for key in sorted(found)]


def as_late_before(items: Iterable[Mapping[str, Any]]) -> LateBefore:
    """Read what ``late_in`` gave."""
    return {
        (item["server_round"], item["phase"]): dict(
            zip(item["node_ids"], item["partition_ids"], strict=True)
        )
        for item in items
    }
