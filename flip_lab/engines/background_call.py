"""A call that may hang without anybody having to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

_Got = TypeVar("_Got")


class BackgroundCall(Generic[_Got]):
    """A call in a thread of its own, which nobody has to wait for.

    Args:
        work: What to do.
    """

    def __init__(self, work: Callable[[], _Got]) -> None:
        """Begin."""
        self._work = work
        self._over = Event()
        self._got: list[_Got] = []
        self._raised: BaseException | None = None
        Thread(target=self._run, name="flip-hub-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._got.append(self._work())
        except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
            self._raised = error
        finally:
            self._over.set()

    def is_over(self, wait_s: float) -> bool:
        """Say whether it is done, waiting for that so many seconds at most."""
        return self._over.wait(wait_s)

    def outcome(self) -> _Got:
        """Give what a call that is over gave, or raise what it raised."""
        if self._raised is not None:
            raise self._raised
        return self._got[0]
