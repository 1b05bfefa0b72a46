"""What a node does with a message: fetch its app, call the client, send the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import httpx
from flwr.app import Message

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import DeviceError, FlipLabError, NodeLimitError
from flip_lab.engines.flower.fleet import (
    REPLY_LESS,
    FleetConnection,
    RunOverError,
    told_too_large,
)
from flip_lab.engines.flower.messages import (
    error_reply,
    payload_bytes,
    server_round_of,
)
from flip_lab.node.attempts import Attempts
from flip_lab.node.calling import SiteCall, SiteOutcome
from flip_lab.node.client_contexts import ClientContexts, Moment
from flip_lab.node.config import NodeConfig
from flip_lab.node.outages import pause_s
from flip_lab.node.replies import refusal, reply_of
from flip_lab.node.run_apps import RunApps, SiteRun
from flip_lab.node.site_log import SiteLog
from flip_lab.node.surroundings import Surroundings

_MIB = 2**20
_MOST_FAILURES = 5
_FINAL = {400, 404, 409, 413, 422}  # no later attempt would fare better


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How a message was answered.

    Attributes:
        is_well: Whether the client replied.
        told: The same in one line.
    """

    is_well: bool
    told: str


class Answering:
    """Answers the messages of one node, those of one run one after another.

    Args:
        config: The site's settings.
        around: What it shares with other nodes of this process.
        log: The site's log.
        push: Sends a reply over the connection that there is now, with the seconds that
            the client took; ``False`` when there is none.
    """

    def __init__(
        self,
        config: NodeConfig,
        around: Surroundings,
        log: SiteLog,
        push: Callable[[Message, float], Coroutine[Any, Any, bool]],
    ) -> None:
        """Know no run yet."""
        self._config = config
        self._around = around
        self._log = log
        self._push = push
        most_bytes = config.limits.message_mb * _MIB
        self._contexts = ClientContexts(config.contexts, most_bytes=most_bytes)
        self._runs = RunApps(config, around.shelf)
        self._attempts = Attempts(config.directory / "working.json")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def work(
        self, message: Message, problem: str, connection: FleetConnection
    ) -> Answered | None:
        """Answer one message, whatever goes wrong.

        Args:
            message: The message.
            problem: Why it came without its content; empty when all is well.
            connection: Where it came from.

        Returns:
            ``None`` if nobody has the answer.
        """
        start, message_id = tick_s(), message.metadata.message_id
        self._log.info("A %s message, run %s.", *_about(message))
        try:
            reply, duration_s = await self._answer(message, problem, connection)
            reply = await self._send(message, reply, duration_s)
            return self._note(message, reply, tick_s() - start)
        except RunOverError:
            self._log.info("Run %s is over; nobody waits for this.", _about(message)[1])
        except Exception:  # noqa: BLE001  # the next message must not suffer from it
            self._log.exception("A message could not be answered.")
        finally:
            self._attempts.end(message_id)
        return None

    async def _answer(
        self, message: Message, problem: str, connection: FleetConnection
    ) -> tuple[Message, float]:
        """Give the reply, and the seconds that the client took."""
        try:
            _see_that_it_is_whole(problem)
            run_id = message.metadata.run_id
            run = await _patiently(partial(self._runs.of, run_id, connection))
            self._attempts.begin(message.metadata.message_id)
            async with self._turns.setdefault(run.key, asyncio.Lock()):
                loop = asyncio.get_running_loop()
                outcome = await loop.run_in_executor(
                    self._around.threads, self._call, message, run, connection.node_id
                )
            tail = self._config.logs_tail_lines
            reply = reply_of(message, outcome, logs_tail_lines=tail, with_facts=run.is_ours)
        except FlipLabError as error:
            self._log.warning("%s", error)
            return refusal(message, error), 0.0
        except asyncio.CancelledError:
            return refusal(message, _closing()), 0.0
        except RunOverError:
            raise
        except Exception as error:  # noqa: BLE001  # without any answer the round would wait
            self._log.exception("A message could not be answered.")
            told = f"The node could not answer ({type(error).__name__}); see its node.log."
            return error_reply(message, told), 0.0
        return reply, outcome.duration_s

    def _call(self, message: Message, run: SiteRun, node_id: int) -> SiteOutcome:
        """Call the client, in a thread of its own."""
        moment = Moment(
            run=run.key,
            flower_run=message.metadata.run_id,
            server_round=server_round_of(message) or 0,
            kind=message.metadata.message_type,
            driver=run.driver,
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

    async def _send(self, message: Message, reply: Message, duration_s: float) -> Message:
        """Send a reply, through any outage, as long as somebody may wait for it.

        Returns:
            What was sent: an error where the hub does not take the reply.

        Raises:
            RunOverError: If nobody does any more.
            HTTPStatusError: If the hub will never take it, nor an error in its place.
        """
        failures = 0
        end_s = message.metadata.created_at + message.metadata.ttl
        while now_s() < end_s:
            try:
                if await self._push(reply, duration_s):
                    return reply
            except NodeLimitError as error:
                reply = refusal(message, error)
                continue
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if status in _FINAL and reply.has_error():
                    raise
                if status in _FINAL:
                    reply = refusal(message, _not_taken(status))
                    continue
                failures += 1
            except httpx.HTTPError:
                failures += 1
            await asyncio.sleep(pause_s(max(failures, 1)))
        raise RunOverError

    def _note(self, message: Message, reply: Message, duration_s: float) -> Answered:
        kind, run = _about(message)
        ending = "with an error" if reply.has_error() else "well"
        line = f"{kind} of run {run}: {duration_s:.2f} s, {ending}"
        self._log.info("Answered: %s.", line)
        return Answered(is_well=not reply.has_error(), told=line)


def _see_that_it_is_whole(problem: str) -> None:
    if problem:
        raise NodeLimitError(
            f"The message did not reach the client: {problem}.",
            fix="Send it again, smaller if that was it, or let the site raise "
            "message-mb in its node.toml.",
        )


def _closing() -> NodeLimitError:
    return NodeLimitError(
        "The node was asked to end, and the client did not finish in time.",
        fix="Nothing to do if the node comes back: the next round finds it.",
    )


def _not_taken(status: int) -> DeviceError:
    return DeviceError(
        f"The hub, or what stands before it, does not take the client's reply (HTTP "
        f"{status}).",
        fix="If the status is 413, let the proxy before the hub take larger bodies; else "
        "look into the hub's log.",
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
