"""What an actor does for a run: settle in, load the app, carry out calls, and leave."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from flwr.app import RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.engines.channel import Channel
from flip_lab.engines.clients import (
    ClientCall,
    ClientOutcome,
    ClientSetting,
    call_client,
    lost_call,
)
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.gate import Gate
from flip_lab.engines.parcels import allow_open_files, open_parcel
from flip_lab.engines.ray_door import knock
from flip_lab.engines.ray_gate import FarGate
from flip_lab.engines.ray_package import RunPackage, move_in, this_host
from flip_lab.engines.ray_parcels import Packed, pack, unpack, with_content


def too_long(limit_s: float | None) -> str:
    """Say in an error reply that a client was stopped."""
    return f"TimeoutError: the client took longer than {limit_s} s."


class ClientTookTooLongError(BaseException):
    """Raised in the middle of a client call; not for an app's ``except Exception``."""


class Worker:
    """Holds one run's app and the newest content of its messages."""

    def __init__(self) -> None:
        """Import what most runs need; remember how the process was."""
        importlib.import_module("flip_lab.fl.client_app")
        torch.set_num_threads(1)
        install_fast_arrays()
        self._as_born = (list(sys.path), dict(os.environ), Path.cwd())
        self._channel: Channel | None = None
        self._app: ClientApp | None = None
        self._setting: ClientSetting | None = None
        self._scratch: TemporaryDirectory[str] | None = None
        self._far_gate: FarGate | None = None
        self._key = -1
        self._content = RecordDict()

    def adopt(self, package: RunPackage, door: str) -> FlipLabError | None:
        """Set the process up as the run process is, and load the app.

        Args:
            package: The run.
            door: Where to knock; it opens on the run's own machine only.

        Returns:
            Nothing when it loaded; otherwise why not.
        """
        allow_open_files()
        self._channel = knock(door)
        self._setting = package.setting
        self._far_gate = FarGate(package.gate)
        scratch = package.work_dir
        if package.host != this_host():
            self._scratch = TemporaryDirectory(prefix="flip-lab-app-")
            scratch = Path(self._scratch.name)
        app = move_in(package, scratch)
        try:
            self._app = app.load_client_app()
        except FlipLabError as error:
            return error
        return None

    def forget(self) -> None:
        """Drop the run, and put paths and environment back."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._app = self._setting = self._far_gate = None
        self._key, self._content = -1, RecordDict()
        path, environment, directory = self._as_born
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(directory)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def serve(self) -> None:
        """Carry out what comes by socket, until the run process hangs up.

        The run's gate comes first.

        Raises:
            RuntimeError: If there is no run, or no connection.
        """
        if self._channel is None:
            raise RuntimeError("a connection was expected")
        hung = False
        with suppress(EOFError, ConnectionError):
            _, [descriptor] = self._channel.receive()
            gate = Gate(descriptor)
            while not hung:
                (batch, calls), files = self._channel.receive()
                if files:
                    self._content = open_parcel(files[0])
                outcomes, hung = self._carried_out(calls, lambda: gate.is_open)
                _send_all(self._channel, batch, outcomes, hung=hung)

    def carry_out(
        self, key: int, content: Packed | None, calls: Packed, ticket: int
    ) -> tuple[Packed, bool]:
        """Carry out a batch of calls that came through Ray.

        Args:
            key: Names the content that the messages of all these calls share.
            content: That content; ``None`` when it came with an earlier batch.
            calls: The calls, their messages without content.
            ticket: What lets them pass the run's gate until that is closed again.

        Returns:
            The packed outcomes of the calls that were begun, and whether the last of them
            is that of a client which was stopped in the middle: this process should serve
            no more then. Without that, the others were left since the gate was closed.

        Raises:
            RuntimeError: If there is no run, or not this content.
        """
        if content is not None:
            self._key, self._content = key, unpack(content)
        if key != self._key or self._far_gate is None:
            raise RuntimeError("a batch came before its content, or its run")
        may_begin = partial(self._far_gate.admits, ticket)
        outcomes, hung = self._carried_out(unpack(calls), may_begin)
        return _pack_all(outcomes), hung

    def _carried_out(
        self, calls: Sequence[ClientCall], may_begin: Callable[[], bool]
    ) -> tuple[Sequence[ClientOutcome], bool]:
        if self._app is None or self._setting is None:
            raise RuntimeError("a batch came before its run")
        outcomes: list[ClientOutcome] = []
        for call in with_content(calls, self._content):
            if not may_begin():
                break
            start_s, limit_s = tick_s(), self._setting.timeout_s
            try:
                with _time_limit(limit_s):
                    outcome = call_client(self._app, call, self._setting)
            except ClientTookTooLongError:
                late = lost_call(call, too_long(limit_s), duration_s=tick_s() - start_s)
                return [*outcomes, late], True
            outcomes.append(outcome)
        return outcomes, False


def _pack_all(outcomes: Sequence[ClientOutcome]) -> Packed:
    """Pack outcomes; one that cannot travel becomes an error, and spares the others."""
    try:
        return pack(outcomes)
    except Exception:  # noqa: BLE001  # whatever an object raises that cannot be pickled
        return pack([_sendable(outcome) for outcome in outcomes])


def _send_all(
    channel: Channel, batch: int, outcomes: Sequence[ClientOutcome], *, hung: bool
) -> None:
    """Send outcomes by socket; errors in place of some, as ``_pack_all`` does."""
    try:
        channel.send((batch, (outcomes, hung)))
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001  # as above
        channel.send((batch, ([_sendable(outcome) for outcome in outcomes], hung)))


def _sendable(outcome: ClientOutcome) -> ClientOutcome:
    try:
        pack(outcome)
    except Exception as raised:  # noqa: BLE001  # as above
        error = f"The reply could not be sent: {raised}"
        return replace(outcome, reply=None, state=None, error=error)
    return outcome


@contextmanager
def _time_limit(limit_s: float | None) -> Generator[None]:
    """Interrupt a block that takes too long, as soon as Python gets the word again."""
    if limit_s is None:
        yield
        return

    def interrupt(*_: object) -> None:
        raise ClientTookTooLongError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
