"""The engine that chooses: in process until the work is worth more, then side by side.

Nobody knows beforehand how long a run will take. So it stays in process until clients have
taken as long as worker processes take to start, and moves on then: whatever the run turns
out to be, it takes at most twice that start longer than the best choice in hindsight
(the ski-rental argument; Karlin et al., Algorithmica 1988). The bits are the same.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from logging import getLogger
from threading import Lock

from flip_lab.core.errors import AppError, EngineError, MissingExtraError
from flip_lab.engines.base import EngineGrid, Job
from flip_lab.engines.clients import ClientCall, ClientOutcome, Executor
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.in_process import InProcessExecutor
from flip_lab.engines.processes import ProcessExecutor
from flip_lab.engines.simulation import SimulationGrid, setting_of

_WORTH_S = 0.5  # what worker processes take to start, their app included
_log = getLogger("flip_lab.engines.auto")


class AutoExecutor:
    """Carries out calls in process, and hands over to worker processes when it pays."""

    def __init__(self, job: Job) -> None:
        """Load the ClientApp here.

        Raises:
            AppError: If the ClientApp cannot be loaded.
        """
        self._job = job
        app = job.app.load_client_app()
        self._here = InProcessExecutor(app, setting_of(job), job.gate)
        self._workers: ProcessExecutor | None = None
        self._may_move = job.workers > 1
        self._spent_s = 0.0
        self._lock = Lock()  # no call may come to those who have just handed over

    @property
    def _now(self) -> Executor:
        return self._workers or self._here

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls."""
        with self._lock:
            self._now.submit(calls)

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Carry out a call, or wait for those who do."""
        if self._may_move and self._spent_s > _WORTH_S and len(self._here) > 1:
            self._move()
        outcomes = self._now.completed(timeout_s=timeout_s)
        self._spent_s += sum(outcome.duration_s for outcome in outcomes)
        return outcomes

    def _move(self) -> None:
        self._may_move = False
        try:
            workers = ProcessExecutor(self._job)
        except (AppError, EngineError) as error:
            _log.warning("Staying in one process: %s", error)
            return
        with self._lock:
            self._workers = workers
            workers.submit(self._here.withdraw())
        _log.info("Going on in %d worker processes.", self._job.workers)

    def close(self) -> None:
        """End what was started."""
        if self._workers is not None:
            self._workers.close()


class AutoEngine:
    """Simulated federation wherever it is fastest on this machine, or on your cluster."""

    name = "auto"

    @contextmanager
    def open(self, job: Job) -> Generator[EngineGrid]:
        """Give a Grid on the Ray cluster that ``RAY_ADDRESS`` names, else one here.

        Raises:
            AppError: If the ClientApp cannot be loaded.
        """
        install_fast_arrays()
        with ExitStack() as stack:
            yield _on_cluster(job, stack) or _on_this_machine(job, stack)


def _on_cluster(job: Job, stack: ExitStack) -> EngineGrid | None:
    if "RAY_ADDRESS" not in os.environ:
        return None
    from flip_lab.engines.ray import RayEngine

    try:
        return stack.enter_context(RayEngine().open(job))
    except (EngineError, MissingExtraError) as error:
        _log.warning("Not using the Ray cluster of RAY_ADDRESS: %s", error)
        return None


def _on_this_machine(job: Job, stack: ExitStack) -> EngineGrid:
    executor = AutoExecutor(job)
    stack.callback(executor.close)
    return SimulationGrid(job, executor)
