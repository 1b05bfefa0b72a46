"""All that actors have to say, by Ray or by socket, waited for in one place."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from flip_lab.engines.channel import Channel

Told: TypeAlias = tuple[str, int, Callable[[], Any]]
"""Who says something, about which of its tasks, and what gives the result or raises."""


class Inbox:
    """News of actors; one thread waits, and takes out what came."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_ray: SimpleQueue[Told] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._bell, self._cord = socket.socketpair()
        self._bell.setblocking(False)
        self._cord.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._ready: list[tuple[str, Channel]] = []

    def expect(self, name: str, task: int, reference: Any) -> None:  # noqa: ANN401  # Ray's own
        """Have Ray tell when a task of an actor is over."""
        reference.future().add_done_callback(partial(self._tell, name, task))

    def _tell(self, name: str, task: int, future: Any) -> None:  # noqa: ANN401  # as above
        self._by_ray.put((name, task, future.result))
        self.ring()

    def ring(self) -> None:
        """Wake who waits."""
        with suppress(OSError):  # it has been rung enough, or nobody listens any more
            self._cord.send(b".")

    def watch(self, name: str, channel: Channel) -> None:
        """Listen to an actor's socket too."""
        self._selector.register(channel, selectors.EVENT_READ, (name, channel))

    def ignore(self, channel: Channel) -> None:
        """Listen no more; may be called twice."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(channel)

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to take out."""
        ready = self._selector.select(max(0.0, timeout_s))
        self._ready = [key.data for key, _ in ready if key.data is not None]

    def from_sockets(self) -> Generator[Told]:
        """Give what actors have sent: tasks and their results.

        A connection that is over says nothing: Ray will tell why.
        """
        for name, channel in self._ready:
            try:
                yield _received(name, channel)
                while channel.has_more():
                    yield _received(name, channel)
            except EOFError:
                self.ignore(channel)
        self._ready = []

    def from_ray(self) -> Generator[Told]:
        """Give what Ray has told."""
        with suppress(OSError):
            while self._bell.recv(4096):
                pass
        with suppress(Empty):
            while True:
                yield self._by_ray.get_nowait()

    def close(self) -> None:
        """Listen to nobody."""
        self._selector.close()
        self._bell.close()
        self._cord.close()


def _received(name: str, channel: Channel) -> Told:
    (task, result), _ = channel.receive()
    return name, task, lambda: result
