"""Objects on their way through Ray: pickled by C code, large arrays beside them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from flip_lab.engines.clients import ClientCall
from flip_lab.engines.flower.messages import for_client

_BESIDE_BYTES = 16_384  # smaller arrays are copied faster than Ray takes note of them


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


@dataclass(kw_only=True)
class _Shipped:
    placeholder: RecordDict
    parcel: Any
    pending: int


class Contents:
    """The contents of messages under way; one that calls share is put into Ray once.

    Args:
        ray: The ``ray`` module, connected.
    """

    def __init__(self, ray: Any) -> None:  # noqa: ANN401  # an optional package
        """Start with none."""
        self._ray = ray
        self._numbers = count()
        self._kept: dict[int, _Shipped] = {}
        self._keys: dict[int, int] = {}  # by the identity of placeholders

    def ship(self, calls: Iterable[ClientCall]) -> list[ClientCall]:
        """Take contents as they are now; a server may change its records later.

        Returns:
            The calls, their messages without content: those that share one have the same
            empty records.
        """
        batch = list(calls)
        shared: dict[int, _Shipped] = {}
        bare: list[ClientCall] = []
        for call in batch:
            content = call.message.content
            shipped = shared.get(id(content))
            if shipped is None:
                shipped = shared[id(content)] = _Shipped(
                    placeholder=RecordDict(), parcel=content, pending=0
                )
            shipped.pending += 1
            bare.append(
                replace(call, message=for_client(call.message, shipped.placeholder))
            )
        for shipped in shared.values():
            packed = pack(shipped.parcel)
            shipped.parcel = self._ray.put(packed) if shipped.pending > 1 else packed
            key = next(self._numbers)
            self._kept[key] = shipped
            self._keys[id(shipped.placeholder)] = key
        return bare

    def key_of(self, call: ClientCall) -> int:
        """Give the number of a call's content."""
        return self._keys[id(call.message.content)]

    def parcel(self, key: int) -> Any:  # noqa: ANN401  # Ray's reference, or a Packed
        """Give what an actor is sent for a content."""
        return self._kept[key].parcel

    def settle(self, call: ClientCall) -> None:
        """Note that a call is over; the last one with a content lets go of it."""
        shipped = self._kept[self.key_of(call)]
        shipped.pending -= 1
        if not shipped.pending:
            del self._kept[self._keys.pop(id(shipped.placeholder))]
