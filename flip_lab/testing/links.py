"""A slow line between two network namespaces: packets arrive late, in order, none changed.

For kernels without ``netem``. Two TUN devices, one in each namespace, and this program
between them, which keeps every packet for as long as it shall be on its way::

    python -m flip_lab.testing.links NEAR FAR NAMESPACE LATENCY_S JITTER_S

``NEAR`` is the device here, ``FAR`` the one in ``NAMESPACE`` (a path such as
``/proc/4711/ns/net``). It prints one line when both are there, and ends with its standard
input, so it never outlives whoever started it. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import struct
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flip_lab.core.clock import tick_s

_CLONE_NEWNET = 0x40000000  # the rest are numbers of linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_PACKET_BYTES = 65536
_CAPACITY = 8192  # packets on their way in one direction; a line drops what is too much
_AT_ONCE = 64


@dataclass(kw_only=True)
class DelayLine:
    """One direction of a line: what goes in comes out later, in the same order.

    Attributes:
        latency_s: How long a packet is on its way, seconds; >= 0.
        jitter_s: How much longer or shorter that may be, uniformly; at most ``latency_s``.
        capacity: Most packets on their way; more are dropped, as by a full queue.
        draw: Gives the jitter of a packet, between -1 and 1.
    """

    latency_s: float
    jitter_s: float = 0.0
    capacity: int = _CAPACITY
    draw: Callable[[], float] = lambda: random.uniform(-1, 1)  # noqa: S311  # no secret
    _waiting: deque[tuple[float, bytes]] = field(
        default_factory=deque[tuple[float, bytes]], init=False
    )

    def put(self, packet: bytes, at_s: float) -> bool:
        """Send a packet on its way.

        Args:
            packet: What is sent.
            at_s: The time now, on any clock that never goes back.

        Returns:
            Whether there was room for it.
        """
        if len(self._waiting) >= self.capacity:
            return False
        due_s = at_s + self.latency_s + self.draw() * self.jitter_s
        if self._waiting:
            due_s = max(due_s, self._waiting[-1][0])  # nobody overtakes on one path
        self._waiting.append((due_s, packet))
        return True

    def take(self, at_s: float) -> list[bytes]:
        """Give the packets that have arrived by now, in order."""
        arrived: list[bytes] = []
        while self._waiting and self._waiting[0][0] <= at_s:
            arrived.append(self._waiting.popleft()[1])
        return arrived

    @property
    def next_s(self) -> float:
        """When the next packet arrives; infinity if none is on its way."""
        return self._waiting[0][0] if self._waiting else float("inf")


@contextmanager
def _inside(namespace: Path) -> Generator[None]:
    """Let this thread be in another network namespace for a while."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as here, namespace.open("rb") as there:
        if libc.setns(there.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter", str(namespace))
        try:
            yield
        finally:
            libc.setns(here.fileno(), _CLONE_NEWNET)


def _open_tun(name: str) -> int:
    """Make a TUN device in this thread's namespace; it is gone when it is closed."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    wanted = struct.pack("16sH", name.encode(), _IFF_TUN_WITHOUT_HEADER)
    fcntl.ioctl(device, _TUNSETIFF, wanted)
    return device


def relay(near: int, far: int, lines: Sequence[DelayLine], owner: int) -> None:
    """Carry packets both ways until the owner's pipe is closed.

    Args:
        near: One device, not blocking.
        far: The other one.
        lines: From near to far, and from far to near.
        owner: A file descriptor that becomes readable when it is time to end.
    """
    routes = {near: (lines[0], far), far: (lines[1], near)}
    while True:
        wait_s = min(line.next_s for line in lines) - tick_s()
        timeout_s = None if wait_s == float("inf") else max(wait_s, 0.0)
        readable, _, _ = select.select([near, far, owner], [], [], timeout_s)
        if owner in readable:
            return
        for device in readable:
            _read_into(routes[device][0], device)
        for line, target in routes.values():
            _write_from(line, target)


def _write_from(line: DelayLine, device: int) -> None:
    for packet in line.take(tick_s()):
        with suppress(OSError):  # its queue is full, or the device is down: lost
            os.write(device, packet)


def _read_into(line: DelayLine, device: int) -> None:
    with suppress(BlockingIOError):
        for _ in range(_AT_ONCE):
            line.put(os.read(device, _PACKET_BYTES), tick_s())


def main(arguments: Sequence[str]) -> None:
    """Be a line, as the module's docstring says."""
    near_name, far_name, namespace, latency_s, jitter_s = arguments
    near = _open_tun(near_name)
    with _inside(Path(namespace)):
        far = _open_tun(far_name)
    lines = [
        DelayLine(latency_s=float(latency_s), jitter_s=float(jitter_s)) for _ in range(2)
    ]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    relay(near, far, lines, sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
