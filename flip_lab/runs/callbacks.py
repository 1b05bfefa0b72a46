"""Calls a run's callbacks; nothing that they do changes the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from flip_lab.core.callback import Callback
from flip_lab.core.errors import CallbackError
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.listening import Listener, listening
from flip_lab.engines.base import Reply
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.arrays import backing
from flip_lab.engines.flower.messages import copy_content, for_client
from flip_lab.engines.seeding import kept_generators
from flip_lab.runs.recorder import Recorder


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
