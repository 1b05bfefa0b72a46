"""Addresses that keep showing wrong keys and tokens are let wait."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import Scope

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import TooManyError

_MOST = 20
_WINDOW_S = 60.0
_MOST_ADDRESSES = 4096


@dataclass(slots=True)
class _Failures:
    """What went wrong at one address: a bucket that empties by and by."""

    level: float
    at_s: float


class Admission:
    """Counts failures by address, in bounded memory; used by the event loop alone.

    Who is known is let in all the same, so that one broken device of a site does not shut
    the others out that share its address.

    Args:
        most: Failures before an address must wait.
        window_s: Time in which that many are forgiven.
    """

    def __init__(self, *, most: int = _MOST, window_s: float = _WINDOW_S) -> None:
        """Hold nothing against anybody."""
        self._most = most
        self._window_s = window_s
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def failed(self, scope: Scope) -> None:
        """Note that a request showed a wrong key or token, or none."""
        address = _address(scope)
        level = self._level(address) + 1
        self._failures[address] = _Failures(level=level, at_s=tick_s())
        self._failures.move_to_end(address)
        while len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def see_that_it_may(self, scope: Scope) -> None:
        """Let a stranger try.

        Raises:
            TooManyError: If there were too many failures at that address.
        """
        level = self._level(_address(scope))
        excess = level - (self._most - 1)
        if excess > 0:
            wait_s = excess * self._window_s / self._most
            raise TooManyError(
                "Too many wrong keys or tokens came from your address.",
                fix=f"Try again in {wait_s:.0f} s, with the right one.",
            )

    def _level(self, address: str) -> float:
        found = self._failures.get(address)
        if found is None:
            return 0.0
        drained = (tick_s() - found.at_s) * self._most / self._window_s
        return max(found.level - drained, 0.0)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
