"""The contents of messages on their way to local worker processes."""

from __future__ import annotations

from itertools import count

from flwr.app import RecordDict

from flip_lab.engines.parcels import Parcel


class SharedContents:
    """The contents of messages under way; each is written once, for all workers."""

    def __init__(self) -> None:
        """Start with none."""
        self._numbers = count()
        self._keys: dict[int, int] = {}
        self._kept: dict[int, tuple[RecordDict, Parcel]] = {}
        self._pending: dict[int, int] = {}

    def expect(self, content: RecordDict) -> None:
        """Note one more call with this content.

        Raises:
            EngineError: If there is no memory left for it.
        """
        self._pending[id(content)] = self._pending.get(id(content), 0) + 1
        if id(content) not in self._keys:
            key = self._keys[id(content)] = next(self._numbers)
            self._kept[key] = (content, Parcel(content))

    def key_of(self, content: RecordDict) -> int:
        """Give the number that names an expected content."""
        return self._keys[id(content)]

    def parcel(self, key: int) -> Parcel:
        """Give the memory that holds a content."""
        return self._kept[key][1]

    def settle(self, content: RecordDict) -> None:
        """Note that a call with this content is over; the last one lets go of it."""
        self._pending[id(content)] -= 1
        if not self._pending[id(content)]:
            del self._pending[id(content)]
            _, parcel = self._kept.pop(self._keys.pop(id(content)))
            parcel.close()

    def over(self, known: set[int]) -> list[int]:
        """Tell which of these keys no call will need any more."""
        return [key for key in known if key not in self._kept]

    def close(self) -> None:
        """Let go of all of them."""
        for _, parcel in self._kept.values():
            parcel.close()
        self._kept.clear()
