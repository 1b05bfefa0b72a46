"""Objects between two processes of one machine: small ones by socket, large ones by memory.

What is large (arrays) is written once into memory that both processes map, and read there
without a copy. Such memory is known by file descriptors only (``memfd_create``), so nothing
of it is left behind when processes are killed. A piece of memory is used again once the
receiver's last view of it is gone; until then no writer touches it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from flip_lab.engines.parcels import (
    Buffer,
    found,
    fresh_memory,
    laid_out,
    mapped,
    pickled,
)

_INLINE_BYTES = 32_768  # two batches of it always fit into a socket: a send never blocks
_NO_SEGMENT = 0xFFFFFFFF
_HEAD = struct.Struct("<IIIB")  # parts, freed segments, segment, whether it comes new
_LENGTH = struct.Struct("<IB")  # of a frame, and how many open files come with it
_ROOM_BYTES = 65_536
_FDS_ROOM = socket.CMSG_SPACE(4 * struct.calcsize("i"))


@dataclass(kw_only=True)
class _Segment:
    """Memory that this side writes and the other side reads."""

    number: int
    memory: mmap.mmap
    descriptor: int
    known: bool = False


@dataclass(kw_only=True)
class _Outbox:
    """The segments of one direction, and which of them may be written."""

    segments: list[_Segment] = field(default_factory=list[_Segment])
    free: set[int] = field(default_factory=set[int])

    def take(self, size: int) -> _Segment:
        """Give the smallest free segment that is large enough, or a new one."""
        fitting = [n for n in self.free if len(self.segments[n].memory) >= size]
        if fitting:
            number = min(fitting, key=lambda n: len(self.segments[n].memory))
            self.free.remove(number)
            return self.segments[number]
        descriptor, memory = _allocate(_round_up(size))
        segment = _Segment(number=len(self.segments), memory=memory, descriptor=descriptor)
        self.segments.append(segment)
        return segment


class Channel:
    """One end of a connection; both ends are used by one thread at a time.

    Args:
        connection: A connected Unix stream socket; closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take the socket over."""
        self._socket = connection
        self._outbox = _Outbox()
        self._mapped: dict[int, mmap.mmap] = {}
        self._freed: deque[int] = deque()  # filled by finalizers, in any thread
        self._read = bytearray()
        self._room = memoryview(bytearray(_ROOM_BYTES))
        self._looks: dict[int, weakref.ref[Any]] = {}
        self._look_numbers = count()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, thing: object, *, descriptors: Sequence[int] = ()) -> None:
        """Send an object, and open files along with it.

        Raises:
            OSError: If the other side is gone.
            EngineError: If there is no memory left for it; nothing was sent then.
        """
        parts = pickled(thing)
        sizes = [len(part) for part in parts]
        is_small = sum(sizes) + 8 * len(sizes) <= _INLINE_BYTES
        segment = None if is_small else self._write(parts)
        freed = [self._freed.popleft() for _ in range(len(self._freed))]
        files = list(descriptors)
        if segment is None:
            head = _HEAD.pack(len(sizes), len(freed), _NO_SEGMENT, 0)
            table = struct.pack(f"<{len(freed)}I{len(sizes)}Q", *freed, *sizes)
            frame = b"".join([head, table, *parts])
        else:
            head = _HEAD.pack(0, len(freed), segment.number, not segment.known)
            frame = head + struct.pack(f"<{len(freed)}I", *freed)
            if not segment.known:
                files.insert(0, segment.descriptor)
                segment.known = True
        data = _LENGTH.pack(len(frame), len(files)) + frame
        sent = socket.send_fds(self._socket, [data], files) if files else 0
        if sent < len(data):  # no files, or a signal came in the middle of it
            self._socket.sendall(data[sent:])

    def _write(self, parts: Sequence[Buffer]) -> _Segment:
        pieces, places, total = laid_out(parts)
        segment = self._outbox.take(total)
        for place, piece in zip(places, pieces, strict=True):
            segment.memory[place : place + len(piece)] = piece
        return segment

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for an object; its arrays are views of shared memory, not to be written.

        Returns:
            The object and the open files that came with it.

        Raises:
            EOFError: If the other side is gone.
        """
        length, num_files = _LENGTH.unpack(self._exactly(_LENGTH.size))
        frame = memoryview(self._exactly(length))
        files = [self._descriptors.popleft() for _ in range(num_files)]
        num_parts, num_freed, number, is_new = _HEAD.unpack_from(frame)
        numbers = struct.unpack_from(f"<{num_freed}I{num_parts}Q", frame, _HEAD.size)
        self._outbox.free.update(numbers[:num_freed])
        if number == _NO_SEGMENT:
            start = _HEAD.size + 4 * num_freed + 8 * num_parts
            parts = _split(frame[start:], numbers[num_freed:])
        else:
            if is_new:
                self._mapped[number] = mapped(files.pop(0))
            parts = self._view(number)
        return pickle.loads(parts[0], buffers=parts[1:]), files  # noqa: S301  # our own worker

    def _view(self, number: int) -> list[memoryview]:
        """Give views of a segment; when the last one is gone, the sender hears of it."""
        block = np.frombuffer(self._mapped[number], dtype=np.uint8)

        look = next(self._look_numbers)

        def gone(_: object) -> None:
            self._freed.append(number)
            del self._looks[look]

        self._looks[look] = weakref.ref(block, gone)
        return found(memoryview(block))  # pyright: ignore[reportArgumentType]  # it is a buffer

    def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            try:
                size, files, _, _ = self._socket.recvmsg_into([self._room], _FDS_ROOM)
            except ConnectionError as error:  # it died with something unread
                raise EOFError from error
            for _, _, numbers in files:
                self._descriptors.extend(memoryview(numbers).cast("i"))
            if not size:
                raise EOFError
            self._read += self._room[:size]
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def has_more(self) -> bool:
        """Whether more has been read already than was received: ``select`` cannot know."""
        return bool(self._read)

    def close(self) -> None:
        """Close the socket and let go of all memory; may be called more than once.

        What was received stays readable: memory goes when nobody looks at it any more.
        """
        self._socket.close()
        while self._outbox.segments:
            segment = self._outbox.segments.pop()
            segment.memory.close()
            os.close(segment.descriptor)
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._mapped.clear()


def _split(frame: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    parts: list[memoryview] = []
    start = 0
    for size in sizes:
        parts.append(frame[start : start + size])
        start += size
    return parts


def _round_up(size: int) -> int:
    """Leave room, so that slightly larger replies find it large enough."""
    return -(-size * 9 // 8 // mmap.PAGESIZE) * mmap.PAGESIZE


def _allocate(size: int) -> tuple[int, mmap.mmap]:
    with fresh_memory(size) as descriptor:
        os.posix_fallocate(descriptor, 0, size)  # now, or a full memory kills us later
        return descriptor, mmap.mmap(descriptor, size)
