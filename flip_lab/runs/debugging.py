"""A whole run in the calling thread of a kernel, so that a debugger reaches its code."""

from __future__ import annotations

import logging
import os
import sys
from bdb import BdbQuit
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import cast

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from flip_lab.core.errors import InvalidValueError
from flip_lab.engines.base import AppSource
from flip_lab.engines.run_grid import StopRun
from flip_lab.runs import life_sign
from flip_lab.runs.inputs import Prepared
from flip_lab.runs.kept_kernel import kept_kernel
from flip_lab.runs.launch import launch_prepared
from flip_lab.runs.places import Place
from flip_lab.runs.process import LOG_FORMAT, conduct_run
from flip_lab.runs.spec import RunSpec
from flip_lab.runs.stage import ClientRaised
from flip_lab.store.layout import LabDir

_ENGINES = ("auto", "in_process")


def debug_place(on: str) -> Place:
    """Say where a run is debugged: right here.

    There is no time-out for clients: one would fire at a breakpoint.

    Args:
        on: As for a launch.

    Raises:
        InvalidValueError: If it names another place.
    """
    if on not in _ENGINES:
        raise InvalidValueError(
            f"A run cannot be debugged on {on!r}: it runs in this kernel.",
            fix='Leave on= out, or give on="in_process"; the numbers are the same.',
        )
    return Place(engine="in_process", federation=None, workers=1)


def debug_run(lab: LabDir, prepared: Prepared) -> str:
    """Launch a run and conduct it in this thread; leave the kernel as it was.

    Args:
        lab: The lab that keeps the run.
        prepared: The run, at the place that ``debug_place`` gave.

    Returns:
        The run's id.

    Raises:
        InvalidValueError: If it is to pause at a break: nobody could let it go on.
        StoreError: If the lab will not do; then nothing is left of the run.
        BaseException: What the first ClientApp, the strategy or the ServerApp raised,
            with its own traceback; the run is on record as failed then.
    """
    if any(edit["command"] == "break_when" for edit in prepared.spec.edits):
        raise InvalidValueError(
            "A run cannot pause at a break while it keeps this kernel busy.",
            fix="Call breakpoint() in your code instead, or leave debug=True out.",
        )
    held: list[int] = []

    def hold(_lab: LabDir, _spec: RunSpec, lock: int) -> None:
        """Take the lock over, so that the run counts as alive."""
        held.append(os.dup(lock))
        life_sign.keep(held[0])

    debugger = Debugger()
    try:
        run_id = launch_prepared(lab, prepared, start=hold)
        run_dir = lab.run_dir(run_id)
        with kept_kernel(run_dir / "app"), _logged(run_dir):
            conduct_run(run_dir, debugger)
    finally:
        for lock in held:
            life_sign.let_go(lock)
    if debugger.raised is not None:
        raise debugger.raised
    return run_id


@dataclass(kw_only=True)
class Debugger:
    """Looks on where a run is conducted, and remembers what went wrong first.

    Attributes:
        raised: The exception, with all frames from the server loop down to where it was
            raised; ``None`` when nothing was.
    """

    raised: BaseException | None = field(default=None)

    def watched(self, app: AppSource) -> AppSource:
        """Give the app with calls that let exceptions through."""
        return _WatchedApp(app=app, debugger=self)

    def caught(self, raised: BaseException) -> None:
        """Take note of what ended the run."""
        if not isinstance(raised, ClientRaised):
            self.raised = self.raised or raised
            return
        self.raised = raised.raised
        _join(raised.__traceback__, raised.raised)


def _join(above: TracebackType | None, raised: BaseException) -> None:
    """Let the traceback of what was raised begin with the frames above it."""
    below, last = raised.__traceback__, above
    while last is not None and below is not None and last.tb_next is not None:
        if last.tb_next.tb_frame is below.tb_frame:
            last.tb_next, raised.__traceback__ = below, above
            return
        last = last.tb_next


@dataclass(frozen=True, kw_only=True)
class _WatchedApp:
    """An app whose ClientApp's first exception ends the run, past every ``except``."""

    app: AppSource
    debugger: Debugger

    def load_server_app(self) -> ServerApp:
        server_app = self.app.load_server_app()

        def call(grid: Grid, context: Context) -> None:
            with _quitting():
                server_app(grid=grid, context=context)

        return cast("ServerApp", call)

    def load_client_app(self) -> ClientApp:
        client_app = self.app.load_client_app()

        def call(message: Message, context: Context) -> Message:
            with _quitting():
                try:
                    return client_app(message=message, context=context)
                except (Exception, SystemExit) as raised:
                    if isinstance(raised, BdbQuit):
                        raise
                    self.debugger.raised = self.debugger.raised or raised
                    partition = context.node_config.get("partition-id")
                    raise ClientRaised(raised, partition) from None

        return cast("ClientApp", call)

    def fab_files(self) -> dict[str, bytes]:
        return self.app.fab_files()


@contextmanager
def _quitting() -> Generator[None]:
    """Take leaving the debugger as the wish to stop the run."""
    try:
        yield
    except BdbQuit:
        raise StopRun from None


@contextmanager
def _logged(run_dir: Path) -> Generator[None]:
    """Show the run's log lines here, and keep them where ``run.logs()`` looks."""
    root = logging.getLogger()
    handlers: list[logging.Handler] = [
        logging.FileHandler(run_dir / "output.log", encoding="utf-8")
    ]
    if not root.handlers:
        handlers.append(logging.StreamHandler(sys.stdout))
    for each in handlers:
        each.setFormatter(logging.Formatter(LOG_FORMAT))
        root.addHandler(each)
    root.setLevel(min(root.level, logging.INFO))
    try:
        yield
    finally:
        handlers[0].close()
