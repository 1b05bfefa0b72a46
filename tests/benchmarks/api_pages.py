"""A crowd of pages that watch one run live, and how old an event is when it reaches them.

Events carry the time of the run's process; it is the same machine, so the same clock.

    python api_pages.py URL TOKEN RUN PAGES SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import aiohttp
import uvloop

_EVENT = '{"sequence":'
_TIME = '"time_s":'
_AT_ONCE = 50


@dataclass(kw_only=True)
class Crowd:
    """What all pages saw.

    Attributes:
        is_measuring: Whether ages are noted now.
        ages_s: Age of the newest event of each message.
        num_open: Pages that were opened.
        num_gaps: Messages that did not follow the one before.
        num_lost: Pages that the server closed on.
    """

    is_measuring: bool = False
    ages_s: list[float] = field(default_factory=list[float])
    num_open: int = 0
    num_gaps: int = 0
    num_lost: int = 0


async def watch(
    crowd: Crowd, session: aiohttp.ClientSession, url: str, stop: asyncio.Event
) -> None:
    """Watch until it is enough; what is missing or double is counted."""
    reached = -1
    async with session.ws_connect(url, max_msg_size=0) as page:
        crowd.num_open += 1
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            hearing = asyncio.ensure_future(page.receive())
            await asyncio.wait({hearing, stopping}, return_when="FIRST_COMPLETED")
            if not hearing.done():
                hearing.cancel()
                break
            message = hearing.result()
            if message.type is not aiohttp.WSMsgType.TEXT:
                crowd.num_lost += 1
                break
            text: str = message.data
            if not text.startswith('{"type":"events"'):
                continue
            first = int(text[text.index(_EVENT) + len(_EVENT) :].split(",", 1)[0])
            crowd.num_gaps += reached not in {-1, first - 1}
            newest = text[text.rindex(_EVENT) + len(_EVENT) :]
            reached = int(newest.split(",", 1)[0])
            if crowd.is_measuring:
                when = newest[newest.index(_TIME) + len(_TIME) :].split(",", 1)[0]
                crowd.ages_s.append(time.time() - float(when))  # noqa: TID251  # as events have it
        stopping.cancel()


async def crowd(arguments: list[str]) -> dict[str, object]:
    """Open all pages, watch for a while, and say what was seen."""
    url, token, run_id, pages, seconds = arguments
    seen, stop = Crowd(), asyncio.Event()
    room = asyncio.Semaphore(_AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        place = f"{url}/runs/{run_id}/live?after={await _newest(session, url, run_id)}"
        begin_s = time.perf_counter()
        watching: list[asyncio.Task[None]] = []
        for _ in range(int(pages)):
            async with room:
                watching.append(asyncio.create_task(watch(seen, session, place, stop)))
                await asyncio.sleep(0.002)
        while seen.num_open < int(pages):  # noqa: ASYNC110  # no event for each
            await asyncio.sleep(0.05)
        opened_s = time.perf_counter() - begin_s
        await asyncio.sleep(3)  # what happened before they came
        seen.is_measuring = True
        await asyncio.sleep(float(seconds))
        seen.is_measuring = False
        stop.set()
        await asyncio.gather(*watching)
    return {
        "opened_s": opened_s,
        "ages_ms": [round(1000 * age_s, 1) for age_s in seen.ages_s],
        "gaps": seen.num_gaps,
        "lost": seen.num_lost,
    }


async def _newest(session: aiohttp.ClientSession, url: str, run_id: str) -> int:
    """Give the sequence that the run has reached: pages are up to date already."""
    reached = -1
    while True:
        address = f"{url}/runs/{run_id}/events?after={reached}&limit=1000"
        async with session.get(address) as answer:
            told = await answer.json()
        reached = told["reached"]
        if not told["is_more"]:
            return reached


if __name__ == "__main__":
    print(json.dumps(uvloop.run(crowd(sys.argv[1:]))))
