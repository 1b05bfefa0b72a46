"""Packs: buffers behind a JSON header, in one file that proves itself by its hash.

The layout is that of safetensors (8 bytes with the header's length, the header, the data),
so a pack whose header follows that format can be read by any tool that knows it. Buffers
are written as they are, without a copy; nothing is brought to the disk here, because a
write into the page cache survives the death of the process and costs a tenth of a sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, TypeAlias

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from flip_lab.core.errors import CorruptArtifactError
from flip_lab.store.layout import explained

Bytes: TypeAlias = "NDArray[np.uint8]"
Buffer: TypeAlias = "bytes | memoryview | PickleBuffer | NDArray[Any]"

_ALIGNED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A written pack, as whoever refers to it remembers it.

    Attributes:
        name: The file's name.
        size_bytes: Its length.
        digest: Its xxh3 hash of 128 bits, 32 hexadecimal digits: against torn and decayed
            files, not against people who mean harm.
    """

    name: str
    size_bytes: int
    digest: str


def write_pack(path: Path, header: Mapping[str, Any], buffers: Iterable[Buffer]) -> Packed:
    """Write a pack; whoever calls makes it appear under its final name.

    Args:
        path: The file; must not exist.
        header: What to say about the buffers; plain data.
        buffers: Buffers of any type, in C order; empty ones leave no trace.

    Returns:
        The file's name, length and hash.

    Raises:
        StoreNotWritableError: If it cannot be written; a part of it may be left.
    """
    head = orjson.dumps(header)
    head += b" " * (-(len(head) + 8) % _ALIGNED)
    hashed = xxhash.xxh3_128()
    size_bytes = 0
    with explained(path), path.open("xb", buffering=0) as file:
        for part in (len(head).to_bytes(8, "little"), head, *buffers):
            flat = _flat(part)
            hashed.update(flat)
            size_bytes += len(flat)
            while flat:  # a nearly full disk takes a part
                flat = flat[file.write(flat) :]
    return Packed(name=path.name, size_bytes=size_bytes, digest=hashed.hexdigest())


def _flat(part: Buffer) -> memoryview:
    if isinstance(part, PickleBuffer):
        return part.raw()
    view = memoryview(part)  # pyright: ignore[reportArgumentType]  # arrays are buffers
    return view.cast("B") if view.nbytes else memoryview(b"")  # none cannot be cast


def read_pack(folder: Path, pack: Packed) -> tuple[dict[str, Any], Bytes]:
    """Read a pack and check it.

    Args:
        folder: Where it lies.
        pack: What was remembered of it.

    Returns:
        The header, and the data behind it.

    Raises:
        CorruptArtifactError: If the file is gone, or is not what was written.
    """
    path = folder / pack.name
    try:
        data: Bytes = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise CorruptArtifactError(
            f"{path} cannot be read ({error.strerror}).", fix=_FIX
        ) from error
    if xxhash.xxh3_128_hexdigest(_flat(data)) != pack.digest:
        raise CorruptArtifactError(f"{path} no longer matches its hash.", fix=_FIX)
    length = int.from_bytes(data[:8].tobytes(), "little")
    return orjson.loads(data[8 : 8 + length].tobytes()), data[8 + length :]


_FIX = "An older checkpoint is taken in its place; restore the file from a copy of the lab."


def split(data: Bytes, lengths: Iterable[int]) -> list[Bytes]:
    """Cut data into its buffers, each in memory of its own.

    Args:
        data: What ``read_pack`` gave.
        lengths: The buffers' lengths in bytes, in order.
    """
    pieces: list[Bytes] = []
    start = 0
    for length in lengths:
        pieces.append(data[start : start + length].copy())
        start += length
    return pieces
