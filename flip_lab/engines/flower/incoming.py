"""Replies of nodes that nobody vouches for, read with care.

Flower believes what a reply says of itself: a chunk of five megabytes may be named a
million times in one array, and an array is read only when a strategy averages it. Here
sizes are checked before anything is put together, and arrays are read before a strategy
sees them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

import numpy as np
from flwr.app import Array, Message
from flwr.app.message.arraychunk import ArrayChunk
from flwr.common.constant import SType
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_object_body,
    get_object_head_values_from_object_content,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from numpy.typing import NDArray

from flip_lab.core.errors import ReplyRefusedError
from flip_lab.engines.flower.arrays import array_bytes, backed, is_plain

_HEADER_BYTES = 65_536  # an .npy file's head is 128 bytes for all but odd arrays
_ARRAY = Array.__qualname__
FORGED = "Look into that node's log, and at who holds its key: no client of ours does so."
"""What to do about a reply that no honest client sends."""


def unpack(message_id: str, contents: Mapping[str, bytes], *, limit_bytes: int) -> Message:
    """Put a reply together from its objects.

    Args:
        message_id: The id of the message among them.
        contents: The objects by id, as the SuperLink keeps them.
        limit_bytes: How large its arrays may be in all.

    Raises:
        ReplyRefusedError: If they are no whole reply, or not what they say they are.
    """
    try:
        arrays: dict[str, InflatableObject] = {}
        for object_id, content in contents.items():
            if get_object_head_values_from_object_content(content)[0] == _ARRAY:
                array = _array(content, contents, limit_bytes)
                limit_bytes -= array_bytes(array)
                arrays[object_id] = array
        found = inflate_object_from_contents(
            message_id, dict(contents), keep_object_contents=True, objects=arrays
        )
    except ReplyRefusedError:
        raise
    except Exception as error:  # whatever a forged reply makes the readers raise
        what = f"it cannot be read ({type(error).__name__}: {error})"
        raise ReplyRefusedError(what, fix=FORGED) from error
    if not isinstance(found, Message):
        raise ReplyRefusedError(f"it is a {type(found).__name__}", fix=FORGED)
    return found


def is_numpy(array: Array) -> bool:
    """Whether an array is written as NumPy does; any other only its app can read."""
    return array.stype == SType.NUMPY


def _array(content: bytes, contents: Mapping[str, bytes], limit_bytes: int) -> Array:
    """Read one array.

    Raises:
        ReplyRefusedError: If it is larger than its shape, or another array than it says.
    """
    _, chunk_ids, _ = get_object_head_values_from_object_content(content)
    told = cast("dict[str, Any]", json.loads(get_object_body(content, Array)))
    shape = tuple(int(size) for size in told["shape"])
    dtype_name, stype = str(told["dtype"]), str(told["stype"])
    chunks = {
        index: memoryview(get_object_body(contents[chunk_id], ArrayChunk))
        for index, chunk_id in enumerate(chunk_ids)
    }
    order = [int(index) for index in told["arraychunk_ids"]]
    size = sum(len(chunks[index]) for index in order)
    _check_size(size, limit_bytes)
    if stype != SType.NUMPY:
        return Array(dtype_name, shape, stype, b"".join(chunks[index] for index in order))
    dtype = np.dtype(dtype_name)
    _check_size(size, math.prod(shape) * dtype.itemsize + _HEADER_BYTES)
    data = b"".join(chunks[index] for index in order)
    values = read_npy(data)
    if values.shape != shape or values.dtype != dtype:
        raise ReplyRefusedError(
            f"an array says that it is {dtype_name}{list(shape)} and holds "
            f"{values.dtype}{list(values.shape)}",
            fix=FORGED,
        )
    return (
        backed(values) if is_plain(values.dtype) else Array(dtype_name, shape, stype, data)
    )


def _check_size(size: int, most: int) -> None:
    """Refuse an array before it is unfolded.

    Raises:
        ReplyRefusedError: If it would be too large.
    """
    if size > most:
        raise ReplyRefusedError(
            f"an array unfolds to {size:,} bytes, and can have {most:,}", fix=FORGED
        )


def read_npy(data: bytes) -> NDArray[Any]:
    """Read the bytes of an ``.npy`` file without a copy and without pickle.

    Args:
        data: The whole file.

    Returns:
        Its values, read-only.

    Raises:
        ReplyRefusedError: If they hold Python objects, or more or less than they say.
        ValueError: If they are no such file.
    """
    file = BytesIO(data[:_HEADER_BYTES])
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise ReplyRefusedError("an array holds Python objects", fix=FORGED)
    start, count = file.tell(), math.prod(shape)
    if len(data) != start + count * dtype.itemsize:
        raise ReplyRefusedError(
            f"an array of {count:,} x {dtype} has {len(data) - start:,} bytes", fix=FORGED
        )
    flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")
