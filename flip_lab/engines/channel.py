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
from typing import Any, TypeAlias

import numpy as np

from flip_lab.core.errors import EngineError

Buffer: TypeAlias = "bytes | memoryview"

_INLINE_BYTES = 32_768  # two batches of it always fit into a socket: a send never blocks
_ALIGNMENT = 64  # bytes; a cache line
_NO_SEGMENT = 0xFFFFFFFF
_HEAD = struct.Struct("<IIIB")  # parts, freed segments, segment, whether it comes new
_FDS = 4


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
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, thing: object, *, descriptors: Sequence[int] = ()) -> None:
        """Send an object, and open files along with it.

        Raises:
            OSError: If the other side is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
        parts: list[Buffer] = [head, *(buffer.raw() for buffer in buffers)]
        sizes = [len(part) for part in parts]
        freed = [self._freed.popleft() for _ in range(len(self._freed))]
        segment = None if sum(sizes) <= _INLINE_BYTES else self._write(parts, sizes)
        is_new = segment is not None and not segment.known
        frame = _HEAD.pack(
            len(parts), len(freed), segment.number if segment else _NO_SEGMENT, is_new
        )
        frame += struct.pack(f"<{len(freed)}I{len(sizes)}Q", *freed, *sizes)
        files = list(descriptors)
        if segment is None:
            frame += b"".join(parts)
        elif is_new:
            files.insert(0, segment.descriptor)
            segment.known = True
        length = struct.pack("<IB", len(frame), len(files))
        socket.send_fds(self._socket, [length + frame], files)

    def _write(self, parts: Sequence[Buffer], sizes: Sequence[int]) -> _Segment:
        places, total = _places(sizes)
        segment = self._outbox.take(total)
        for place, part in zip(places, parts, strict=True):
            segment.memory[place : place + len(part)] = part
        return segment

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for an object; its arrays are views of shared memory, not to be written.

        Returns:
            The object and the open files that came with it.

        Raises:
            EOFError: If the other side is gone.
        """
        length, num_files = struct.unpack("<IB", self._exactly(5))
        frame = memoryview(self._exactly(length))
        files = [self._descriptors.popleft() for _ in range(num_files)]
        num_parts, num_freed, number, is_new = _HEAD.unpack_from(frame)
        numbers = struct.unpack_from(f"<{num_freed}I{num_parts}Q", frame, _HEAD.size)
        sizes = numbers[num_freed:]
        self._outbox.free.update(numbers[:num_freed])
        if number == _NO_SEGMENT:
            start = _HEAD.size + 4 * num_freed + 8 * num_parts
            parts = _split(frame[start:], sizes)
        else:
            if is_new:
                self._mapped[number] = _mapped(files.pop(0))
            parts = self._view(number, sizes)
        return pickle.loads(parts[0], buffers=parts[1:]), files  # noqa: S301  # our own worker

    def _view(self, number: int, sizes: Sequence[int]) -> list[memoryview]:
        """Give views of a segment; when the last one is gone, the sender hears of it."""
        places, total = _places(sizes)
        block = np.frombuffer(self._mapped[number], dtype=np.uint8, count=total)
        weakref.finalize(block, self._freed.append, number).atexit = False
        whole = memoryview(block)
        return [
            whole[place : place + size] for place, size in zip(places, sizes, strict=True)
        ]

    def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            data, files, _, _ = socket.recv_fds(self._socket, 1 << 17, _FDS)
            self._descriptors.extend(files)
            if not data:
                raise EOFError
            self._read += data
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def has_more(self) -> bool:
        """Whether more has been read already than was received: ``select`` cannot know."""
        return bool(self._read)

    def close(self) -> None:
        """Close the socket and let go of all memory that nobody looks at any more."""
        self._socket.close()
        for segment in self._outbox.segments:
            os.close(segment.descriptor)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._mapped.clear()


class Parcel:
    """One object, written once for several receivers; its memory is never used again.

    Attributes:
        descriptor: The open file to send along; closed with ``close``.
    """

    def __init__(self, thing: object) -> None:
        """Write the object.

        Raises:
            EngineError: If there is no memory left for it.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
        parts: list[Buffer] = [head, *(buffer.raw() for buffer in buffers)]
        sizes = [len(part) for part in parts]
        table = struct.pack(f"<Q{len(sizes)}Q", len(sizes), *sizes)
        places, total = _places([len(table), *sizes])
        self.descriptor = os.memfd_create("flip-lab", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, total)
            for place, part in zip(places, [table, *parts], strict=True):
                _write_all(self.descriptor, part, place)
        except OSError as error:
            os.close(self.descriptor)
            raise _no_memory(total, error) from error

    def close(self) -> None:
        """Let go of the memory; receivers keep theirs."""
        os.close(self.descriptor)


def open_parcel(descriptor: int) -> Any:  # noqa: ANN401  # any object
    """Rebuild the object of a parcel on its shared memory, and close the descriptor."""
    memory = _mapped(descriptor)
    [count] = struct.unpack_from("<Q", memory)
    sizes = struct.unpack_from(f"<{count}Q", memory, 8)
    places, _ = _places([8 + 8 * count, *sizes])
    whole = memoryview(memory)
    parts = [whole[at : at + size] for at, size in zip(places[1:], sizes, strict=True)]
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301  # our own run process


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Give the place of each part, aligned, and the length of all of them."""
    places: list[int] = []
    end = 0
    for size in sizes:
        places.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, max(end, 1)


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
    descriptor = os.memfd_create("flip-lab", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, 0, size)  # now, or a full memory kills us later
        return descriptor, mmap.mmap(descriptor, size)
    except OSError as error:
        os.close(descriptor)
        raise _no_memory(size, error) from error


def _write_all(descriptor: int, part: Buffer, place: int) -> None:
    """Write to memory that is not mapped: its pages need not be cleared first."""
    left = memoryview(part)
    while left:
        written = os.pwrite(descriptor, left, place)
        left, place = left[written:], place + written


def _no_memory(size: int, error: OSError) -> EngineError:
    return EngineError(
        f"There is no shared memory left for {size / 2**20:.0f} MB: {error}.",
        fix="Use fewer workers or smaller cohorts, or free memory.",
    )


def _mapped(descriptor: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
