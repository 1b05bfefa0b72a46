"""Bells that end a wait."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from threading import Thread
from typing import Any

from flip_lab.hub.bells import Bells

BELL = ("node", 7)
LONG_S = 60.0


async def never() -> MutableMapping[str, Any]:
    """Be an open connection that says nothing."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def gone() -> MutableMapping[str, Any]:
    """Be a connection that breaks."""
    return {"type": "http.disconnect"}


def test_a_ring_in_another_thread_ends_the_wait_of_all() -> None:
    """A hundred requests wait for one bell; each looks again, and finds it there."""

    async def story() -> None:
        bells, there = Bells(asyncio.get_running_loop()), list[int]()
        waits = [bells.wait(BELL, lambda: bool(there), LONG_S, never) for _ in range(100)]
        waiting = [asyncio.create_task(wait) for wait in waits]
        await asyncio.sleep(0)
        there.append(1)
        Thread(target=bells.node, args=(7,)).start()
        assert await asyncio.gather(*waiting) == [True] * 100
        assert not bells._waiting

    asyncio.run(story())


def test_a_ring_for_others_ends_no_wait() -> None:
    """Who waits for something else is not even woken."""

    async def story() -> None:
        bells, looks = Bells(asyncio.get_running_loop()), list[int]()

        def is_there() -> bool:
            looks.append(1)
            return False

        waiting = asyncio.create_task(bells.wait(BELL, is_there, LONG_S, never))
        await asyncio.sleep(0)
        for other in range(100, 200):
            bells.node(other)
            bells.run(other)
        await asyncio.sleep(0.01)
        assert len(looks) == 1
        waiting.cancel()

    asyncio.run(story())


def test_a_wait_ends_with_its_time_its_connection_and_the_hub() -> None:
    """Whatever comes first; only a broken connection is told apart."""

    async def story() -> None:
        bells = Bells(asyncio.get_running_loop())
        assert await bells.wait(BELL, lambda: False, 0.01, never)
        assert not await bells.wait(BELL, lambda: False, LONG_S, gone)
        waiting = asyncio.create_task(bells.wait(BELL, lambda: False, LONG_S, never))
        await asyncio.sleep(0)
        bells.close()
        assert await waiting
        assert await bells.wait(BELL, lambda: False, LONG_S, never)
        assert not bells._waiting

    asyncio.run(story())


def test_news_change_with_each_ring_and_each_start() -> None:
    """News of an earlier hub are never those of this one."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        first, second = Bells(loop), Bells(loop)
        assert first.news(BELL) != second.news(BELL)
        before = first.news(BELL)
        first.node(7)
        assert first.news(BELL) != before
        assert first.news(("run", 7)) == before

    asyncio.run(story())
