"""Many people read at once, and each at the moment that was planned: a process of its own.

Arrivals come at a constant rate, whatever the server does. A request that has to wait for
its turn, because the one before it of the same person is not answered, has waited since
the moment it was due: what a slow answer does to those behind it is counted (as wrk2 does).

    python api_load.py URL TOKEN LIVE_RUN RATE USERS SECONDS SEED
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import uvloop

_OK = frozenset({200, 304})
_MIX = {
    "list": 0.25,
    "run": 0.20,
    "metrics": 0.20,
    "clients": 0.10,
    "events": 0.15,
    "scenarios": 0.10,
}
"""What is asked, and how often."""

_PATHS = {
    "list": "/runs?limit=100",
    "run": "/runs/{run_id}",
    "metrics": "/runs/{run_id}/metrics?limit=100",
    "clients": "/runs/{run_id}/clients?limit=100",
    "events": "/runs/{run_id}/events?limit=200",
    "scenarios": "/scenarios",
}
_LIVE = 0.2  # of what is asked about runs is about the one under way


@dataclass(kw_only=True)
class Person:
    """Somebody with a browser: what it has it asks for by its tag.

    Attributes:
        session: A connection of its own.
        has: Tags by address.
        took: Seconds by what was asked, from the moment that it was due.
        num_known: Answers that it had already.
        failed: Statuses other than 200 and 304.
    """

    session: aiohttp.ClientSession
    has: dict[str, str] = field(default_factory=dict[str, str])
    took: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    num_known: int = 0
    failed: list[int] = field(default_factory=list[int])

    async def ask(self, kind: str, url: str, due_s: float) -> None:
        """Ask at the moment it is due, or as soon as the one before is answered."""
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        headers = {"If-None-Match": self.has[url]} if url in self.has else {}
        async with self.session.get(url, headers=headers) as answer:
            await answer.read()
            self.has[url] = answer.headers.get("ETag", "")
            self.num_known += answer.status == 304  # Not Modified
            if answer.status not in _OK:
                self.failed.append(answer.status)
        self.took.append((kind, time.perf_counter() - due_s))


async def run_ids(session: aiohttp.ClientSession, url: str) -> list[str]:
    """List the ended runs, newest first."""
    async with session.get(f"{url}/runs?limit=1000&state=completed") as answer:
        return [row["run_id"] for row in (await answer.json())["items"]]


def planned(ids: list[str], live: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Draw what is asked: some runs are looked at much more than others."""
    generator = np.random.default_rng(seed)
    kinds = generator.choice([*_MIX], size=count, p=[*_MIX.values()])
    weights = 1 / np.arange(1, len(ids) + 1)
    runs = generator.choice(ids, size=count, p=weights / weights.sum())
    is_live = generator.random(count) < _LIVE
    chosen = np.where(is_live, live, runs)
    return [
        (str(kind), _PATHS[str(kind)].format(run_id=run_id))
        for kind, run_id in zip(kinds, chosen, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of which server, in the order of the command line."""

    url: str
    token: str
    live: str
    rate: float
    users: int
    seconds: float
    seed: int


def wanted(arguments: list[str]) -> Load:
    """Read the command line."""
    url, token, live, rate, users, seconds, seed = arguments
    return Load(url, token, live, float(rate), int(users), float(seconds), int(seed))


async def load(want: Load) -> list[Person]:
    """Ask, and give those who asked."""
    headers = {"Authorization": f"Bearer {want.token}"}
    people = [
        Person(session=aiohttp.ClientSession(headers=headers)) for _ in range(want.users)
    ]
    ids = await run_ids(people[0].session, want.url)
    plan = planned(ids, want.live, int(want.rate * want.seconds), want.seed)
    begin_s = time.perf_counter() + 1.0

    async def live_on(number: int) -> None:
        for place in range(number, len(plan), want.users):
            kind, path = plan[place]
            due_s = begin_s + place / want.rate
            await people[number].ask(kind, want.url + path, due_s)

    await asyncio.gather(*(live_on(number) for number in range(want.users)))
    for person in people:
        await person.session.close()
    return people


def told(people: list[Person]) -> dict[str, object]:
    """Say how long it took."""
    took = [each for person in people for each in person.took]
    return {
        "took_ms": {
            kind: [round(1000 * s, 3) for name, s in took if name == kind] for kind in _MIX
        },
        "known_share": sum(person.num_known for person in people) / len(took),
        "failed": [status for person in people for status in person.failed],
    }


if __name__ == "__main__":
    print(json.dumps(told(uvloop.run(load(wanted(sys.argv[1:]))))))
