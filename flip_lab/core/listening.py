"""Who hears what an app's code logs: whoever carries that code out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Protocol

from flip_lab.core.holding import Holding
from flip_lab.core.logged import Logged, checked

_LOG = logging.getLogger("flip_lab")


class Listener(Protocol):
    """Hears what is logged."""

    def hear(self, facts: Mapping[str, Logged]) -> None:
        """Take what one call of ``log`` tells, by name."""
        ...


class Notes:
    """Keeps what one client logs in one call, to travel beside its reply.

    Attributes:
        facts: The newest value of each name.
        holding: What the client's node holds, if it was asked for and the app said so.

    Args:
        wants_holding: Whether that is asked for: on real nodes, which nobody else knows of.
    """

    def __init__(self, *, wants_holding: bool = False) -> None:
        """Nothing was logged yet."""
        self.facts: dict[str, Logged] = {}
        self.wants_holding = wants_holding
        self.holding: Holding | None = None

    def hear(self, facts: Mapping[str, Logged]) -> None:
        """Keep the facts in place of older ones of their names."""
        self.facts.update(facts)


_here: ContextVar[Listener | None] = ContextVar("flip_lab_listener", default=None)
# Threads that an app starts know nothing of that: they belong to the code that is carried
# out now, of which a process has one at a time.
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Let a listener hear what is logged in the block, in place of any around it."""
    _listeners.append(listener)
    token = _here.set(listener)
    try:
        yield
    finally:
        _here.reset(token)
        _listeners.remove(listener)


def log(values: Mapping[str, object] | None = None, /, **more: object) -> None:
    """Tell the run something about itself: numbers, histograms, images, matrices.

    Works in ServerApp and ClientApp code and in callbacks, on every simulation engine,
    and changes neither results nor random numbers. Where nobody listens (in a notebook
    cell, in a test, and in the processes of real nodes) nothing happens besides one line
    in Python's log, so that the same code runs anywhere.

    Numbers of a client become metrics of that client (``run.client_metrics()``); a name
    that its reply reports as well keeps the reply's value. In one call of a client a name
    keeps its last value. Numbers of the server become metrics of the run, with the scope
    ``server`` (``run.metrics()``). Everything else is in ``run.logged()``.

    Args:
        values: What to log, by name (text of 1 to 200 letters).
        **more: More of it, by keyword.

    Raises:
        LogError: If a name or a value cannot be logged; then nothing of the call is.

    Example:
        >>> log({"grad_norm": 1.2}, num_steps=40)
    """
    given = {**(values or {}), **more}
    facts = {name: checked(name, value) for name, value in given.items()}
    listener = _listener()
    if listener is not None:
        listener.hear(facts)
    elif facts:
        _say_that_nobody_listens()


def tell_holding(look: Callable[[], Holding]) -> None:
    """Say what this node holds, where somebody wants to know.

    Args:
        look: Finds out; only called if somebody does.
    """
    listener = _listener()
    if isinstance(listener, Notes) and listener.wants_holding:
        listener.holding = look()


def _listener() -> Listener | None:
    return _here.get() or (_listeners[-1] if _listeners else None)


@cache
def _say_that_nobody_listens() -> None:
    _LOG.info("Nobody listens here: what flip_lab.log(…) is told is dropped.")
