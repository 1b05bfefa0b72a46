"""The engine that trains clients in local worker processes, without Ray.

Arrays travel through shared memory, the rest by Unix sockets; workers are forked from a
warm process, so they are there in milliseconds. Replies wake the run process; nothing
polls. A worker that dies is replaced and its calls are carried out again: calls are pure.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from logging import getLogger
from threading import RLock

from flwr.app import RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import AppImportError, EngineError, EngineStartError
from flip_lab.engines import nursery as nurseries
from flip_lab.engines.base import Job
from flip_lab.engines.channel import Channel
from flip_lab.engines.clients import ClientCall, ClientOutcome, lost_call
from flip_lab.engines.dispatch import MAX_ATTEMPTS, Backlog
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import for_client
from flip_lab.engines.nursery import Nursery, NurseryDiedError
from flip_lab.engines.parcels import Parcel
from flip_lab.engines.process_worker import Assignment, Batch, Content, Done
from flip_lab.engines.simulation import SimulationGrid, setting_of

_PRELOAD = ("flip_lab.engines.process_worker",)
_OPEN_FILES = 65_536  # each large reply under way is memory known by an open file
_TARGET = "flip_lab.engines.process_worker:main"
_log = getLogger("flip_lab.engines.processes")


class _Cradle:
    """Where workers come from: the nursery of this process, or one of our own."""

    def __init__(self) -> None:
        """Use the nursery that this process made early, if there is one."""
        self._own: Nursery | None = None
        self._nursery = nurseries.current() or self._spawn()

    def _spawn(self) -> Nursery:
        self._own = Nursery.spawn(_PRELOAD)
        return self._own

    def start(self, fds: Sequence[int]) -> int:
        """Fork a worker; give its process id.

        Raises:
            EngineStartError: If there can be no more processes.
        """
        try:
            return self._nursery.start(_TARGET, fds=fds)
        except NurseryDiedError:  # somebody killed it, and its workers with it
            self._nursery = self._spawn()
            return self._nursery.start(_TARGET, fds=fds)

    def cause_of_death(self, process_id: int) -> str:
        """Say how a worker ended, as far as the nursery knows."""
        try:
            status = self._nursery.status(process_id)
        except EngineError:
            status = None
        if status is not None and status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return "ended" if status is None else f"ended with status {status}"

    def close(self) -> None:
        """End a nursery of our own."""
        if self._own is not None:
            self._own.close()


class _Worker:
    """One worker process and what it has been told."""

    def __init__(self, cradle: _Cradle, assignment: Assignment) -> None:
        """Start it; it loads the app meanwhile."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process_id = cradle.start([theirs.fileno()])
        self.channel = Channel(ours)
        self.channel.send(list(sys.path))
        self.channel.send(assignment)
        self.contents: set[int] = set()
        self.is_ready = False
        self.since_s = 0.0  # when its present call began; 0 while it has none

    def await_ready(self) -> None:
        """Wait until the app is loaded.

        Raises:
            AppImportError: If it cannot be.
        """
        problem, _ = self.channel.receive()
        if problem:
            raise AppImportError(
                "The ClientApp could not be loaded in a worker process.",
                fix="Mend the app; the cause stands below.",
                detail=problem,
            )
        self.is_ready = True

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)


class _Contents:
    """The contents of messages under way; each is written once, for all workers."""

    def __init__(self) -> None:
        self._numbers = count()
        self._keys: dict[int, int] = {}
        self._kept: dict[int, tuple[RecordDict, Parcel]] = {}
        self._pending: dict[int, int] = {}

    def expect(self, content: RecordDict) -> None:
        """Note one more call with this content."""
        self._pending[id(content)] = self._pending.get(id(content), 0) + 1
        if id(content) not in self._keys:
            key = self._keys[id(content)] = next(self._numbers)
            self._kept[key] = (content, Parcel(content))

    def key_of(self, content: RecordDict) -> int:
        return self._keys[id(content)]

    def parcel(self, key: int) -> Parcel:
        return self._kept[key][1]

    def settle(self, content: RecordDict) -> None:
        """Note that a call with this content is over; the last one lets go of it."""
        self._pending[id(content)] -= 1
        if not self._pending[id(content)]:
            del self._pending[id(content)]
            _, parcel = self._kept.pop(self._keys.pop(id(content)))
            parcel.close()

    def over(self, known: set[int]) -> list[int]:
        """Tell which of these keys no call will need any more."""
        return [key for key in known if key not in self._kept]


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
        self._cradle = _Cradle()
        self._timeout_s = job.client_timeout_s
        self._assignment = Assignment(
            source=job.app,
            setting=setting_of(job),
            work_dir=job.work_dir,
            together=together,
        )
        self._lock = RLock()
        self._backlog = Backlog(job.workers, whole_shares=together)
        self._contents = _Contents()
        self._calls: dict[str, ClientCall] = {}
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        try:
            for number in range(job.workers):
                self._workers.append(self._new_worker(number))
            for worker in self._workers:
                worker.await_ready()
        except BaseException as raised:
            self.close()
            if not isinstance(raised, EOFError | ConnectionError):
                raise
            raise EngineStartError(
                "A worker process ended while it loaded the ClientApp.",
                fix="Look at the run's output; the app may end its process on import.",
            ) from raised

    def _new_worker(self, number: int) -> _Worker:
        worker = _Worker(self._cradle, self._assignment)
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
        given = True
        while given:  # one batch each in turn, so that nobody takes another's share
            given = False
            for number, worker in enumerate(self._workers):
                batch = self._backlog.take(number)
                if batch:
                    given = True
                    self._give(worker, batch)

    def _give(self, worker: _Worker, calls: Sequence[ClientCall]) -> None:
        key = self._contents.key_of(calls[0].message.content)
        bare = [
            replace(call, message=for_client(call.message, RecordDict())) for call in calls
        ]
        if worker.is_ready and not worker.since_s:
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
                outcomes = [each for key, _ in ready for each in self._hear(key.data)]
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
        busy = [worker.since_s for worker in self._workers if worker.since_s]
        return max(0.0, min(busy, default=float("inf")) + self._timeout_s - tick_s())

    def _hear(self, number: int) -> list[ClientOutcome]:
        worker = self._workers[number]
        outcomes: list[ClientOutcome] = []
        try:
            outcomes += self._take_in(number, worker)
            while worker.channel.has_more():
                outcomes += self._take_in(number, worker)
        except (EOFError, OSError):
            cause = self._cradle.cause_of_death(worker.process_id)
            outcomes += self._replace(number, cause)
        return outcomes

    def _take_in(self, number: int, worker: _Worker) -> list[ClientOutcome]:
        done, _ = worker.channel.receive()
        if not isinstance(done, Done):  # a worker that replaced another has its app
            worker.is_ready = True
            worker.since_s = tick_s()
            return self._refuse(number, str(done)) if done else []
        self._backlog.finished(number, [each.message_id for each in done.outcomes])
        if done.is_last:
            self._backlog.batch_over(number)
        worker.since_s = tick_s() if self._backlog.holds(number) else 0.0
        return list(done.outcomes)

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

    def _refuse(self, number: int, problem: str) -> list[ClientOutcome]:
        calls = self._backlog.holds(number)
        for call in calls:
            self._backlog.drop(number, _id(call))
        return [lost_call(call, problem) for call in calls]

    def _stop_hanging(self) -> list[ClientOutcome]:
        """Stop workers that are busy with one call for too long."""
        if self._timeout_s is None:
            return []
        outcomes: list[ClientOutcome] = []
        for number, worker in enumerate(self._workers):
            lasts_s = tick_s() - worker.since_s
            if worker.since_s and lasts_s > self._timeout_s:
                call = self._backlog.holds(number)[0]
                error = f"TimeoutError: the client took longer than {self._timeout_s} s."
                outcomes.append(lost_call(call, error, duration_s=lasts_s))
                self._backlog.drop(number, _id(call))
                outcomes += self._replace(number, "was stopped: its client took too long")
        return outcomes

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.end()
        self._selector.close()
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
        _allow_open_files()
        executor = ProcessExecutor(job, together=self.together)
        try:
            yield SimulationGrid(job, executor)
        finally:
            executor.close()


class VectorisedEngine(ProcessesEngine):
    """The same, but clients declared as data are trained many at once in each worker."""

    name = "vectorised"
    together = True


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
