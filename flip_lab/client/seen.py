"""Answers that are kept, so that what has not changed need not travel again."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

_MOST = 64
_LONGEST_BYTES = 2**18


class Seen:
    """The last answers that had an entity tag; for any number of threads."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._answers: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._guard = Lock()

    def get(self, url: str) -> tuple[str, bytes]:
        """Give the tag and the body of the last answer; both are empty without one."""
        with self._guard:
            return self._answers.get(url, ("", b""))

    def put(self, url: str, tag: str, body: bytes) -> None:
        """Keep an answer, unless it has no tag or takes too much room."""
        with self._guard:
            self._answers.pop(url, None)
            if not tag or len(body) > _LONGEST_BYTES:
                return
            self._answers[url] = (tag, body)
            if len(self._answers) > _MOST:
                self._answers.popitem(last=False)
