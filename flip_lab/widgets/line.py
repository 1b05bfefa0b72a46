"""A line of its own from the page to the kernel, which works while a cell runs.

A kernel handles a widget's messages in its main thread, which a running cell blocks. A comm
that the page opens is handled in the thread of the subshell that it came through, and
JupyterLab gives each kind of comm such a subshell. Where there is none, the same messages
travel by the widget and wait for the cell. See decision 18.
"""

# comm ships no types
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias
from weakref import WeakValueDictionary

from comm import get_comm_manager

TARGET = "flip_lab.control_room"

Message: TypeAlias = Mapping[str, Any]


class Answering(Protocol):
    """Who is at the kernel's end of a line."""

    def answer(self, asked: Message) -> dict[str, Any]:
        """Answer a message; never raises."""
        ...


class _Line(Protocol):
    """A comm, as far as it is used here."""

    def on_msg(self, callback: Callable[[Message], None]) -> None: ...

    def send(self, data: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


_listeners: WeakValueDictionary[str, Answering] = WeakValueDictionary()


def listen(key: str, listener: Answering) -> None:
    """Let pages open lines to somebody, for as long as he lives.

    Args:
        key: What a page names him by.
        listener: Who answers; in whatever thread the kernel reads the line.
    """
    _listeners[key] = listener
    get_comm_manager().register_target(TARGET, _opened)


def _opened(line: _Line, opening: Message) -> None:
    listener = _listeners.get(str(opening["content"]["data"].get("key", "")))
    if listener is None:
        line.close()
        return
    line.on_msg(lambda message: line.send(listener.answer(message["content"]["data"])))
    line.send({"ready": True})
