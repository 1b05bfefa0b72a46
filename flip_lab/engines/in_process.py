"""The engine without processes: clients train one after another, right here.

Starts in milliseconds, so it is the default for small scenarios, and breakpoints work.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread

from flwr.clientapp import ClientApp

from flip_lab.core.clock import tick_s
from flip_lab.engines.base import Job
from flip_lab.engines.clients import (
    ClientCall,
    ClientOutcome,
    ClientSetting,
    call_client,
    lost_call,
)
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.gate import Gate
from flip_lab.engines.seeding import kept_generators
from flip_lab.engines.simulation import SimulationGrid, setting_of

_SLICE_S = 0.02  # so that the generators are put back for many short calls at once
_AGAIN_S = 0.1  # after the first time: an app may catch the exception and go on


class InProcessExecutor:
    """Carries out calls in the thread that asks for outcomes, oldest call first.

    Args:
        app: The run's ClientApp.
        setting: What is the same for every client of the run.
        gate: Looked at before each call; other threads open and close it.
    """

    def __init__(self, app: ClientApp, setting: ClientSetting, gate: Gate) -> None:
        """Serve one run's ClientApp."""
        self._app = app
        self._setting = setting
        self._gate = gate
        self._waiting: deque[ClientCall] = deque()

    def __len__(self) -> int:
        """Count the calls that wait."""
        return len(self._waiting)

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls."""
        self._waiting.extend(calls)

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Carry out the oldest waiting call, however long it takes, or a few short ones.

        Args:
            timeout_s: How long to wait at a closed gate; a call in this thread cannot be
                left half-way.
        """
        if not self._waiting or not self._gate.wait(timeout_s):
            return []
        outcomes: list[ClientOutcome] = []
        end_s = tick_s() + _SLICE_S
        with kept_generators():
            while (
                self._waiting and self._gate.is_open and (not outcomes or tick_s() < end_s)
            ):
                outcomes.append(self._carry_out(self._waiting.popleft()))
        return outcomes

    def _carry_out(self, call: ClientCall) -> ClientOutcome:
        start_s = tick_s()
        try:
            with _deadline(self._setting.timeout_s):
                return call_client(self._app, call, self._setting)
        except TimeoutError as error:  # it came when the client had just ended
            late = f"TimeoutError: {error}."
            return lost_call(call, late, duration_s=tick_s() - start_s)

    def withdraw(self) -> list[ClientCall]:
        """Give up the calls that wait; somebody else will carry them out."""
        calls = [*self._waiting]
        self._waiting.clear()
        return calls


@contextmanager
def _deadline(timeout_s: float | None) -> Generator[None]:
    """Raise ``TimeoutError`` in the block when it takes too long.

    Python code is interrupted where it is; a call into a library only when it returns. In
    another thread than the main one no signal arrives, and there is no deadline.
    """
    if timeout_s is None or current_thread() is not main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"the client took longer than {timeout_s} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, timeout_s, _AGAIN_S)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # the alarm may go off at the very line above
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class InProcessEngine:
    """Simulated federation in this very process."""

    name = "in_process"

    @contextmanager
    def open(self, job: Job) -> Generator[SimulationGrid]:
        """Load the ClientApp here and give the Grid.

        Raises:
            AppError: If the ClientApp cannot be loaded.
        """
        install_fast_arrays()
        executor = InProcessExecutor(job.app.load_client_app(), setting_of(job), job.gate)
        yield SimulationGrid(job, executor)
