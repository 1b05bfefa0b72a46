"""One warm node: it asks its hub for messages, calls clients, and answers.

It gives up never: after any outage it comes back with the same identity, however the hub
went away. What it is doing stands in ``status.json`` and ``node.log``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import httpx
from flwr.app import Message

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import FlipLabError
from flip_lab.engines.flower.fleet import FleetConnection, RunOverError, read_node_key
from flip_lab.node.answering import Answering
from flip_lab.node.config import NodeConfig
from flip_lab.node.outages import explained, pause_s
from flip_lab.node.site_log import SiteLog
from flip_lab.node.status import NodeStatus, StatusFile
from flip_lab.node.surroundings import Surroundings

_MIB = 2**20
_HOLD_S = 20.0  # how long a hub of ours may hold a question
_BEAT_S = 8.0  # Flower counts a node as away after 20 s without
_MISSED_BEATS = 3
_STEADY_S = 2.0  # online for longer than that, the next outage is another one
_GOODBYE_S = 5.0
_LAST_BEATS_S = 1.0
_FETCHED_S = 4.0  # Flower's drivers ask each 3 s
_POLL_S = (0.2, 3.0)  # how often a stock SuperLink is asked: busy, idle
_COMING_S = 0.05
_COUNTS_EVERY_S = 1.0  # a busy node would write its status all the time
_MOST_WRITES_S = 10  # of all nodes of a process, each second
_MOST_POLLS_S = 20


class NodeRunner:
    """One node; lives in one event loop.

    Args:
        config: The site's settings.
        around: What it shares with other nodes of this process.
    """

    def __init__(self, config: NodeConfig, around: Surroundings) -> None:
        """Open the log; nothing is sent yet.

        Raises:
            OSError: If the node's key cannot be read.
            ValueError: If it is no key.
        """
        self._config = config
        self._around = around
        self._key = read_node_key(config.key_file)
        self._log = SiteLog(config.log_file, config.name)
        self._status = StatusFile(
            config.status_file,
            NodeStatus(name=config.name, hub=config.hub),
            every_s=max(_COUNTS_EVERY_S, around.num_nodes / _MOST_WRITES_S),
        )
        self._answering = Answering(config, around, self._log, self._push)
        self._room = asyncio.Semaphore(max(1, config.workers))
        self._works: set[asyncio.Task[None]] = set()
        self._connection: FleetConnection | None = None

    async def serve(self, stop: asyncio.Event, *, drain_s: float) -> None:
        """Be a node until asked to stop; then finish what is under way and say goodbye.

        Args:
            stop: Set when the node shall end.
            drain_s: How long work under way may take from then on, seconds.
        """
        failures = 0
        self._log.info("The node %r serves %s.", self._config.name, self._config.hub)
        while not stop.is_set():
            began, before = tick_s(), self._connection
            try:
                await self._session(stop)
            except (httpx.HTTPError, OSError, ValueError, FlipLabError) as error:
                was_online = self._connection is not before
                is_new = was_online and tick_s() - began > _STEADY_S
                failures = 1 if is_new else failures + 1
                self._away(error)
                await _first_of(stop.wait(), asyncio.sleep(pause_s(failures)))
        self._status.tell(state="draining")
        self._log.info("Asked to end; %s messages are under way.", len(self._works))
        # Without signs of life the hub would give up on what is under way.
        await _first_of(self._drain(drain_s), self._beat_on())
        await self._goodbye()
        self._log.close()

    def _away(self, error: Exception) -> None:
        told = explained(error, hub=self._config.hub, name=self._config.name)
        problem = f"[{told.code}] {told.what} Fix: {told.fix}"
        if self._status.tell(state="connecting", problem=problem):
            self._log.warning("%s", problem)

    async def _session(self, stop: asyncio.Event) -> None:
        """Be online until that breaks, or the node shall end."""
        connection = FleetConnection(
            self._around.http(self._config),
            self._config.hub,
            self._key,
            most_bytes=self._config.limits.message_mb * _MIB,
            got="" if self._connection is None else self._connection.got,
        )
        node_id = await connection.activate()
        self._connection = connection
        if self._status.tell(state="online", problem="", node_id=str(node_id)):
            self._log.info("Online as node %s.", node_id)
        try:
            await _first_of(stop.wait(), self._beat(connection), self._ask(connection))
        finally:
            await connection.ask_no_more()

    async def _beat(self, connection: FleetConnection) -> None:
        """Say regularly that the node lives; ends when the hub does not know it.

        Raises:
            HTTPError: If the hub was not reached several times.
        """
        missed = 0
        while True:
            start = tick_s()
            try:
                if not await connection.beat(hold_s=_BEAT_S):
                    return
                missed = 0
            except httpx.HTTPError:
                missed += 1
                if missed >= _MISSED_BEATS:
                    raise
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(max(0.0, _BEAT_S - (tick_s() - start)))

    async def _ask(self, connection: FleetConnection) -> None:
        """Ask for messages as long as there is room for work."""
        least_s = max(_POLL_S[0], self._around.num_nodes / _MOST_POLLS_S)
        idle_s = least_s
        while True:
            await self._room.acquire()
            try:
                pulled = await connection.pull(wait_s=_HOLD_S)
            except BaseException:
                self._room.release()
                raise
            if pulled.message is not None:
                idle_s = least_s
                self._start(pulled.message, pulled.problem, connection)  # which has room
                continue
            self._room.release()
            if pulled.is_coming:
                await asyncio.sleep(_COMING_S)
            elif not pulled.was_held:
                await asyncio.sleep(idle_s)
                idle_s = min(1.5 * idle_s, max(_POLL_S[1], least_s))

    def _start(self, message: Message, problem: str, connection: FleetConnection) -> None:
        work = asyncio.create_task(self._work(message, problem, connection))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        self._status.tell(num_working=len(self._works))

    async def _work(
        self, message: Message, problem: str, connection: FleetConnection
    ) -> None:
        """Answer one message, and make room for the next."""
        try:
            answered = await self._answering.work(message, problem, connection)
        finally:
            self._room.release()
        now, num_working = self._status.now, len(self._works) - 1
        if answered is None:
            self._status.tell(num_working=num_working)
            return
        self._status.tell(
            num_working=num_working,
            num_done=now.num_done + 1,
            num_failed=now.num_failed + (not answered.is_well),
            last_call=answered.told,
        )

    async def _push(self, reply: Message, duration_s: float) -> bool:
        """Send a reply over the connection that there is now, if there is one."""
        if self._connection is None:
            return False
        await self._connection.push(reply, duration_s=duration_s, wait_s=_HOLD_S)
        return True

    async def _beat_on(self) -> None:
        """Say that the node lives, although it asks for nothing any more."""
        while True:
            if self._connection is not None:
                with suppress(httpx.HTTPError, RunOverError):
                    await self._connection.beat(hold_s=0)
            await asyncio.sleep(_LAST_BEATS_S)

    async def _drain(self, drain_s: float) -> None:
        """Finish what is under way, within a time limit."""
        if not self._works:
            return
        _, late = await asyncio.wait(self._works, timeout=drain_s)
        for work in late:
            work.cancel()
        if late:
            self._log.warning("%s clients did not finish in %s s.", len(late), drain_s)
            await asyncio.wait(late, timeout=_GOODBYE_S)
        # A SuperLink forgets an answer that nobody fetched when its node says goodbye.
        is_stock = self._connection is not None and not self._connection.is_ours
        await asyncio.sleep(_FETCHED_S if is_stock else 0)

    async def _goodbye(self) -> None:
        if self._connection is not None:
            with suppress(httpx.HTTPError, asyncio.TimeoutError, RunOverError):
                await asyncio.wait_for(self._connection.deactivate(), timeout=_GOODBYE_S)
        self._status.tell(state="stopped", num_working=0)
        self._log.info("The node has ended.")


async def _first_of(*awaited: Coroutine[Any, Any, object]) -> None:
    """Wait for the first to end, end the others, and raise what it raised."""
    tasks = [asyncio.create_task(each) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
