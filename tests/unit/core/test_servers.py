"""What servers share: doors, and signals as the wish to end."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import pytest

from flip_lab.core.servers import bound_socket, wishes_to_end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_in_the_block_alone(number: signal.Signals) -> None:
    """The process lives on, and what was set before is set again."""
    came: list[int] = []

    def take(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = signal.getsignal(number)
    with wishes_to_end(take):
        os.kill(os.getpid(), number)
    assert came == [number]
    assert signal.getsignal(number) == before


def test_other_threads_leave_signals_alone() -> None:
    """Only the main thread may set handlers; a server in another one still serves."""
    was_there = threading.Event()

    def serve() -> None:
        with wishes_to_end(lambda *_: None):
            was_there.set()

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert was_there.is_set()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_door_is_one_process_s(host: str) -> None:
    """A port that is taken is refused; 0 takes a free one."""
    with bound_socket(host, 0) as door:
        door.listen()
        port = door.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound_socket(host, port)
