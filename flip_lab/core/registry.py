"""Named things that others can add to: data sets, partitioners, models, strategies."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
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
        plugged = {point.name for point in entry_points(group=self._group)}
        return sorted(plugged | self._things.keys())

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
        for point in entry_points(group=self._group, name=name):
            return self._things.setdefault(name, point.load())
        raise UnknownNameError(
            f"There is no {self._noun} {name!r}.", fix=nearest(name, self.names())
        )
