"""A hub that stands by: it is active once it holds the lock, and never without."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import HubBusyError, StoreNotWritableError
from flip_lab.hub import process, standby
from flip_lab.hub.place import HubPlace
from flip_lab.hub.process import HubProcess
from flip_lab.hub.standby import ActiveLock


def test_a_standby_is_not_active_where_the_disk_cannot_say_who_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hubs of one directory would both write its database."""
    active, known = list[HubPlace](), asyncio.Event()

    @asynccontextmanager
    async def be_active(place: HubPlace) -> AsyncGenerator[None]:
        active.append(place)
        known.set()
        yield

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(process, "active_hub", be_active)
    monkeypatch.setattr(standby.fcntl, "flock", refused)
    lock = ActiveLock(tmp_path / "active.lock")

    async def live() -> HubProcess:
        with lock.opened() as file:
            one = HubProcess(HubPlace(tmp_path), lambda: lock.wait(file), lambda **_: None)

            one.end = known.set

            async def receive() -> dict[str, Any]:
                is_over = one.trouble is not None or bool(active)
                return {"type": "lifespan.shutdown" if is_over else "lifespan.startup"}

            async def send(message: dict[str, Any]) -> None:
                is_begin = message["type"] == "lifespan.startup.complete"
                if is_begin:
                    await known.wait()

            await one({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
        return one

    one = asyncio.run(asyncio.wait_for(live(), 60))
    assert active == []
    assert isinstance(one.trouble, StoreNotWritableError)


def test_a_full_disk_keeps_nobody_from_taking_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the lock is written down for people; the lock itself needs no room."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    lock = ActiveLock(tmp_path / "active.lock")
    with lock.opened() as file, lock.opened() as other:
        asyncio.run(lock.wait(file))
        with pytest.raises(HubBusyError):
            lock.take(other)
