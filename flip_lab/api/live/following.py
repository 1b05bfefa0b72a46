"""One run that is under way, folded into its row of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from flip_lab.api.live.marks import Mark
from flip_lab.api.live.rows import (
    Headline,
    RunRow,
    row_of_spec,
    second_text,
    telling_first,
    told_metric,
)
from flip_lab.boards.run.progress import RunProgress
from flip_lab.core.errors import FlipLabError, RunNotFoundError
from flip_lab.core.events import EventKind, RunEvent, in_force, superseded_spans
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign
from flip_lab.runs.run import Run
from flip_lab.store.audit import Labels
from flip_lab.store.events import EventTail
from flip_lab.store.layout import LabDir

_BEGUN = frozenset({RunState.STARTING, RunState.RUNNING})


@dataclass(slots=True)
class _Story:
    """What the row tells besides the run's progress."""

    started_s: float | None = None
    last_s: float | None = None
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def add(self, event: RunEvent) -> None:
        state = RunState(str(event.body["state"]))
        if state in _BEGUN:
            self.started_s = min(event.time_s, self.started_s or event.time_s)
        self.last_s, self.body = event.time_s, event.body


class FollowedRun:
    """Follows one run until it has ended and its process is gone; for one thread.

    Args:
        lab: The lab that keeps the run.
        run_id: The run.

    Raises:
        RunNotFoundError: If its ``run.json`` cannot be read.

    Attributes:
        is_done: Whether nothing more happens to the run unless somebody resumes it.
    """

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Read what was launched; no event yet."""
        self._lab = lab
        self._run_id = run_id
        self.is_done = False
        self._begin()

    def _begin(self) -> None:
        self._spec = read_spec(self._lab, self._run_id)
        self._tail = EventTail(self._lab, self._run_id)
        self._mark = Mark(self._lab, self._run_id)
        self._progress = RunProgress(run_id=self._run_id)
        self._story = _Story()

    def poll(self) -> None:
        """Read what is new; write the end of a run whose process died.

        Raises:
            FlipLabError: If the run cannot be read.
        """
        # A resumer holds the lock before it says that the run goes on, so a state that is
        # final counts only if nobody lived before it was read.
        run_dir = self._lab.run_dir(self._run_id)
        is_alive = life_sign.is_alive(run_dir)
        self._read()
        if is_alive:
            return
        if not self._progress.state.is_final and life_sign.needs_a_look(run_dir):
            with suppress(RunNotFoundError):
                _ = Run(self._lab, self._run_id).state  # looking at it writes its end
            self._read()
        self.is_done = self._progress.state.is_final

    def _read(self) -> None:
        if not self._mark.differs():
            return
        try:
            self._fold()
        except (FlipLabError, OSError):  # what was not read is read next time
            self._mark = Mark(self._lab, self._run_id)
            raise

    def _fold(self) -> None:
        events: Sequence[RunEvent] = self._tail.poll()
        if superseded_spans(events):  # resumed: what was folded counts no more
            self._begin()
            events = in_force(self._tail.poll())
        self._progress = self._progress.apply(events)
        for event in events:
            if event.kind is EventKind.STATE:
                self._story.add(event)

    def row(self, labels: Labels) -> RunRow:
        """Give the run's row as it is now."""
        progress, story = self._progress, self._story
        blank = row_of_spec(self._spec, labels)
        state, fraction = progress.state, progress.fraction
        has_failed = state is RunState.FAILED
        ended_s = story.last_s if state.is_final else None
        num_rounds = blank["num_rounds"]
        return {
            **blank,
            "state": state.value,
            "num_rounds": progress.num_rounds if num_rounds is None else num_rounds,
            "rounds_done": progress.rounds_done,
            "started_at": None if story.started_s is None else second_text(story.started_s),
            "ended_at": None if ended_s is None else second_text(ended_s),
            "error_code": _said(story.body, "code") if has_failed else None,
            "error": _said(story.body, "what") if has_failed else None,
            "headline": _headline(progress),
            "fraction": blank["fraction"] if fraction is None else round(fraction, 4),
        }


def _headline(progress: RunProgress) -> Headline | None:
    curves = progress.series.values()
    best = min(curves, key=lambda c: telling_first(c.phase, c.scope, c.name), default=None)
    return None if best is None else told_metric(best.name, best.last[1])


def _said(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return None if value is None else str(value)


def read_spec(lab: LabDir, run_id: str) -> Mapping[str, Any]:
    """Read a run's ``run.json`` as it is.

    Raises:
        RunNotFoundError: If there is none, or it is damaged.
    """
    path = lab.run_dir(run_id) / "run.json"
    try:
        spec = orjson.loads(path.read_bytes())
        if spec["run_id"] == run_id:
            return spec
        why = f"it is of run {spec['run_id']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = str(error)
    raise RunNotFoundError(
        f"{path.parent} holds no readable run.json: {why}.",
        fix="lab.runs() lists the runs of this lab.",
    )
