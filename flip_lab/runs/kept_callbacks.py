"""Callbacks on their way: kept with a run at its launch, rebuilt in its process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from flip_lab.core.callback import Callback
from flip_lab.core.errors import AppImportError, InvalidValueError, MissingExtraError
from flip_lab.engines.failures import failure_tail
from flip_lab.runs.inputs import Prepared

_FILE = "callbacks.pkl"


def with_callbacks(prepared: Prepared, callbacks: Sequence[Callback]) -> Prepared:
    """Let a run that is about to be launched keep its callbacks.

    Args:
        prepared: The run.
        callbacks: They are written by value, as they are now.

    Raises:
        InvalidValueError: If one is no callback, or holds something that cannot travel.
        MissingExtraError: If cloudpickle is not installed.
    """
    if not callbacks:
        return prepared
    for each in callbacks:
        if not isinstance(each, Callback):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
            raise InvalidValueError(
                f"{each!r} is no callback.",
                fix="Give objects of a class that inherits from flip_lab.Callback.",
            )
    content = _pickled(list(callbacks))

    def unpack(run_dir: Path) -> str:
        (run_dir / _FILE).write_bytes(content)
        return prepared.unpack(run_dir)

    return replace(prepared, unpack=unpack)


def with_kept_callbacks(prepared: Prepared, earlier: Path) -> Prepared:
    """Let a run that repeats another have the same callbacks.

    Args:
        prepared: The new run.
        earlier: The directory of the other one.
    """
    source = earlier / _FILE
    if not source.is_file():
        return prepared

    def unpack(run_dir: Path) -> str:
        shutil.copyfile(source, run_dir / _FILE)
        return prepared.unpack(run_dir)

    return replace(prepared, unpack=unpack)


def _pickled(callbacks: list[Callback]) -> bytes:
    try:
        cloudpickle: Any = import_module("cloudpickle")
    except ImportError as error:
        raise MissingExtraError(
            "Callbacks need cloudpickle, which is not installed.",
            fix='Install it with: pip install "flip-lab[lab]"',
        ) from error
    try:
        return cloudpickle.dumps(callbacks)
    except Exception as raised:
        raise InvalidValueError(
            f"The callbacks cannot travel to the run process: {raised}",
            fix="Open files, locks and connections inside their methods.",
        ) from raised


def load_callbacks(run_dir: Path) -> list[Callback]:
    """Rebuild the callbacks that a run keeps.

    Args:
        run_dir: The run's directory.

    Raises:
        AppImportError: If that raises.
    """
    file = run_dir / _FILE
    if not file.is_file():
        return []
    try:
        return import_module("cloudpickle").loads(file.read_bytes())
    except Exception as raised:
        raise AppImportError(
            "The run's callbacks could not be rebuilt.",
            fix="Import what they use inside their methods, or install it; the traceback "
            "is below.",
            detail=failure_tail(raised),
        ) from raised
