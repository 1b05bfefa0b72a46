"""Where one run stands, and whether it is alive."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FlipLabError,
    RunLostError,
    RunTimeoutError,
    SecondWriterError,
)
from flip_lab.core.events import EventKind
from flip_lab.core.outcome import error_in
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs import life_sign
from flip_lab.runs.leftovers import Home, end_leftovers
from flip_lab.runs.outcome import home_in
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run_facts import RunFacts
from flip_lab.store.events import EventTail
from flip_lab.store.journal import JournalWriter, last_sequence
from flip_lab.store.layout import LabDir

_POLL_S = 0.1


class LivingRun(RunFacts):
    """Follows a run's states; writes the end of one whose process died."""

    def __init__(self, lab: LabDir, run_id: str) -> None:
        """Read the run's spec; its states are read when asked for."""
        super().__init__(lab, run_id)
        self._tail = EventTail(lab, run_id)
        self._life = RunLife()
        self._looking = Lock()  # a widget's thread asks while a cell waits
        self._error: Mapping[str, Any] = {}
        self._home: Home | None = None

    @property
    def state(self) -> RunState:
        """Where the run stands now."""
        with self._looking:
            self._follow()
            if not self._life.state.is_final and not life_sign.is_alive(self._dir):
                self._follow()  # it may have ended between the two looks
                if not self._life.state.is_final:
                    self._bury()
            if self._life.state.is_final:
                life_sign.mark_ended(self._dir)
            return self._life.state

    def _follow(self) -> None:
        for event in self._tail.poll():
            if event.kind is EventKind.STATE:
                # Believed, not judged: a damaged journal may have lost a step.
                state = RunState(str(event.body["state"]))
                self._life = RunLife((*self._life.story, state))
                self._error = event.body
                if self._life.state is RunState.STARTING:
                    self._home = home_in(event.body)

    def _bury(self) -> None:
        """Write the end of a run whose process died without writing it."""
        error = RunLostError(
            f"The process of run {self.run_id} died in state {self._life.state}.",
            fix="Look at run.logs() for the last words, free memory if it was killed, "
            "and go on with run.resume_from_checkpoint(); all events so far are kept.",
        )
        try:
            writer = JournalWriter(self._lab, self.run_id, role="survivor")
        except SecondWriterError:
            return  # another kernel is writing the same
        self._follow()
        if self._life.state.is_final:  # another kernel was faster
            writer.close()
            return
        if self._home is not None:
            end_leftovers(self._home)
        first = last_sequence(self._lab, self.run_id) + 1
        recorder = Recorder(self.run_id, writer, first=first, life=self._life)
        try:
            recorder.enter(RunState.FAILED, error)
        finally:
            recorder.close()
        self._follow()

    @property
    def error(self) -> FlipLabError | None:
        """Why the run failed; ``None`` unless it did."""
        if self.state is not RunState.FAILED:
            return None
        return error_in(self._error)

    def wait(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run has ended; an interrupt leaves the run going.

        Args:
            timeout_s: How long to wait, seconds; ``None`` waits as long as it takes.

        Returns:
            The final state.

        Raises:
            RunTimeoutError: If the run has not ended by then.
        """
        end_s = None if timeout_s is None else tick_s() + timeout_s
        while not (state := self.state).is_final:
            if end_s is not None and tick_s() > end_s:
                raise RunTimeoutError(
                    f"Run {self.run_id} is still {state} after {timeout_s} s.",
                    fix="Wait longer, or ask it to end with run.stop().",
                )
            time.sleep(_POLL_S)
        return state
