"""A local worker process as the run process sees it, and where it comes from."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import AppImportError
from flip_lab.engines import nursery as nurseries
from flip_lab.engines.channel import Channel
from flip_lab.engines.gate import Gate
from flip_lab.engines.nursery import Nursery, NurseryDiedError
from flip_lab.engines.process_worker import Assignment

_PRELOAD = ("flip_lab.engines.process_worker",)
_TARGET = "flip_lab.engines.process_worker:main"
_LAST_BREATH_S = 5.0  # a process closes its connections a little before it has ended
_LOOK_EVERY_S = 0.001


class Cradle:
    """Where workers come from: the nursery of this process, or one of our own."""

    def __init__(self) -> None:
        """Use the nursery that this process made early, if there is one.

        Raises:
            EngineStartError: If there is none and no process can be started.
        """
        self._own: Nursery | None = None
        self._nursery = nurseries.current() or self._spawn()

    def _spawn(self) -> Nursery:
        self.close()
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

    def status(self, process_id: int) -> int | None:
        """Say how a worker ended, as ``Nursery.status`` does; ``None`` if nobody knows."""
        end_s = tick_s() + _LAST_BREATH_S
        with suppress(NurseryDiedError, ProcessLookupError):  # an earlier nursery's worker
            while (status := self._nursery.status(process_id)) is None:
                if tick_s() > end_s:
                    break
                time.sleep(_LOOK_EVERY_S)
            return status
        return None

    def close(self) -> None:
        """End a nursery of our own."""
        if self._own is not None:
            self._own.close()


class WorkerProcess:
    """One worker process and what it has been told.

    Attributes:
        channel: The connection to it.
        contents: Keys of the contents that it has.
        is_ready: Whether it has loaded the app.
        since_s: When its present call began, by the monotonic clock; 0 while it has none.
    """

    def __init__(self, cradle: Cradle, assignment: Assignment, gate: Gate) -> None:
        """Start it; it loads the app meanwhile.

        Args:
            cradle: Where it comes from.
            assignment: The run.
            gate: What its clients pass.

        Raises:
            EngineStartError: If there can be no more processes.
        """
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.contents: set[int] = set()
        self.is_ready = False
        self.since_s = 0.0
        self._cradle = cradle
        self._is_over = False
        try:
            with theirs:
                self._process_id = cradle.start([theirs.fileno()])
            with suppress(OSError):  # a dead worker is noticed where replies are received
                self.channel.send(list(sys.path))
                self.channel.send(assignment, descriptors=[gate.descriptor])
        except BaseException:
            self.channel.close()
            raise

    def await_ready(self) -> None:
        """Wait until the app is loaded.

        Raises:
            AppImportError: If it cannot be.
            EOFError: If the process ended.
        """
        problem, _ = self.channel.receive()
        if problem:
            raise AppImportError(
                "The ClientApp could not be loaded in a worker process.",
                fix="Mend the app; the cause stands below.",
                detail=problem,
            )
        self.is_ready = True

    def cause_of_death(self) -> str:
        """Say how a process ended that has closed its connection."""
        status = self._cradle.status(self._process_id)
        self._is_over = status is not None
        if status is None:
            return "ended"
        if status >= 0:
            return f"ended with status {status}"
        names = {each.value: each.name for each in signal.Signals}
        return f"was killed by {names.get(-status, f'signal {-status}')}"

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.channel.close()
        if not self._is_over:
            self._is_over = True
            with suppress(ProcessLookupError):
                os.kill(self._process_id, signal.SIGKILL)
