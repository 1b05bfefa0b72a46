"""The engine without processes: clients train one after another, right here.

Starts in milliseconds, so it is the default for small scenarios, and breakpoints work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from flwr.clientapp import ClientApp

from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, call_client
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.simulation import SimulationGrid, setting_of


class InProcessExecutor:
    """Carries out calls in the thread that asks for outcomes, oldest call first."""

    def __init__(self, app: ClientApp, setting: ClientSetting) -> None:
        """Serve one run's ClientApp."""
        self._app = app
        self._setting = setting
        self._waiting: deque[ClientCall] = deque()

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls."""
        self._waiting.extend(calls)

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Carry out the oldest waiting call, however long it takes."""
        del timeout_s  # a call in this thread cannot be left half-way
        if not self._waiting:
            return []
        return [call_client(self._app, self._waiting.popleft(), self._setting)]


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
        executor = InProcessExecutor(job.app.load_client_app(), setting_of(job))
        yield SimulationGrid(job, executor)
