"""Named things that others can add to: data sets, partitioners, models, strategies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from flip_lab.core.errors import UnknownNameError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name, from this package and from installed plug-ins.

    A plug-in package adds one with an entry point in ``group``; nothing of it is
    imported before its name is asked for.

    Args:
        noun: What the things are called in messages, such as ``"data set"``.
        group: Entry-point group, such as ``"flip_lab.datasets"``.
    """

    def __init__(self, noun: str, group: str) -> None:
        """Start empty; ``add`` fills it."""
        self._noun = noun
        self._group = group
        self._things: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Give a decorator that registers a thing under ``name``."""

        def register(thing: T) -> T:
            self._things[name] = thing
            return thing

        return register

    def names(self) -> list[str]:
        """List every name, ours and the plug-ins', sorted."""
        return sorted(self._plugged_in().keys() | self._things.keys())

    def __contains__(self, name: object) -> bool:
        """Whether there is such a thing; our own are found without a look at plug-ins."""
        return name in [*self._things] or name in self.names()

    def get(self, name: str) -> T:
        """Give the thing of this name.

        Raises:
            UnknownNameError: If there is none; the message names the nearest one.
        """
        if name in self._things:
            return self._things[name]
        if (point := self._plugged_in().get(name)) is not None:
            return self._things.setdefault(name, point.load())
        raise UnknownNameError(
            f"There is no {self._noun} {name!r}.", fix=nearest(name, self.names())
        )

    def _plugged_in(self) -> Mapping[str, EntryPoint]:
        return _entry_points(self._group, _installed())


def _installed() -> tuple[tuple[str, int], ...]:
    """Say where packages lie, and when something was last installed there."""
    return tuple((entry, _changed_ns(Path(entry or "."))) for entry in sys.path)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=16)  # reading what all packages say takes long, and a form asks often
def _entry_points(
    group: str, installed: tuple[tuple[str, int], ...]
) -> Mapping[str, EntryPoint]:
    """Find what packages add, by name; anew when one was installed."""
    del installed
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, point)
    return found
