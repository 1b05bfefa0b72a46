"""Who carries out a node's calls: its own process, or worker processes that it reuses."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from queue import Queue
from threading import Lock
from typing import Protocol

import torch

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import NodeLimitError
from flip_lab.engines.channel import Channel
from flip_lab.engines.nursery import Nursery, NurseryDiedError
from flip_lab.node.app_shelf import LoadedApps
from flip_lab.node.calling import SiteCall, SiteOutcome, carry_out, too_much_memory
from flip_lab.node.config import NodeLimits
from flip_lab.node.worker import WorkerSetting

_LOG = logging.getLogger("flip_lab.node")
_SCENARIOS = "flip_lab.fl.client_app"
_PRELOAD = ("flip_lab.node.worker", _SCENARIOS)
_TARGET = "flip_lab.node.worker:main"
_LAST_BREATH_S = 5.0  # a process closes its connections a little before it has ended
_MOST_WAIT_S = 2_000_000.0  # poll(2) takes 31 bits of milliseconds


class Caller(Protocol):
    """Carries out calls; safe to use from as many threads as it has room for calls."""

    @property
    def room(self) -> int:
        """How many calls go side by side."""
        ...

    def call(self, call: SiteCall) -> SiteOutcome:
        """Carry out a call and wait for it."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class OwnProcess:
    """Calls in the node's own process, one at a time: the least memory, no limits."""

    room = 1

    def __init__(self) -> None:
        """Import what scenarios need, before the first of them waits for it."""
        import_module(_SCENARIOS)
        self._apps = LoadedApps()
        self._lock = Lock()

    def call(self, call: SiteCall) -> SiteOutcome:
        """Carry out a call in this thread."""
        with self._lock:
            torch.set_num_threads(1)  # of this thread
            before = Path.cwd()
            try:
                return carry_out(call, self._apps)
            finally:
                os.chdir(before)

    def close(self) -> None:
        """Nothing was started."""


class _Worker:
    """One worker process as the node sees it."""

    def __init__(self, nursery: Nursery, setting: WorkerSetting) -> None:
        ours, theirs = socket.socketpair()
        self._nursery = nursery
        self._channel = Channel(ours)
        try:
            with theirs:
                self.process_id = nursery.start(_TARGET, fds=[theirs.fileno()])
            self._socket = ours
            self._channel.send(setting)
        except BaseException:
            self._channel.close()
            raise

    def ask(self, call: SiteCall, timeout_s: float) -> SiteOutcome:
        """Hand a call over and wait.

        Raises:
            TimeoutError: If it takes too long.
            EOFError: If the process ended.
        """
        try:
            self._channel.send(call)
        except OSError as error:
            raise EOFError from error
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        if not waiting.poll(min(timeout_s, _MOST_WAIT_S) * 1000):
            raise TimeoutError
        return self._channel.receive()[0]

    def cause_of_death(self) -> int | None:
        """Give how it ended, as ``Nursery.status`` does; ``None`` if nobody knows."""
        end_s = tick_s() + _LAST_BREATH_S
        with suppress(NurseryDiedError, ProcessLookupError):
            while (status := self._nursery.status(self.process_id)) is None:
                if tick_s() > end_s:
                    break
                time.sleep(0.002)
            return status
        return None

    def end(self) -> None:
        self._channel.close()
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)


class Workers:
    """Worker processes, kept warm and reused; one that dies or hangs is replaced.

    Args:
        count: How many.
        limits: What one call may use.
        work_dir: Where clients run.
    """

    def __init__(self, count: int, limits: NodeLimits, work_dir: Path) -> None:
        """Begin to import what workers need; they start with their first call.

        Raises:
            EngineStartError: If no process can be started.
        """
        self.room = count
        self._limits = limits
        self._setting = WorkerSetting(
            work_dir=work_dir, memory_mb=limits.memory_mb, cpu_s=limits.cpu_s
        )
        self._lock = Lock()
        self._nursery = Nursery.spawn(_PRELOAD)
        self._idle: Queue[_Worker | None] = Queue()
        for _ in range(count):
            self._idle.put(None)

    def _new_worker(self) -> _Worker:
        with self._lock:
            try:
                return _Worker(self._nursery, self._setting)
            except NurseryDiedError:
                self._nursery.close()
                self._nursery = Nursery.spawn(_PRELOAD)
                return _Worker(self._nursery, self._setting)

    def call(self, call: SiteCall) -> SiteOutcome:
        """Carry out a call in the next free worker; a client that ends it has failed."""
        worker = self._idle.get()
        start = tick_s()
        try:
            worker = worker or self._new_worker()
            return worker.ask(call, self._limits.call_timeout_s)
        except (TimeoutError, EOFError) as error:
            lost, worker = worker, None
            if lost is None:  # it ended while it was started
                raise
            told = self._told(lost, error)
            lost.end()
            _LOG.warning("%s Another worker takes its place.", told)
            return SiteOutcome(failure=told, duration_s=tick_s() - start)
        finally:
            self._idle.put(worker)

    def _told(self, worker: _Worker, error: Exception) -> str:
        """Say which limit it was, and what to do."""
        if isinstance(error, TimeoutError):
            limit_s = self._limits.call_timeout_s
            return str(
                NodeLimitError(
                    f"The client took longer than the {limit_s:g} s that this site allows.",
                    fix="Train less in a round, or let the site raise call-timeout-s in "
                    "its node.toml.",
                )
            )
        status = worker.cause_of_death()
        if status == -signal.SIGXCPU and self._limits.cpu_s is not None:
            return str(
                NodeLimitError(
                    f"The client computed for longer than the {self._limits.cpu_s:g} s "
                    "that this site allows.",
                    fix="Train less in a round, or let the site raise cpu-s in its "
                    "node.toml.",
                )
            )
        if status in {-signal.SIGABRT, -signal.SIGKILL} and self._limits.memory_mb:
            return str(too_much_memory(self._limits.memory_mb))
        return str(
            NodeLimitError(
                f"The client ended its process ({_ending(status)}).",
                fix="Look for exits and native crashes in the app, or for a machine that "
                "is out of memory; the site's node.log has more.",
            )
        )

    def close(self) -> None:
        """End all workers."""
        while not self._idle.empty():
            if (worker := self._idle.get()) is not None:
                worker.end()
        self._nursery.close()


def _ending(status: int | None) -> str:
    if status is None:
        return "nobody knows how"
    if status >= 0:
        return f"exit status {status}"
    names = {each.value: each.name for each in signal.Signals}
    return f"killed by {names.get(-status, f'signal {-status}')}"


def caller_for(workers: int, limits: NodeLimits, work_dir: Path) -> Caller:
    """Give what the settings of a node ask for.

    Raises:
        EngineStartError: If no process can be started.
    """
    return Workers(workers, limits, work_dir) if workers else OwnProcess()
