"""What runs in a local worker process: it holds the ClientApp and carries out calls."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.core.events import Json
from flip_lab.engines.base import AppSource
from flip_lab.engines.channel import Channel
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, call_client
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import for_client
from flip_lab.engines.gate import Gate
from flip_lab.engines.parcels import allow_open_files, open_parcel

_FLUSH_EVERY_S = 0.01  # replies of short calls travel together
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a worker is told once, before its first call.

    Attributes:
        source: Where the ClientApp comes from.
        setting: What is the same for every call.
        work_dir: Directory that apps run in.
        together: Whether clients that are declared as data are trained together.
    """

    source: AppSource
    setting: ClientSetting
    work_dir: Path
    together: bool


@dataclass(frozen=True, kw_only=True)
class Content:
    """Announces the content that the next batches' messages share; comes with its memory.

    Attributes:
        key: Names the content.
        forget: Contents that no call will need any more.
    """

    key: int
    forget: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Calls to carry out one after another, their messages without content.

    Attributes:
        key: The content of all of them.
        calls: The calls.
    """

    key: int
    calls: Sequence[ClientCall]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of some calls of the oldest batch.

    Attributes:
        outcomes: One for each call that is finished.
        is_last: Whether the batch is over.
        left: Message ids of calls that were not begun, since the gate was closed; told
            when the batch is over.
    """

    outcomes: Sequence[ClientOutcome]
    is_last: bool
    left: Sequence[str] = ()


def main(fds: Sequence[int], arguments: Mapping[str, Json]) -> None:
    """Serve one run until the run process closes the connection or is gone.

    Args:
        fds: The connection to the run process.
        arguments: None are needed.
    """
    del arguments
    _die_with_parent()
    channel = Channel(socket.socket(fileno=fds[0]))
    try:
        _serve(channel)
    except (EOFError, ConnectionError):
        os._exit(0)  # nobody is left to report to; skip what an app left for the exit


def _serve(channel: Channel) -> None:
    path, _ = channel.receive()
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
    # The assignment may hold a class that is found on that path only.
    assignment, [descriptor] = channel.receive()
    worker = _Worker(assignment, Gate(descriptor))
    channel.send(worker.prepare())
    while True:
        order, descriptors = channel.receive()
        if isinstance(order, Content):
            worker.learn(order, descriptors[0])
        else:
            for done in worker.carry_out(order):
                _report(channel, done)


def _report(channel: Channel, done: Done) -> None:
    """Send outcomes; one that cannot be sent is a failed call, not a dead worker."""
    try:
        channel.send(done)
    except OSError:
        raise
    except Exception as raised:  # noqa: BLE001  # no memory left, or what cannot be pickled
        *others, last = done.outcomes
        for outcome in others:
            _report(channel, Done(outcomes=[outcome], is_last=False))
        if others:
            _report(channel, replace(done, outcomes=[last]))
        else:
            error = f"The reply could not be sent. {failure_tail(raised)}"
            failed = replace(last, reply=None, state=None, error=error)
            channel.send(replace(done, outcomes=[failed]))


def _die_with_parent() -> None:
    """Ask the kernel to end this process when the nursery ends.

    A client that hangs would never notice that its run is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run process decides
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Worker:
    """Holds the app of one run and the contents of its messages."""

    def __init__(self, assignment: Assignment, gate: Gate) -> None:
        self._assignment = assignment
        self._gate = gate
        self._contents: dict[int, RecordDict] = {}
        self._app: ClientApp | None = None

    def prepare(self) -> str:
        """Set the process up as the run process is, and load the app.

        Returns:
            Nothing when it loaded; otherwise why not.
        """
        os.chdir(self._assignment.work_dir)
        torch.set_num_threads(1)
        allow_open_files()
        install_fast_arrays()
        try:
            self._app = self._assignment.source.load_client_app()
        except FlipLabError as error:
            return str(error)
        return ""

    def learn(self, content: Content, descriptor: int) -> None:
        """Take a content in, and forget those that are over."""
        for key in content.forget:
            self._contents.pop(key, None)
        self._contents[content.key] = open_parcel(descriptor)

    def carry_out(self, batch: Batch) -> Iterable[Done]:
        """Carry out a batch; outcomes come as soon as it is worth a message.

        Where the gate is closed meanwhile the batch is over, and the rest is given back.
        """
        content = self._contents[batch.key]
        finished: list[ClientOutcome] = []
        left = dict.fromkeys(call.message.metadata.message_id for call in batch.calls)
        flushed_s = tick_s()
        is_timed = self._assignment.setting.timeout_s is not None  # whose time is it?
        for outcome in self._outcomes([_filled(call, content) for call in batch.calls]):
            finished.append(outcome)
            del left[outcome.message_id]
            if is_timed or tick_s() - flushed_s > _FLUSH_EVERY_S:
                yield Done(outcomes=finished, is_last=False)
                finished, flushed_s = [], tick_s()
        yield Done(outcomes=finished, is_last=True, left=[*left])

    def _outcomes(self, calls: Sequence[ClientCall]) -> Iterable[ClientOutcome]:
        app, setting = self._app, self._assignment.setting
        if app is None:
            raise RuntimeError("a call came before the app")
        if self._assignment.together:
            from flip_lab.engines.together import carry_out_together

            yield from carry_out_together(app, calls, setting, self._gate)
            return
        for call in calls:
            if not self._gate.is_open:
                return
            yield call_client(app, call, setting)


def _filled(call: ClientCall, content: RecordDict) -> ClientCall:
    fields: dict[str, Any] = {**vars(call), "message": for_client(call.message, content)}
    return ClientCall(**fields)
