"""The nursery's own side: it waits for requests, forks, and remembers how children ended.

One thread only: a fork copies the thread that forks and no other, so a lock that another
thread held at that moment would stay locked in the child for ever.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

from flip_lab.core.events import Json
from flip_lab.engines.frames import receive_frame, send_frame

# Meant for the owner, who ends a nursery by closing its connection.
_OWNERS = (signal.SIGINT, signal.SIGTERM)
_STANDARD_STREAMS = 3
_MOST_REMEMBERED = 4096


def num_threads() -> int:
    """Count this process's threads, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # names only, and often


@contextmanager
def deaf() -> Generator[None]:
    """Hold back the signals that a nursery ignores, here and in what is started meanwhile.

    A nursery spends its first seconds importing: Ctrl-C in a terminal reaches it, too, and
    would end it before it can say that it does not listen.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _OWNERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def serve(connection: socket.socket) -> NoReturn:
    """Fork children on request until the other side of the connection is closed."""
    code = 1
    try:
        _let_go_of_all_but(connection.fileno())
        gc.freeze()  # the collector would write to pages that all children share
        _Nursery(connection).serve()
        code = 0
    except BaseException:  # noqa: BLE001  # a copy of a process must never return from here
        traceback.print_exc()
    finally:
        os._exit(code)


def _let_go_of_all_but(kept: int) -> None:
    """Free what was inherited; numbers stay taken.

    An object of the copied process may still close its descriptor when it is collected:
    it must not hit another one that got the same number meanwhile.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # numbers, not paths
        descriptor = int(name)
        if descriptor >= _STANDARD_STREAMS and descriptor not in {kept, nothing}:
            with suppress(OSError):  # the one that this very listing used
                os.fstat(descriptor)
                os.dup2(nothing, descriptor, inheritable=False)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


class _Nursery:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ended: dict[int, int] = {}
        self._living: set[int] = set()
        self._bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._own = [connection.fileno(), self._bell, ring]
        for number in _OWNERS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OWNERS)
        signal.signal(signal.SIGCHLD, _nothing)  # it only rings the bell
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def serve(self) -> None:
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        waiting.register(self._bell, select.POLLIN)
        send_frame(self._connection, {"ready": True})
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll()}
            if self._bell in ready:
                os.read(self._bell, 4096)
            self._reap()
            if self._connection.fileno() not in ready:
                continue
            try:
                request, fds = receive_frame(self._connection)
                send_frame(self._connection, self._answer(request, fds))
            except (EOFError, OSError):  # the owner is gone, in good order or not
                return

    def _answer(self, request: Mapping[str, Any], fds: list[int]) -> dict[str, Json]:
        if "status" in request:
            process_id = int(request["status"])
            known = process_id in self._living or process_id in self._ended
            return {"known": known, "status": self._ended.get(process_id)}
        try:
            return {"process_id": self._fork(request, fds)}
        except OSError as error:
            return {"refused": str(error)}
        finally:
            _close(fds)

    def _fork(self, request: Mapping[str, Any], fds: Sequence[int]) -> int:
        old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            process_id = os.fork()
            if process_id == 0:
                _close(self._own)
                _live(request["target"], fds, request["arguments"])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        self._living.add(process_id)
        self._ended.pop(process_id, None)  # the number of an earlier child
        return process_id

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                process_id, status = found
                self._living.discard(process_id)
                self._ended[process_id] = os.waitstatus_to_exitcode(status)
        while len(self._ended) > _MOST_REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _nothing(number: int, frame: object) -> None:
    del number, frame


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def _live(target: str, fds: Sequence[int], arguments: Mapping[str, Json]) -> NoReturn:
    """Be the child: call the target and end, without the exit hooks of what was copied."""
    code = 1
    try:
        _forget_signals()
        module, _, name = target.partition(":")
        code = getattr(import_module(module), name)(tuple(fds), arguments) or 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    except BaseException:  # noqa: BLE001  # reported as Python does at the end of a program
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # a full disk must not keep a dead child alive
                stream.flush()
        os._exit(code)


def _forget_signals() -> None:
    """Take signals as a fresh Python does."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def main(descriptor: int, preload: Sequence[str]) -> NoReturn:
    """Import modules, then serve: the cold start.

    Args:
        descriptor: The connection to the owner.
        preload: Names of modules that children will need.

    Raises:
        SystemExit: If an import started a thread.
    """
    for name in preload:
        import_module(name)
    if (threads := num_threads()) > 1:
        raise SystemExit(f"Importing {', '.join(preload)} started {threads - 1} threads.")
    serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
