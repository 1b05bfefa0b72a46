"""Keep up with a run by asking it for what is new; knows nothing of widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from flip_lab.boards.run.progress import RunProgress
from flip_lab.boards.run.snapshot import Failure, Snapshot, shortened
from flip_lab.boards.run.story import Story
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError, RunLostError
from flip_lab.core.events import RunEvent, in_force, superseded_spans
from flip_lab.core.state import RunState

_LONGEST_PAUSE_S = 10.0
_ASK_STATE_EVERY_S = 1.0


class Watchable(Protocol):
    """All that watching needs of a run; ``flip_lab.Run`` is one."""

    @property
    def run_id(self) -> str:
        """The run's id in the lab."""
        ...

    @property
    def name(self) -> str:
        """What its author calls it; may be empty."""
        ...

    @property
    def state(self) -> RunState:
        """Where the run stands now, also when its process is gone without a word."""
        ...

    def events(self, *, after: int) -> Sequence[RunEvent]:
        """Give, without waiting, the events whose sequence is above ``after``, in order."""
        ...


class Follower:
    """Polls one run and folds what is new; to be used from one thread at a time.

    Args:
        run: The run to follow.
        interval_s: Seconds between two polls, above 0.

    Attributes:
        progress: How far the run is.
        story: What people did to it.
        watch_error: Why the last poll failed; ``None`` when it did not.
    """

    def __init__(self, run: Watchable, *, interval_s: float) -> None:
        """Start before the first event."""
        self._run = run
        self._interval_s = interval_s
        self._troubles = 0
        self._known: tuple[float, RunState] | None = None
        self._begin()
        self.watch_error: Failure | None = None

    def _begin(self) -> None:
        self.progress = RunProgress(run_id=self._run.run_id, name=self._run.name)
        self.story = Story()

    def poll(self) -> Snapshot:
        """Ask the run once, and give what there is to show.

        Whatever the run raises becomes the snapshot's ``watch_error``: a watcher that dies
        in silence would look like a run that stands still.
        """
        try:
            # first the state: once it is final, no event can come after those that we read
            state = self._state()
            events = self._run.events(after=self.progress.last_sequence)
            if superseded_spans(events):  # resumed: what was folded counts no more
                events = in_force(self._run.events(after=-1))
                self._begin()
            self._fold(events)
            self.progress = _with_state(self.progress, state)
        except Exception as error:  # noqa: BLE001  # shown to the user, and tried again
            self._troubles += 1
            self.watch_error = _told(error)
        else:
            self._troubles, self.watch_error = 0, None
        return self.snapshot()

    def _state(self) -> RunState:
        """Give what the run knew of its state within the last second.

        Events tell it, too; that nobody is left to tell it is not so urgent, and asking
        costs a second look at the journal.
        """
        if self._known is None or tick_s() - self._known[0] >= _ASK_STATE_EVERY_S:
            self._known = (tick_s(), self._run.state)
        return self._known[1]

    def _fold(self, events: Sequence[RunEvent]) -> None:
        self.progress = self.progress.apply(events)
        self.story = self.story.apply(events)

    def snapshot(self) -> Snapshot:
        """Give what there is to show, without asking the run."""
        return self.progress.snapshot(
            watch_error=self.watch_error, state_words=self.story.words
        )

    @property
    def is_done(self) -> bool:
        """Whether the run has ended, so that there is nothing more to ask for."""
        return self.progress.state.is_final

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next poll; longer while polls fail, at most 10."""
        return min(
            self._interval_s * 2**self._troubles, max(_LONGEST_PAUSE_S, self._interval_s)
        )


def _with_state(progress: RunProgress, state: RunState) -> RunProgress:
    """Believe the events, except where they say nothing and the run knows better."""
    if progress.state.is_final or not (state.is_final or progress.last_sequence < 0):
        return progress
    if state is not RunState.FAILED:
        return replace(progress, state=state)
    lost = Failure(
        code=RunLostError.code,
        what="The run process is gone without having said how the run ended.",
        fix="Read the end of the run's output.log, then go on with "
        "run.resume_from_checkpoint().",
        detail="",
    )
    return replace(progress, state=state, error=progress.error or lost)


def _told(error: Exception) -> Failure:
    if isinstance(error, FlipLabError):
        what, fix, code = error.what, error.fix, error.code
    else:
        what, fix, code = (
            f"{type(error).__name__}: {error}",
            "It is tried again by itself.",
            "",
        )
    what = shortened(f"This view cannot follow the run: {what}", 300)
    return Failure(code=code, what=what, fix=shortened(fix, 300), detail="")
