"""Puts Flower back as it was, after a run in a process that goes on afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from flwr.app import Array, ArrayRecord, RecordDict
from flwr.app.message.typeddict import TypedDict
from flwr.supercore.task_identity import TaskIdentity

_PATCHED: tuple[type, ...] = (Array, ArrayRecord, RecordDict, TypedDict, TaskIdentity)
_LEFT = ((Array, "__getattr__"),)  # gives the bytes of arrays that outlive their run


@contextmanager
def kept_flower() -> Generator[None]:
    """Put back what a run replaces in Flower's classes, and Flower's idea of the process.

    Arrays that were made in the block stay readable: the hook that writes their bytes when
    somebody asks for them stays, and does nothing for any other.
    """
    before = {each: dict(vars(each)) for each in _PATCHED}
    try:
        yield
    finally:
        for each, own in before.items():
            _put_back(each, own)


def _put_back(owner: type, before: dict[str, Any]) -> None:
    for name in {*before, *vars(owner)}:
        if (owner, name) in _LEFT or vars(owner).get(name, before) is before.get(name):
            continue
        if name in before:
            setattr(owner, name, before[name])
        else:
            delattr(owner, name)
