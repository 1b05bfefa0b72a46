"""Objects laid out in memory that processes share, to be read there without a copy.

Such memory is known by file descriptors only (``memfd_create``), so nothing of it is left
behind when processes are killed.
"""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import struct
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from flip_lab.core.errors import EngineError

Buffer: TypeAlias = "bytes | memoryview"

_ALIGNMENT = 64  # bytes; a cache line
_OPEN_FILES = 65_536


def allow_open_files() -> None:
    """Raise this process's limit: each large reply under way is a few open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
        pieces, places, total = laid_out(pickled(thing))
        with fresh_memory(total) as self.descriptor:
            os.ftruncate(self.descriptor, total)
            for place, piece in zip(places, pieces, strict=True):
                _write_all(self.descriptor, piece, place)

    def close(self) -> None:
        """Let go of the memory; receivers keep theirs."""
        os.close(self.descriptor)


def open_parcel(descriptor: int) -> Any:  # noqa: ANN401  # any object
    """Rebuild the object of a parcel on its shared memory, and close the descriptor."""
    parts = found(memoryview(mapped(descriptor)))
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301  # our own run process


def pickled(thing: object) -> list[Buffer]:
    """Give the pickle of an object, then what its arrays look at; nothing is copied."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    return [head, *(buffer.raw() for buffer in buffers)]


def laid_out(parts: Sequence[Buffer]) -> tuple[list[Buffer], list[int], int]:
    """Give a table of sizes with the parts, the place of each, and the length of all."""
    sizes = [len(part) for part in parts]
    table = struct.pack(f"<Q{len(sizes)}Q", len(sizes), *sizes)
    places, total = _places([len(table), *sizes])
    return [table, *parts], places, total


def found(whole: memoryview) -> list[memoryview]:
    """Give the parts that were laid out in this memory."""
    [count] = struct.unpack_from("<Q", whole)
    sizes = struct.unpack_from(f"<{count}Q", whole, 8)
    places, _ = _places([8 + 8 * count, *sizes])
    return [whole[at : at + size] for at, size in zip(places[1:], sizes, strict=True)]


def _places(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Give the place of each part, aligned, and the length of all of them."""
    places: list[int] = []
    end = 0
    for size in sizes:
        places.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return places, end


@contextmanager
def fresh_memory(size: int) -> Generator[int]:
    """Make memory for the block to fill; it is closed again if that fails."""
    descriptor = -1
    try:
        descriptor = os.memfd_create("flip-lab", os.MFD_CLOEXEC)
        yield descriptor
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise EngineError(
            f"There is no shared memory left for {size / 2**20:.0f} MB: {error}.",
            fix="Use fewer workers or smaller cohorts, or free memory.",
        ) from error


def _write_all(descriptor: int, part: Buffer, place: int) -> None:
    """Write to memory that is not mapped: its pages need not be cleared first."""
    left = memoryview(part)
    while left:
        written = os.pwrite(descriptor, left, place)
        left, place = left[written:], place + written


def mapped(descriptor: int) -> mmap.mmap:
    """Give the memory behind a descriptor, to read only, and close the descriptor."""
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
