"""One warm node: it asks its hub for messages, calls clients, and answers.

It gives up never: after any outage it comes back with the same identity, however the hub
went away. What it is doing stands in ``status.json`` and ``node.log``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import httpx
from flwr.app import Message

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FlipLabError, NodeLimitError
from flip_lab.engines.flower.fleet import (
    REPLY_LESS,
    FleetConnection,
    RunOverError,
    read_node_key,
    told_too_large,
)
from flip_lab.engines.flower.messages import payload_bytes, server_round_of
from flip_lab.node.app_shelf import AppShelf
from flip_lab.node.attempts import Attempts
from flip_lab.node.callers import Caller
from flip_lab.node.calling import SiteCall, SiteOutcome
from flip_lab.node.client_contexts import ClientContexts, Moment
from flip_lab.node.config import NodeConfig
from flip_lab.node.outages import explained, pause_s
from flip_lab.node.replies import refusal, reply_of
from flip_lab.node.run_apps import RunApps, SiteRun
from flip_lab.node.site_log import SiteLog
from flip_lab.node.status import NodeStatus, StatusFile

_MIB = 2**20
_HOLD_S = 20.0  # how long a hub of ours may hold a question
_BEAT_S = 8.0  # Flower counts a node as away after 20 s without
_MISSED_BEATS = 3
_GOODBYE_S = 5.0
_LAST_BEATS_S = 1.0
_FETCHED_S = 4.0  # Flower's drivers ask each 3 s
_POLL_S = (0.2, 3.0)  # how often a stock SuperLink is asked: busy, idle
_COMING_S = 0.05
_MOST_FAILURES = 5
_FINAL = {400, 404, 409, 413, 422}  # no later attempt would fare better


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the nodes of one process share.

    Attributes:
        http: Gives the client to call the hub with, made anew when certificates change.
        caller: Who carries out client calls.
        threads: Where that is waited for.
        shelf: Where apps lie.
        num_nodes: How many nodes share it, so that they are gentle with a SuperLink.
    """

    http: Callable[[NodeConfig], httpx.AsyncClient]
    caller: Caller
    threads: Executor
    shelf: AppShelf
    num_nodes: int = 1


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
            config.status_file, NodeStatus(name=config.name, hub=config.hub)
        )
        most_bytes = config.limits.message_mb * _MIB
        self._contexts = ClientContexts(config.contexts, most_bytes=most_bytes)
        self._runs = RunApps(config, around.shelf)
        self._attempts = Attempts(config.directory / "working.json")
        self._room = asyncio.Semaphore(max(1, config.workers))
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
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
            began = tick_s()
            try:
                await self._session(stop)
            except (httpx.HTTPError, OSError, ValueError, FlipLabError) as error:
                failures = 1 if tick_s() - began > _HOLD_S else failures + 1
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
        )
        node_id = await connection.activate()
        self._connection = connection
        if self._status.tell(state="online", problem="", node_id=str(node_id)):
            self._log.info("Online as node %s.", node_id)
        await _first_of(stop.wait(), self._beat(connection), self._ask(connection))

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
        least_s = max(_POLL_S[0], self._around.num_nodes / 20)
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
        """Answer one message; those of one run follow one another."""
        start, message_id = tick_s(), message.metadata.message_id
        self._log.info("A %s message, run %s.", *_about(message))
        try:
            reply, duration_s = await self._answer(message, problem, connection)
            await self._send(message, reply, duration_s)
            self._note(message, reply, tick_s() - start)
        except RunOverError:
            self._log.info("Run %s is over; nobody waits for this.", _about(message)[1])
        except Exception:  # noqa: BLE001  # the next message must not suffer from it
            self._log.exception("A message could not be answered.")
        finally:
            self._attempts.end(message_id)
            self._room.release()
            self._status.tell(num_working=len(self._works) - 1)

    async def _answer(
        self, message: Message, problem: str, connection: FleetConnection
    ) -> tuple[Message, float]:
        """Give the reply, and the seconds that the client took."""
        try:
            if problem:
                raise NodeLimitError(
                    f"The message did not reach the client: {problem}.",
                    fix="Send it again, smaller if that was it, or let the site raise "
                    "message-mb in its node.toml.",
                )
            run_id = message.metadata.run_id
            run = await _patiently(partial(self._runs.of, run_id, connection))
            self._attempts.begin(message.metadata.message_id)
            async with self._turns.setdefault(run.key, asyncio.Lock()):
                loop = asyncio.get_running_loop()
                outcome = await loop.run_in_executor(
                    self._around.threads, self._call, message, run, connection.node_id
                )
        except FlipLabError as error:
            self._log.warning("%s", error)
            return refusal(message, error), 0.0
        except asyncio.CancelledError:
            return refusal(message, _closing()), 0.0
        reply = reply_of(
            message,
            outcome,
            logs_tail_lines=self._config.logs_tail_lines,
            with_facts=run.is_ours,
        )
        return reply, outcome.duration_s

    def _call(self, message: Message, run: SiteRun, node_id: int) -> SiteOutcome:
        """Call the client, in a thread of its own."""
        moment = Moment(
            run=run.key,
            flower_run=message.metadata.run_id,
            server_round=server_round_of(message) or 0,
        )
        call = SiteCall(
            app=run.app,
            message=message,
            node_id=node_id,
            node_config=self._config.node_config(),
            run_config=run.run_config,
            state=self._contexts.load(moment),
            seed=run.seed,
            memory_mb=self._config.limits.memory_mb,
        )
        outcome = self._in_bounds(self._around.caller.call(call))
        if outcome.state is not None and (
            why := self._contexts.keep(moment, outcome.state)
        ):
            self._log.warning("%s", why)
        if outcome.failure:
            self._log.warning("%s\n%s", outcome.failure, outcome.detail)
        return outcome

    def _in_bounds(self, outcome: SiteOutcome) -> SiteOutcome:
        """Let a reply that may not leave count as a failed call: nothing is remembered."""
        size = payload_bytes(outcome.reply) if outcome.reply is not None else 0
        most_mb = self._config.limits.message_mb
        if size <= most_mb * _MIB:
            return outcome
        told = NodeLimitError(told_too_large(size, most_mb), fix=REPLY_LESS)
        return SiteOutcome(failure=str(told))

    async def _send(self, message: Message, reply: Message, duration_s: float) -> None:
        """Send a reply, through any outage, as long as somebody may wait for it.

        Raises:
            RunOverError: If nobody does any more.
            HTTPStatusError: If the hub will never take it.
        """
        failures = 0
        end_s = message.metadata.created_at + message.metadata.ttl
        while now_s() < end_s:
            try:
                if self._connection is not None:
                    await self._connection.push(reply, duration_s=duration_s)
                    return
            except NodeLimitError as error:
                reply = refusal(message, error)
                continue
            except httpx.HTTPStatusError as error:
                if error.response.status_code in _FINAL:
                    raise
                failures += 1
            except httpx.HTTPError:
                failures += 1
            await asyncio.sleep(pause_s(max(failures, 1)))
        raise RunOverError

    def _note(self, message: Message, reply: Message, duration_s: float) -> None:
        now = self._status.now
        kind, run = _about(message)
        ending = "with an error" if reply.has_error() else "well"
        line = f"{kind} of run {run}: {duration_s:.2f} s, {ending}"
        self._log.info("Answered: %s.", line)
        self._status.tell(
            num_done=now.num_done + 1,
            num_failed=now.num_failed + reply.has_error(),
            last_call=line,
        )

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


def _closing() -> NodeLimitError:
    return NodeLimitError(
        "The node was asked to end, and the client did not finish in time.",
        fix="Nothing to do if the node comes back: the next round finds it.",
    )


def _about(message: Message) -> tuple[str, int]:
    return message.metadata.message_type, message.metadata.run_id


async def _patiently(fetch: Callable[[], Coroutine[Any, Any, SiteRun]]) -> SiteRun:
    """Fetch what a message needs, through an outage if need be."""
    failures = 0
    while True:
        try:
            return await fetch()
        except httpx.TransportError:
            failures += 1
        except httpx.HTTPStatusError as error:
            if not error.response.is_server_error or failures > _MOST_FAILURES:
                raise
            failures += 1
        await asyncio.sleep(pause_s(failures))


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
