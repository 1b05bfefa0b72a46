"""What events change in what is known of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType
from typing import Protocol, TypeAlias, TypeVar

from flip_lab.boards.run.cohort import Cohort
from flip_lab.boards.run.facts import RunFacts
from flip_lab.boards.run.series import Series
from flip_lab.boards.run.snapshot import Failure, shortened, tail
from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.state import RunState

_RECENT_ROUNDS = 9  # for the guess of what is left; odd, so that the median is one of them
_MOST_WARNINGS = 3
_WORDS_LENGTH, _DETAIL_LENGTH, _WARNING_LENGTH = 300, 800, 200
_PHASE_BEGINS = MappingProxyType({"train": 0.0, "evaluate": 0.5})
"""Where a phase begins in a round's work: each takes half of it."""

Body: TypeAlias = Mapping[str, Json]
Facts = TypeVar("Facts", bound=RunFacts)


class _Change(Protocol):
    """What one kind of event changes; gives facts of the type that it was given."""

    def __call__(self, facts: Facts, event: RunEvent, /) -> Facts: ...


def after(facts: Facts, events: Iterable[RunEvent]) -> Facts:
    """Give the facts after some events.

    Clients' answers of one phase are taken together: they are most of all events, and each
    copy of the facts costs more than ten of them.

    Args:
        facts: Before the events.
        events: Facts that were not applied before, in order; unknown kinds only move the
            clock.
    """
    for (kind, *_), some in groupby(events, key=_together):
        group = list(some)
        moved = replace(
            facts,
            last_sequence=group[-1].sequence,
            started_s=group[0].time_s if facts.started_s is None else facts.started_s,
            updated_s=max(facts.updated_s or 0.0, *(event.time_s for event in group)),
            server_round=max(facts.server_round, group[0].server_round),
        )
        if kind is EventKind.CLIENT:
            facts = _clients(moved, group)
        else:
            change = _CHANGES.get(kind)
            facts = change(moved, group[0]) if change else moved
    return facts


def _together(event: RunEvent) -> tuple[EventKind, int, object]:
    """Name what events are taken together; only clients' answers are."""
    if event.kind is EventKind.CLIENT:
        return event.kind, event.server_round, event.body.get("phase")
    return event.kind, event.sequence, None


def _state(facts: Facts, event: RunEvent) -> Facts:
    state = RunState(_text(event.body, "state"))
    if state is not RunState.FAILED:
        return replace(facts, state=state)
    return replace(facts, state=state, error=_failure(event.body))


def _round_started(facts: Facts, event: RunEvent) -> Facts:
    planned = int(_number(event.body, "num_rounds"))
    return replace(
        facts,
        num_rounds=planned or facts.num_rounds,
        round_started_s=event.time_s,
        round_share=0.0,
    )


def _round_ended(facts: Facts, event: RunEvent) -> Facts:
    duration_s = _number(event.body, "duration_s")
    return replace(
        facts,
        rounds_done=max(facts.rounds_done, event.server_round),
        recent_s=(*facts.recent_s, duration_s)[-_RECENT_ROUNDS:],
    )


def _dispatched(facts: Facts, event: RunEvent) -> Facts:
    phase, asked = _text(event.body, "phase"), event.body.get("node_ids")
    node_ids = (
        tuple(node for node in asked if isinstance(node, int))
        if isinstance(asked, list | tuple)
        else ()
    )
    return replace(facts, cohort=_cohort(facts, event.server_round, phase).ask(node_ids))


def _clients(facts: Facts, events: Sequence[RunEvent]) -> Facts:
    """Note the answers of clients in one phase of one round."""
    server_round, phase = events[0].server_round, _text(events[0].body, "phase")
    answers = [
        (int(_number(event.body, "node_id")), _number(event.body, "error_code") != 0)
        for event in events
    ]
    failed = [event for event, (_, bad) in zip(events, answers, strict=True) if bad]
    cohort = _cohort(facts, server_round, phase).answer(answers)
    share = facts.round_share
    if phase in _PHASE_BEGINS and server_round > facts.rounds_done:
        share = max(share, _PHASE_BEGINS[phase] + cohort.answered_ratio / 2)
    return replace(
        facts,
        cohort=cohort,
        round_share=share,
        replies=facts.replies + len(events) - len(failed),
        failures=facts.failures + len(failed),
        bytes_down=facts.bytes_down + _sum(events, "bytes_down"),
        bytes_up=facts.bytes_up + _sum(events, "bytes_up"),
        client_error=_client_failure(failed[-1]) if failed else facts.client_error,
    )


def _sum(events: Sequence[RunEvent], key: str) -> int:
    return sum(int(_number(event.body, key)) for event in events)


def _cohort(facts: RunFacts, server_round: int, phase: str) -> Cohort:
    """Give the cohort under way, or a new one where a new phase begins."""
    now = facts.cohort
    if now is not None and (now.server_round, now.phase) == (server_round, phase):
        return now
    return Cohort(server_round=server_round, phase=phase)


def _metric(facts: Facts, event: RunEvent) -> Facts:
    body = event.body
    name, phase, scope = (_text(body, key) for key in ("name", "phase", "scope"))
    key = f"{phase}/{scope}/{name}"
    series = facts.series.get(key) or Series(name=name, phase=phase, scope=scope)
    added = series.add(event.server_round, _number(body, "value"))
    return replace(facts, series={**facts.series, key: added})


def _warning(facts: Facts, event: RunEvent) -> Facts:
    code, message = _text(event.body, "code"), _text(event.body, "message")
    words = shortened(f"[{code}] {message}" if code else message, _WARNING_LENGTH)
    kept = (*facts.warnings, words)[-_MOST_WARNINGS:]
    return replace(facts, warnings=kept, num_warnings=facts.num_warnings + 1)


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


_CHANGES: Mapping[EventKind, _Change] = MappingProxyType(
    {
        EventKind.STATE: _state,
        EventKind.ROUND_STARTED: _round_started,
        EventKind.ROUND_ENDED: _round_ended,
        EventKind.DISPATCHED: _dispatched,
        EventKind.METRIC: _metric,
        EventKind.WARNING: _warning,
    }
)
