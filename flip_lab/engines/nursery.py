"""A warm process that forks others on request.

Importing torch and Flower takes seconds; copying a process that has done it takes
milliseconds. But only a process of one thread may be copied, and whoever needs workers
has threads by then: so it makes a nursery while it is young, and asks that one later.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import EngineStartError
from flip_lab.core.events import Json
from flip_lab.engines import nursery_process
from flip_lab.engines.environment import process_environment
from flip_lab.engines.frames import receive_frame, send_frame

_PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.002
_FIX = "Free memory or processes and launch again."


class NurseryDiedError(EngineStartError):
    """The nursery is gone; another one, or a cold start, does the same work."""


class _Process(Protocol):
    """A child of this process, as ``subprocess.Popen`` describes one."""

    @property
    def pid(self) -> int: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class Nursery:
    """A warm process of one thread that forks others; safe to use from several threads.

    It ends when it is closed, and when this process dies, however it dies. Its children do
    not: they notice when their own connections close. They stay in the session of the
    nursery's owner, and print where the nursery prints.
    """

    def __init__(self, connection: socket.socket, process: _Process) -> None:
        """Take over a nursery process; use ``fork_here`` or ``spawn``."""
        self._connection = connection
        self._process = process
        self._lock = Lock()
        self._is_ready = False

    @classmethod
    def fork_here(cls) -> Self:
        """Make a nursery that is a copy of this process, with all it has imported.

        Files and connections of this process are closed in the copy, all but the standard
        streams.

        Raises:
            EngineStartError: If this process has other threads, or cannot be copied.
        """
        if (threads := nursery_process.num_threads()) > 1:
            raise EngineStartError(
                f"A process with {threads} threads cannot become a nursery.",
                fix="Make the nursery before anything starts a thread.",
            )
        ours, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # what cannot be flushed now cannot be copied either
                stream.flush()
        try:
            process_id = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise EngineStartError(
                f"There is no new process: {error}.", fix=_FIX
            ) from error
        if process_id == 0:
            nursery_process.serve(theirs)
        theirs.close()
        return cls(ours, _Copy(process_id))

    @classmethod
    def spawn(
        cls, preload: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Start a nursery of its own, without what this process has imported or changed.

        Returns at once; ``start`` waits until the modules are imported.

        Args:
            preload: Names of modules to import first; none may start a thread.
            environment: Its variables; ``None`` takes those of a run process started here.

        Raises:
            EngineStartError: If the process cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                with nursery_process.deaf():
                    process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                        [
                            *(sys.executable, "-P", "-m", nursery_process.__name__),
                            *(str(theirs.fileno()), *preload),
                        ],
                        env=process_environment() if environment is None else environment,
                        stdin=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                    )
            except OSError as error:
                ours.close()
                raise EngineStartError(
                    f"There is no new process: {error}.", fix=_FIX
                ) from error
        return cls(ours, process)

    @property
    def process_id(self) -> int:
        """The nursery's own process id."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether ``start`` would fork at once; also true once the nursery has died."""
        if self._is_ready:
            return True
        looking = select.poll()
        looking.register(self._connection, select.POLLIN)
        return bool(looking.poll(0))

    def is_alive(self) -> bool:
        """Whether the nursery is still there; asks nothing of it."""
        if self._connection.fileno() < 0:
            return False
        looking = select.poll()
        looking.register(self._connection, 0)  # says only whether it was hung up
        return not looking.poll(0)

    def start(
        self,
        target: str,
        *,
        fds: Sequence[int] = (),
        arguments: Mapping[str, Json] | None = None,
    ) -> int:
        """Fork a child that calls a function, and ends when that returns.

        Args:
            target: ``package.module:function``; called as ``function(fds, arguments)``.
                An integer that it returns is the exit status; an exception is printed on
                the child's standard error and makes it 1.
            fds: At most 253 descriptors for the child, which gets copies in that order.
            arguments: Anything that JSON can hold.

        Returns:
            The child's process id.

        Raises:
            NurseryDiedError: If the nursery is gone.
            EngineStartError: If it cannot fork.
        """
        request = {"target": target, "arguments": dict(arguments or {})}
        answer = self._ask(request, fds)
        if "refused" in answer:
            raise EngineStartError(
                f"There is no new process: {answer['refused']}.", fix=_FIX
            )
        return int(answer["process_id"])

    def status(self, process_id: int) -> int | None:
        """Say how a child ended.

        Returns:
            ``None`` while it lives; else its exit status, or minus the number of the
            signal that killed it.

        Raises:
            NurseryDiedError: If the nursery is gone.
            ProcessLookupError: If the nursery did not start it, or thousands after it.
        """
        answer = self._ask({"status": process_id})
        if not answer["known"]:
            raise ProcessLookupError(process_id)
        return answer["status"]

    def _ask(self, request: Mapping[str, Json], fds: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            try:
                if not self._is_ready:
                    receive_frame(self._connection)
                    self._is_ready = True
                send_frame(self._connection, request, fds)
                return receive_frame(self._connection)[0]
            except (EOFError, OSError) as error:
                raise NurseryDiedError(
                    f"The nursery, process {self.process_id}, is gone: {error!r}.",
                    fix="Launch the run again; its output.log may say why.",
                ) from error
            except BaseException:
                self._connection.close()  # the answer to this would be taken for the next's
                raise

    def close(self) -> None:
        """End the nursery; its children go on. May be called more than once."""
        with self._lock:
            if self._connection.fileno() >= 0 and not self.is_ready():
                self._process.kill()  # it would go on importing first
            self._connection.close()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:  # stopped by somebody
                self._process.kill()
                self._process.wait()

    def disown(self) -> None:
        """Let go of the connection in a forked copy of the owner."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Give the nursery; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Copy:
    """A forked child; may be waited for more than once."""

    def __init__(self, process_id: int) -> None:
        self.pid = process_id
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        end_s = tick_s() + (math.inf if timeout is None else timeout)
        while self._status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self._status = os.waitstatus_to_exitcode(status)
            elif tick_s() > end_s:
                raise subprocess.TimeoutExpired("nursery", timeout or 0.0)
            else:
                time.sleep(_LOOK_EVERY_S)
        return self._status

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


_kept: list[Nursery] = []


def keep(nursery: Nursery) -> None:
    """Make a nursery the one of this process; a forked copy of it has none."""
    _kept[:] = [nursery]


def current() -> Nursery | None:
    """Give the nursery of this process, if it made one while it was young."""
    return _kept[0] if _kept else None


def _forget() -> None:
    """Leave the connection to the parent: a nursery lives as long as anybody holds it."""
    for nursery in _kept:
        nursery.disown()
    _kept.clear()


os.register_at_fork(after_in_child=_forget)
