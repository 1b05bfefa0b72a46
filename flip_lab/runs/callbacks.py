"""Callbacks on their way: kept with the run at its launch, called in its process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from flip_lab.core.callback import Callback
from flip_lab.core.errors import (
    AppImportError,
    CallbackError,
    InvalidValueError,
    MissingExtraError,
)
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.listening import Listener, listening
from flip_lab.engines.base import Reply
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.arrays import backing
from flip_lab.engines.flower.messages import copy_content, for_client
from flip_lab.engines.seeding import kept_generators
from flip_lab.runs.inputs import Prepared
from flip_lab.runs.recorder import Recorder

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


class RunCallbacks:
    """Calls the callbacks of one run; nothing that they do changes the run.

    Args:
        callbacks: The callbacks; one that raises is not called again.
        recorder: The run's only writer.
        listener: Hears what they log.
        arrays: Gives the model as last aggregated; ``None`` before the first time.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback],
        recorder: Recorder,
        listener: Listener,
        arrays: Callable[[], ArrayRecord | None],
    ) -> None:
        """Call nothing yet."""
        self._callbacks = list(callbacks)
        self._recorder = recorder
        self._listener = listener
        self._arrays = arrays
        self._metrics: dict[str, float] = {}

    def follow(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Take part in the run's facts as they come."""
        if kind is EventKind.METRIC:
            name = str(body["name"])
            key = f"{name}_central" if body["scope"] == "central" else name
            self._metrics[key] = cast("float", body["value"])
        elif kind is EventKind.ROUND_STARTED:
            self._metrics = {}
            self._call("on_round_begin", server_round, lambda: (server_round,))
        elif kind is EventKind.ROUND_ENDED:
            told = dict(self._metrics)
            self._call(
                "on_round_end",
                server_round,
                lambda: (server_round, dict(told), _to_read(self._arrays())),
            )

    def replied(self, fact: ClientFact, reply: Reply, server_round: int) -> None:
        """Tell of a reply that is on record."""
        self._call("on_reply", server_round, lambda: (fact, _copy(reply.message)))

    def _call(
        self, method: str, server_round: int, arguments: Callable[[], tuple[Any, ...]]
    ) -> None:
        """Call one method of all who have it, each with arguments of its own."""
        inherited = getattr(Callback, method)
        for each in list(self._callbacks):
            if getattr(type(each), method) is inherited:
                continue
            try:
                with kept_generators(), listening(self._listener):
                    getattr(each, method)(*arguments())
            except (Exception, SystemExit) as raised:  # noqa: BLE001  # it may do anything
                self._callbacks.remove(each)
                self._warn(f"{type(each).__name__}.{method}", raised, server_round)

    def _warn(self, which: str, raised: BaseException, server_round: int) -> None:
        message = f"{which} raised and is not called again. {failure_tail(raised)}"
        body = {"code": CallbackError.code, "message": message}
        self._recorder.emit(EventKind.WARNING, body, server_round=server_round)


def _copy(message: Message) -> Message:
    """Give a reply that a callback may change as it likes."""
    return (
        for_client(message, copy_content(message.content))
        if message.has_content()
        else message
    )


def _to_read(record: ArrayRecord | None) -> dict[str, NDArray[Any]]:
    """Give arrays by name, without a copy, that nobody can write to."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in (record or ArrayRecord()).items():
        values = backing(array).view()
        values.flags.writeable = False
        found[name] = values
    return found
