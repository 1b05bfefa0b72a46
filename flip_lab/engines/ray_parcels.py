"""Objects on their way through Ray: pickled by C code, large arrays beside them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from flip_lab.engines.clients import ClientCall
from flip_lab.engines.flower.messages import for_client
from flip_lab.engines.parcels import open_parcel
from flip_lab.engines.process_contents import SharedContents

_BESIDE_BYTES = 16_384  # smaller arrays are copied faster than Ray takes note of them
_PUT_BYTES = 100_000  # Ray puts larger arguments into its store, once for each call


@dataclass(frozen=True, kw_only=True)
class Packed:
    """An object without its large arrays, and those.

    Ray serialises with a pickler written in Python; so it sees bytes and plain arrays
    only, which it moves through shared memory.

    Attributes:
        head: The pickled object.
        arrays: The memory of its large arrays.
    """

    head: bytes
    arrays: tuple[NDArray[np.uint8], ...]


def pack(thing: object) -> Packed:
    """Pack records, messages and calls."""
    beside: list[NDArray[np.uint8]] = []

    def keep_within(buffer: pickle.PickleBuffer) -> bool:
        memory = buffer.raw()
        if memory.nbytes < _BESIDE_BYTES:
            return True
        beside.append(np.frombuffer(memory, dtype=np.uint8))
        return False

    head = pickle.dumps(thing, protocol=5, buffer_callback=keep_within)
    return Packed(head=head, arrays=tuple(beside))


def unpack(packed: Packed) -> Any:  # noqa: ANN401  # whatever was packed
    """Rebuild the object; its large arrays are views of Ray's memory, not to be written."""
    return pickle.loads(packed.head, buffers=packed.arrays)  # noqa: S301  # our own processes


def without_content(calls: Sequence[ClientCall]) -> list[ClientCall]:
    """Give calls whose messages have no content, for one that travels by itself."""
    return with_content(calls, RecordDict())


def with_content(calls: Sequence[ClientCall], content: RecordDict) -> list[ClientCall]:
    """Give calls whose messages have this content."""
    return [replace(call, message=for_client(call.message, content)) for call in calls]


class RayContents:
    """The contents of messages for actors of other machines; each is put into Ray once.

    Args:
        ray: The ``ray`` module, connected.
        contents: Where they are found.
    """

    def __init__(self, ray: Any, contents: SharedContents) -> None:  # noqa: ANN401  # an optional package
        """Start with none."""
        self._ray = ray
        self._contents = contents
        self._sent: dict[int, Any] = {}

    def reference(self, key: int) -> Any:  # noqa: ANN401  # Ray's reference, or a Packed
        """Give what an actor is sent for a content; small ones travel within the call."""
        for over in self._contents.over({*self._sent}):
            del self._sent[over]
        if key not in self._sent:
            packed = pack(open_parcel(os.dup(self._contents.parcel(key).descriptor)))
            size = sum(array.nbytes for array in packed.arrays)
            self._sent[key] = packed if size < _PUT_BYTES else self._ray.put(packed)
        return self._sent[key]
