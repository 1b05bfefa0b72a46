"""A launcher's side of the lab's starter: ask it for a warm run, else start cold.

Whatever is wrong with the starter, a run starts, and exactly once: the right to start it is
a byte in a pipe, which the kernel gives to one reader only.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from flip_lab.core.events import Json
from flip_lab.engines.environment import process_environment
from flip_lab.engines.frames import send_frame
from flip_lab.runs.starter_needs import is_of_this_user, meeting_point, needs, umask_now

SWITCH = "FLIP_LAB_STARTER"
"""``0`` in the environment: every run starts cold, and no starter is started."""

GRACE = "FLIP_LAB_STARTER_GRACE_S"
"""How long a starter stays after its last user, seconds; 30 if nothing is said."""

PYTHONS_OWN = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Signals that each Python ignores, whatever its parent does."""

_DEFAULT_GRACE_S = 30.0
_PATIENCE_S = 0.3  # a cold start takes seconds, so this much may be lost
_ANYTHING = (OSError, RuntimeError, ValueError)  # no threads left, a strange environment


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run to be started.

    Attributes:
        lab: The lab's directory.
        run_dir: The run's directory.
        engine: Name of its engine.
        workers: Processes that will train side by side.
    """

    lab: Path
    run_dir: Path
    engine: str
    workers: int

    def message(self, kind: str) -> dict[str, Json]:
        """Say to a starter what is wanted: ``launch``, or ``prepare`` for later ones."""
        return {
            "kind": kind,
            "run_dir": str(self.run_dir),
            "engine": self.engine,
            "workers": self.workers,
            "directory": str(Path.cwd()),
            "umask": umask_now(),
            "ignored": _ignored_signals(),
            "needs": needs(),
        }


def _ignored_signals() -> list[Json]:
    """Give the signals that a child of this process would ignore."""
    return [
        int(number)
        for number in signal.valid_signals() - PYTHONS_OWN
        if signal.getsignal(number) is signal.SIG_IGN
    ]


class _Link:
    """This process's connection to the starter of one lab; who has one is a user of it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._connection: socket.socket | None = None

    def send(self, lab: Path, message: dict[str, Json], fds: Sequence[int] = ()) -> bool:
        """Say something to the starter that there is; False when there is none."""
        if self._connection is not None and self._sent(message, fds):
            return True
        self.keep(_connection_to(lab))  # another one may have come
        return self._sent(message, fds)

    def _sent(self, message: dict[str, Json], fds: Sequence[int]) -> bool:
        if self._connection is None:
            return False
        try:
            send_frame(self._connection, message, fds)
        except OSError:
            self.keep(None)
            return False
        return True

    def keep(self, connection: socket.socket | None) -> None:
        """Have this connection and no other."""
        if self._connection is not None:
            self._connection.close()
        self._connection = connection
        if connection is not None:
            connection.settimeout(_PATIENCE_S)


_links: dict[Path, _Link] = {}


def forget() -> None:
    """Be no user of any starter; so begins a fork of a user, and so ends a kernel."""
    for link in _links.values():
        link.keep(None)
    _links.clear()


os.register_at_fork(after_in_child=forget)
atexit.register(forget)


def take(token: int) -> bool:
    """Take the right to start a run, which is given once.

    Args:
        token: The reading end of a pipe that held one byte and can get no more.
    """
    return os.read(token, 1) != b""


def start_warm(order: Order, *, lock: int, log: int) -> bool:
    """Have a run started by the lab's starter.

    Args:
        order: The run.
        lock: Descriptor of the run's lock, held.
        log: Descriptor of its log.

    Returns:
        Whether it was started; else nobody has started it, nor will.

    Raises:
        OSError: If this process can have no more files; then nobody has started it either.
    """
    if os.environ.get(SWITCH) == "0":
        return False
    token, giving = os.pipe()
    os.write(giving, b"1")
    os.close(giving)
    try:
        _ask(order, [lock, log, token])
        return not take(token)
    finally:
        os.close(token)


def _ask(order: Order, fds: Sequence[int]) -> None:
    """Ask for the run, and wait until it has begun or nobody is left to begin it."""
    link = _links.setdefault(order.lab, _Link())
    with suppress(*_ANYTHING):
        message = order.message("launch")
        hearing, answer = os.pipe()
        try:
            with link.lock:
                link.send(order.lab, message, [*fds, answer])
        finally:
            os.close(answer)
        waiting = select.poll()
        waiting.register(hearing, select.POLLIN)
        try:
            waiting.poll(_PATIENCE_S * 1000)
        finally:
            os.close(hearing)


def prepare(order: Order) -> None:
    """See to it that later runs like this one can start warm; never fails, never waits.

    Args:
        order: A run that had to be started cold.
    """
    if os.environ.get(SWITCH) == "0":
        return
    with suppress(*_ANYTHING):
        link = _links.setdefault(order.lab, _Link())
        message = order.message("prepare")
        with link.lock:
            if not link.send(order.lab, message):
                link.keep(_new_starter(order.lab))
                link.send(order.lab, message)


def _connection_to(lab: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(meeting_point(lab))
        if is_of_this_user(connection):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _new_starter(lab: Path) -> socket.socket:
    """Start a starter, and be its first user before it has opened its eyes."""
    ours, theirs = socket.socketpair()
    grace_s = os.environ.get(GRACE, _DEFAULT_GRACE_S)
    try:
        with theirs, (lab / "starter.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [
                    *(sys.executable, "-P", "-m", "flip_lab.runs.starter_process"),
                    *(str(lab), str(grace_s), str(theirs.fileno())),
                ],
                env=process_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
    except BaseException:
        ours.close()
        raise
    Thread(target=process.wait, name="flip-reaper", daemon=True).start()
    return ours
