"""Live views of real runs from a real server: cut, killed, flooded, stuck and crowded."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

FLIP_LAB = [sys.executable, "-c", "from flip_lab.cli.main import app; app()"]
PATIENCE_S = 240.0
ENDLESS = 1_000_000
"""Rounds of a run that is under way for as long as a test wants it to be."""


@dataclass(kw_only=True)
class Server:
    """A server process on a port that stays the same."""

    lab: Path
    environment: Mapping[str, str]
    port: int
    token: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [
                *(*FLIP_LAB, "serve", "--json", "--lab", str(self.lab)),
                *("--port", str(self.port)),
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.token = json.loads(self.process.stdout.readline())["token"]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, and wait until it is gone."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def page(self, place: str, **options: Any) -> connect:  # noqa: ANN401  # of websockets
        """Open a WebSocket."""
        return connect(
            f"ws://127.0.0.1:{self.port}/flip/v1{place}",
            additional_headers={"Authorization": f"Bearer {self.token}"},
            max_size=2**24,
            open_timeout=PATIENCE_S,
            ping_interval=None,  # a page that is slow is not gone
            **options,
        )


@dataclass(kw_only=True)
class Watcher:
    """A page that watches a run, and comes back with what it has reached."""

    server: Server
    run_id: str
    reached: int = -1
    sequences: list[int] = field(default_factory=list[int])
    num_cuts: int = 0

    async def watch(self, *, cut_every: int = 0) -> str:
        """Watch until the end and say which; be cut off each so many messages."""
        while (end := await self._once(cut_every)) is None:
            self.num_cuts += 1
            await asyncio.sleep(0.05)
        return end

    async def _once(self, cut_every: int) -> str | None:
        try:
            async with self._opened() as page:
                return await self._read(page, cut_every)
        except (OSError, ConnectionClosed, InvalidHandshake):
            return None

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[ClientConnection]:
        place = f"/runs/{self.run_id}/live?after={self.reached}"
        async with self.server.page(place) as page:
            yield page

    async def _read(self, page: ClientConnection, cut_every: int) -> str | None:
        number = 0
        async for text in page:
            message = json.loads(text)
            if message["type"] == "end":
                return message["state"]
            self.sequences += [e["sequence"] for e in message.get("events", ())]
            self.reached = message.get("reached", self.reached)
            number += 1
            if cut_every and number == cut_every:
                page.transport.abort()
                return None
        return None


@pytest.fixture
def lab(lab_path: Path) -> Lab:
    """Give an empty lab."""
    return Lab(lab_path)


@pytest.fixture
def server(lab: Lab, environment: Mapping[str, str], kept_port: int) -> Iterator[Server]:
    """Give a server of the lab that listens."""
    served = Server(lab=lab.path, environment=environment, port=kept_port)
    served.start()
    yield served
    served.kill(signal.SIGTERM)


Launch = Callable[[int], Run]
AskedFirst = Callable[[Callable[[Run], object]], AbstractContextManager[None]]


@pytest.fixture
def launch(lab: Lab) -> Iterator[Launch]:
    """Give what launches a run of so many rounds; it is ended after the test."""
    runs: list[Run] = []

    def begin(num_rounds: int) -> Run:
        overrides = {"train.num_rounds": num_rounds}
        runs.append(lab.launch("hospitals", on="in_process", overrides=overrides))
        return runs[-1]

    yield begin
    for run in runs:
        if not run.state.is_final:
            run.stop()
            run.wait(PATIENCE_S)


def _run(work: Any) -> Any:  # noqa: ANN401  # a coroutine, and what it gives
    async def within() -> Any:  # noqa: ANN401  # as above
        return await asyncio.wait_for(work, PATIENCE_S)

    return asyncio.run(within())


async def _until(is_so: Callable[[], bool], watching: asyncio.Future[Any]) -> None:
    """Wait for something that those who watch come to, or for their end."""
    while not is_so() and not watching.done():  # noqa: ASYNC110  # it sets no event
        await asyncio.sleep(0.02)


def _is_whole(watcher: Watcher, run: Run) -> bool:
    """Say whether the page has each event of the run once, in order."""
    return watcher.sequences == [event.sequence for event in run.events()]


def test_a_page_that_is_cut_off_again_and_again_misses_and_doubles_nothing(
    server: Server, launch: Launch
) -> None:
    """It comes back with the sequence that it has reached."""
    run = launch(ENDLESS)
    watcher = Watcher(server=server, run_id=run.run_id)

    async def story() -> str:
        watching = asyncio.create_task(watcher.watch(cut_every=2))
        await _until(lambda: watcher.num_cuts > 9, watching)
        await asyncio.to_thread(run.stop)
        return await watching

    assert _run(story()) == "stopped"
    assert watcher.num_cuts > 9
    assert _is_whole(watcher, run)


def test_the_server_is_killed_in_the_middle_and_the_page_goes_on_with_the_next(
    server: Server, launch: Launch
) -> None:
    """Runs do not need the server; what happened while it was away is told."""
    run = launch(ENDLESS)
    watcher = Watcher(server=server, run_id=run.run_id)

    async def story() -> str:
        watching = asyncio.create_task(watcher.watch())
        for _ in range(2):
            goal = len(watcher.sequences) + 20
            await _until(lambda goal=goal: len(watcher.sequences) >= goal, watching)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await asyncio.to_thread(run.stop)
        return await watching

    assert _run(story()) == "stopped"
    assert watcher.num_cuts >= 2
    assert _is_whole(watcher, run)


def test_two_hundred_pages_see_the_same_whoever_is_stuck_or_floods(
    server: Server, launch: Launch, asked_first: AskedFirst
) -> None:
    """Pages that read nothing keep nobody waiting; one that floods is closed on."""
    with asked_first(Run.pause):  # until all have come
        run = launch(60)
    watchers = [Watcher(server=server, run_id=run.run_id) for _ in range(200)]
    place = f"/runs/{run.run_id}/live"

    async def flood() -> int | None:
        async with server.page(place) as page:
            with suppress(ConnectionClosed):
                for _ in range(200):
                    await page.send("{}")
            return await _closed(page)

    async def story() -> tuple[list[str], int | None]:
        stuck = [_half_open(server, place) for _ in range(5)]
        closed = asyncio.create_task(flood())
        watching = asyncio.gather(*(each.watch() for each in watchers))
        await _until(lambda: all(each.sequences for each in watchers), watching)
        code = await closed
        await asyncio.to_thread(run.resume)
        ends = await watching
        for each in stuck:
            each.close()
        return ends, code

    ends, code = _run(story())
    assert {*ends} == {"completed"}
    assert code == 4429
    assert all(_is_whole(watcher, run) for watcher in watchers)
    assert sum(watcher.num_cuts for watcher in watchers) == 0


def _half_open(server: Server, place: str) -> socket.socket:
    """Open a WebSocket that nobody will read from."""
    page = socket.socket()
    page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    page.connect(("127.0.0.1", server.port))
    lines = (
        f"GET /flip/v1{place} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {server.token}",
    )
    page.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return page


def test_a_server_that_is_asked_to_end_lets_its_pages_go(
    server: Server, launch: Launch
) -> None:
    """They are told (1012), and the server does not wait for them."""
    run = launch(ENDLESS)

    async def story() -> list[int | None]:
        async with (
            server.page(f"/runs/{run.run_id}/live") as one,
            server.page("/live") as two,
        ):
            await one.recv()
            await two.recv()
            await asyncio.to_thread(os.kill, _pid(server), signal.SIGTERM)
            return [await _closed(page) for page in (one, two)]

    assert _run(story()) == [1012, 1012]


async def _closed(page: ClientConnection) -> int | None:
    """Read until it is closed, and give the code."""
    try:
        while True:
            await page.recv()
    except ConnectionClosed:
        return page.close_code


def _pid(server: Server) -> int:
    assert server.process is not None
    return server.process.pid
