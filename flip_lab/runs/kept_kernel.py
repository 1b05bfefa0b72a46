"""Leaves a kernel as it was, after a run in the middle of it."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import ModuleType

import torch

from flip_lab.engines.flower.kept import kept_flower
from flip_lab.engines.run_grid import StopRun
from flip_lab.engines.seeding import kept_generators

_LOGGERS = (None, "flwr", "httpx")  # None: the root of all


@contextmanager
def kept_kernel(app: Path) -> Generator[None]:
    """Put back all that a run process changes, which a kernel would go on with.

    An interrupt (Ctrl-C, the notebook's stop button) stops the run in the block.

    Args:
        app: Where the modules of the run's app are; the kernel may have others of their
            names. Need not exist.
    """
    with ExitStack() as stack:
        for keep in (_directory, _garbage, _loggers, _signals, kept_flower):
            stack.enter_context(keep())
        stack.enter_context(_modules(app))
        stack.enter_context(kept_generators())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        yield


@contextmanager
def _directory() -> Generator[None]:
    before, path = Path.cwd(), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        os.chdir(before)


@contextmanager
def _garbage() -> Generator[None]:
    """Thaw what the run freezes, unless the kernel has frozen something itself."""
    had_frozen = gc.get_freeze_count()
    try:
        yield
    finally:
        if not had_frozen:
            gc.unfreeze()


@contextmanager
def _loggers() -> Generator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(each, each.level, list(each.handlers)) for each in loggers]
    try:
        yield
    finally:
        for each, level, handlers in before:
            each.setLevel(level)
            each.handlers[:] = handlers


@contextmanager
def _signals() -> Generator[None]:
    """Let an interrupt be the wish to stop; only the main thread hears signals."""
    if current_thread() is not main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise StopRun

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _modules(app: Path) -> Generator[None]:
    """Import the app's modules anew, whatever the kernel holds under their names."""
    names = {
        path.stem
        for path in app.glob("*")
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    before = _taken_out(names)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _taken_out(names)
        sys.modules.update(before)


def _taken_out(names: set[str]) -> dict[str, ModuleType]:
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}
