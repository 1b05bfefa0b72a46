"""The engine that trains clients in local worker processes, without Ray.

Arrays travel through shared memory, the rest by Unix sockets; workers are forked from a
warm process, so they are there in milliseconds. Replies wake the run process; nothing
polls. A worker that dies is replaced and its calls are carried out again: calls are pure.
"""

from __future__ import annotations

import selectors
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from logging import getLogger
from threading import RLock

from flwr.app import RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import EngineStartError
from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall, ClientOutcome, lost_call
from flip_lab.engines.dispatch import MAX_ATTEMPTS, Backlog
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import for_client
from flip_lab.engines.gate import Bell
from flip_lab.engines.parcels import allow_open_files
from flip_lab.engines.process_contents import SharedContents
from flip_lab.engines.process_handle import Cradle, WorkerProcess
from flip_lab.engines.process_worker import Assignment, Batch, Content, Done
from flip_lab.engines.simulation import SimulationGrid, setting_of

_ENDED = "A worker process ended while it loaded the ClientApp."
_LOOK = "Look at the run's output; the app may end its process on import."
_log = getLogger("flip_lab.engines.processes")


class ProcessExecutor:
    """Feeds worker processes; see ``Backlog`` for who gets what.

    Args:
        job: The run.
        together: Whether clients declared as data are trained together.
    """

    def __init__(self, job: Job, *, together: bool = False) -> None:
        """Start the workers.

        Raises:
            AppImportError: If the ClientApp cannot be loaded in a worker.
            EngineStartError: If a worker cannot be started, or ends while it loads.
        """
        self._cradle = Cradle()
        self._gate, self._bell = job.gate, Bell()
        self._timeout_s = job.client_timeout_s
        self._assignment = Assignment(
            source=job.app,
            setting=setting_of(job),
            work_dir=job.work_dir,
            together=together,
        )
        self._lock = RLock()
        self._backlog = Backlog(job.workers, whole_shares=together)
        self._contents = SharedContents()
        self._calls: dict[str, ClientCall] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._gate.watch(self._bell.ring)
        self._workers: list[WorkerProcess] = []
        self._failed_starts = 0
        try:
            for number in range(job.workers):
                self._workers.append(self._new_worker(number))
            for worker in self._workers:
                worker.await_ready()
        except EOFError as error:
            self.close()
            raise EngineStartError(_ENDED, fix=_LOOK) from error
        except BaseException:
            self.close()
            raise

    def _new_worker(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(self._cradle, self._assignment, self._gate)
        self._selector.register(worker.channel, selectors.EVENT_READ, number)
        return worker

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls and feed the workers that have nothing to do."""
        with self._lock:
            for call in calls:
                self._contents.expect(call.message.content)
                self._calls[_id(call)] = call
            self._backlog.add(calls)
            self._feed()

    def _feed(self) -> None:
        given = self._gate.is_open
        while given:  # one batch each in turn, so that nobody takes another's share
            given = False
            for number, worker in enumerate(self._workers):
                batch = self._backlog.take(number) if worker.is_ready else []
                if batch:
                    given = True
                    self._give(worker, batch)

    def _give(self, worker: WorkerProcess, calls: Sequence[ClientCall]) -> None:
        key = self._contents.key_of(calls[0].message.content)
        bare = [
            replace(call, message=for_client(call.message, RecordDict())) for call in calls
        ]
        if not worker.since_s:
            worker.since_s = tick_s()
        with suppress(OSError):  # a dead worker is noticed where replies are received
            if key not in worker.contents:
                over = self._contents.over(worker.contents)
                worker.contents -= {*over}
                worker.contents.add(key)
                descriptor = self._contents.parcel(key).descriptor
                worker.channel.send(Content(key=key, forget=over), descriptors=[descriptor])
            worker.channel.send(Batch(key=key, calls=bare))

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Wait for replies, feed the workers and replace those that died or hang."""
        end_s = tick_s() + timeout_s
        while True:
            ready = self._selector.select(min(self._patience_s(), end_s - tick_s()))
            with self._lock:
                self._bell.silence()
                heard = [self._hear(key.data) for key, _ in ready if key.data is not None]
                outcomes = [each for some in heard for each in some]
                outcomes += self._stop_hanging()
                for outcome in outcomes:
                    call = self._calls.pop(outcome.message_id)
                    self._contents.settle(call.message.content)
                self._feed()
            if outcomes or tick_s() >= end_s:
                return outcomes

    def _patience_s(self) -> float:
        """Give the time until the first worker has been busy with a call for too long."""
        if self._timeout_s is None:
            return float("inf")
        ends_s = [
            worker.since_s + self._limit_s(number)
            for number, worker in enumerate(self._workers)
            if worker.since_s
        ]
        return max(0.0, min(ends_s, default=float("inf")) - tick_s())

    def _limit_s(self, number: int) -> float:
        """Give the time that a worker may take to its next outcome.

        Clients that are trained together end together, so they may take theirs in one go.
        """
        clients = len(self._backlog.holds(number)) if self._assignment.together else 1
        return (self._timeout_s or float("inf")) * max(1, clients)

    def _hear(self, number: int) -> list[ClientOutcome]:
        worker = self._workers[number]
        outcomes: list[ClientOutcome] = []
        try:
            outcomes += self._take_in(number, worker)
            while worker.channel.has_more():
                outcomes += self._take_in(number, worker)
        except EOFError as error:
            self._failed_starts = 0 if worker.is_ready else self._failed_starts + 1
            if self._failed_starts >= MAX_ATTEMPTS:
                raise EngineStartError(_ENDED, fix=_LOOK) from error
            outcomes += self._replace(number, worker.cause_of_death())
        return outcomes

    def _take_in(self, number: int, worker: WorkerProcess) -> list[ClientOutcome]:
        if not worker.is_ready:  # it replaced another
            worker.await_ready()
            outcomes: list[ClientOutcome] = []
        else:
            done: Done = worker.channel.receive()[0]
            outcomes = [*done.outcomes]
            self._backlog.finished(number, [each.message_id for each in outcomes])
            self._backlog.put_back(number, done.left)
            if done.is_last:
                self._backlog.batch_over(number)
        worker.since_s = tick_s() if self._backlog.holds(number) else 0.0
        return outcomes

    def _replace(self, number: int, cause: str) -> list[ClientOutcome]:
        """Put another process in a dead one's place; give the calls lost for good."""
        _log.warning("A worker process %s; a new one repeats its clients.", cause)
        dead = self._workers[number]
        self._selector.unregister(dead.channel)
        dead.end()
        given_up = self._backlog.died(number)
        self._workers[number] = self._new_worker(number)
        error = f"The worker process {cause}, {MAX_ATTEMPTS} times with this client."
        return [lost_call(call, error) for call in given_up]

    def _stop_hanging(self) -> list[ClientOutcome]:
        """Stop workers that are busy with one call for too long."""
        if self._timeout_s is None:
            return []
        outcomes: list[ClientOutcome] = []
        for number, worker in enumerate(self._workers):
            lasts_s = tick_s() - worker.since_s
            if worker.since_s and lasts_s > self._limit_s(number):
                call = self._backlog.holds(number)[0]
                error = f"TimeoutError: the client took longer than {self._timeout_s} s."
                outcomes.append(lost_call(call, error, duration_s=lasts_s))
                self._backlog.drop(number, _id(call))
                outcomes += self._replace(number, "was stopped: its client took too long")
        return outcomes

    def close(self) -> None:
        """End the workers and let go of all memory."""
        self._gate.unwatch(self._bell.ring)
        self._bell.close()
        for worker in self._workers:
            worker.end()
        self._selector.close()
        self._contents.close()
        self._cradle.close()


def _id(call: ClientCall) -> str:
    return call.message.metadata.message_id


class ProcessesEngine:
    """Simulated federation in local worker processes."""

    name = "processes"
    together = False

    @contextmanager
    def open(self, job: Job) -> Generator[SimulationGrid]:
        """Start the workers, give the Grid, and end the workers again.

        Raises:
            EngineStartError: If a worker cannot be started.
            AppImportError: If the ClientApp cannot be loaded in a worker.
        """
        install_fast_arrays()
        allow_open_files()
        executor = ProcessExecutor(job, together=self.together)
        try:
            yield SimulationGrid(job, executor)
        finally:
            executor.close()


class VectorisedEngine(ProcessesEngine):
    """The same, but clients declared as data are trained many at once in each worker."""

    name = "vectorised"
    together = True
