"""What one event changes in the progress of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.state import RunState
from flip_lab.widgets.cohort import Cohort
from flip_lab.widgets.series import Series
from flip_lab.widgets.snapshot import Failure, shortened, tail

if TYPE_CHECKING:
    from flip_lab.widgets.progress import RunProgress

_RECENT_ROUNDS = 9  # for the guess of what is left; odd, so that the median is one of them
_MOST_WARNINGS = 3
_WORDS_LENGTH, _DETAIL_LENGTH, _WARNING_LENGTH = 300, 800, 200
_PHASE_BEGINS = MappingProxyType({"train": 0.0, "evaluate": 0.5})
"""Where a phase begins in a round's work: each takes half of it."""

Body: TypeAlias = Mapping[str, Json]


def after(progress: RunProgress, event: RunEvent) -> RunProgress:
    """Give the progress after one event.

    Args:
        progress: Before the event.
        event: A fact that was not applied before; unknown kinds only move the clock.
    """
    begun = event.time_s if progress.started_s is None else progress.started_s
    moved = replace(
        progress,
        last_sequence=event.sequence,
        started_s=begun,
        updated_s=max(event.time_s, progress.updated_s or event.time_s),
        server_round=max(progress.server_round, event.server_round),
    )
    change = _CHANGES.get(event.kind)
    return change(moved, event) if change else moved


def _state(progress: RunProgress, event: RunEvent) -> RunProgress:
    state = RunState(_text(event.body, "state"))
    if state is not RunState.FAILED:
        return replace(progress, state=state)
    return replace(progress, state=state, error=_failure(event.body))


def _round_started(progress: RunProgress, event: RunEvent) -> RunProgress:
    planned = int(_number(event.body, "num_rounds"))
    return replace(
        progress,
        num_rounds=planned or progress.num_rounds,
        round_started_s=event.time_s,
        round_share=0.0,
    )


def _round_ended(progress: RunProgress, event: RunEvent) -> RunProgress:
    duration_s = _number(event.body, "duration_s")
    return replace(
        progress,
        rounds_done=max(progress.rounds_done, event.server_round),
        recent_s=(*progress.recent_s, duration_s)[-_RECENT_ROUNDS:],
    )


def _dispatched(progress: RunProgress, event: RunEvent) -> RunProgress:
    phase, asked = _text(event.body, "phase"), event.body.get("node_ids")
    node_ids = (
        tuple(node for node in asked if isinstance(node, int))
        if isinstance(asked, list | tuple)
        else ()
    )
    return replace(
        progress, cohort=_cohort(progress, event.server_round, phase).ask(node_ids)
    )


def _client(progress: RunProgress, event: RunEvent) -> RunProgress:
    body = event.body
    phase, failed = _text(body, "phase"), _number(body, "error_code") != 0
    cohort = _cohort(progress, event.server_round, phase).answer(
        int(_number(body, "node_id")), failed=failed
    )
    share = progress.round_share
    if phase in _PHASE_BEGINS and event.server_round > progress.rounds_done:
        share = max(share, _PHASE_BEGINS[phase] + cohort.answered_ratio / 2)
    return replace(
        progress,
        cohort=cohort,
        round_share=share,
        replies=progress.replies + (not failed),
        failures=progress.failures + failed,
        bytes_down=progress.bytes_down + int(_number(body, "bytes_down")),
        bytes_up=progress.bytes_up + int(_number(body, "bytes_up")),
        client_error=_client_failure(event) if failed else progress.client_error,
    )


def _cohort(progress: RunProgress, server_round: int, phase: str) -> Cohort:
    """Give the cohort under way, or a new one where a new phase begins."""
    now = progress.cohort
    if now is not None and (now.server_round, now.phase) == (server_round, phase):
        return now
    return Cohort(server_round=server_round, phase=phase)


def _metric(progress: RunProgress, event: RunEvent) -> RunProgress:
    body = event.body
    name, phase, scope = (_text(body, key) for key in ("name", "phase", "scope"))
    key = f"{phase}/{scope}/{name}"
    series = progress.series.get(key) or Series(name=name, phase=phase, scope=scope)
    added = series.add(event.server_round, _number(body, "value"))
    return replace(progress, series={**progress.series, key: added})


def _warning(progress: RunProgress, event: RunEvent) -> RunProgress:
    code, message = _text(event.body, "code"), _text(event.body, "message")
    words = shortened(f"[{code}] {message}" if code else message, _WARNING_LENGTH)
    kept = (*progress.warnings, words)[-_MOST_WARNINGS:]
    return replace(progress, warnings=kept, num_warnings=progress.num_warnings + 1)


def _failure(body: Body) -> Failure:
    return Failure(
        code=shortened(_text(body, "code"), 20),
        what=shortened(_text(body, "what") or "The run failed.", _WORDS_LENGTH),
        fix=shortened(_text(body, "fix"), _WORDS_LENGTH),
        detail=tail(_text(body, "detail"), _DETAIL_LENGTH),
    )


def _client_failure(event: RunEvent) -> Failure:
    body = event.body
    partition_id = int(_number(body, "partition_id"))
    who = (
        f"partition {partition_id}" if partition_id >= 0 else f"node {body.get('node_id')}"
    )
    error = _text(body, "error").strip()
    reason = (
        error.splitlines()[-1] if error else f"error {int(_number(body, 'error_code'))}"
    )
    what = f"The client of {who} failed in round {event.server_round}: {reason}"
    return Failure(
        code="",
        what=shortened(what, _WORDS_LENGTH),
        fix="",
        detail=tail(error, _DETAIL_LENGTH) if "\n" in error else "",
    )


def _text(body: Body, key: str) -> str:
    value = body.get(key)
    return "" if value is None else str(value)


def _number(body: Body, key: str) -> float:
    """Read a number; JSON without NaN carries the three odd ones as text."""
    value = body.get(key)
    return float(value) if isinstance(value, int | float | str) else 0.0


_CHANGES: Mapping[EventKind, Callable[[RunProgress, RunEvent], RunProgress]] = (
    MappingProxyType(
        {
            EventKind.STATE: _state,
            EventKind.ROUND_STARTED: _round_started,
            EventKind.ROUND_ENDED: _round_ended,
            EventKind.DISPATCHED: _dispatched,
            EventKind.CLIENT: _client,
            EventKind.METRIC: _metric,
            EventKind.WARNING: _warning,
        }
    )
)
