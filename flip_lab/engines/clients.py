"""One client's turn: the same few lines on every simulation engine."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.listening import Notes, listening
from flip_lab.core.logged import Logged
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import RunConfig
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.messages import (
    arrays_digest,
    copy_content,
    for_client,
)
from flip_lab.engines.seeding import seed_globals


@dataclass(frozen=True, kw_only=True)
class ClientSetting:
    """What is the same for every client call of a run.

    Attributes:
        run_number: Flower's numeric run id.
        seed: The run's seed.
        num_nodes: Number of simulated nodes.
        run_config: Flower's run configuration.
        timeout_s: Longest time that one call may take, seconds; ``None`` for no limit.
    """

    run_number: int
    seed: int
    num_nodes: int
    run_config: RunConfig
    timeout_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClientCall:
    """One message on its way to one simulated node.

    Attributes:
        message: The message, stamped with its id; its content is shared with others.
        partition_id: The partition of the node it goes to.
        server_round: The round it belongs to.
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        state: The node's Context state from its last successful call.
        expected_s: Seconds that the call will take, as far as known; 0 when unknown.
        overlay: Values of the run configuration that differed, when the message was sent,
            from those that the run began with.
    """

    message: Message
    partition_id: int
    server_round: int
    phase: str
    state: RecordDict
    expected_s: float = 0.0
    overlay: RunConfig = field(default_factory=dict[str, bool | int | float | str])


@dataclass(frozen=True, kw_only=True)
class ClientOutcome:
    """What came of a client call: a reply and a new state, or an error.

    Attributes:
        message_id: The message this answers.
        reply: The ClientApp's reply; ``None`` when it raised.
        state: The node's new Context state; ``None`` when the ClientApp raised, so that a
            failed call leaves no trace.
        error: What it raised with the tail of its traceback; empty when well.
        started_s: When the client began, seconds since the Unix epoch.
        duration_s: Seconds it took.
        digest: Hash of the reply's arrays; empty when nobody took it yet.
        logged: What the app logged meanwhile, by name, also one that raised then.
    """

    message_id: str
    reply: Message | None
    state: RecordDict | None
    error: str
    started_s: float
    duration_s: float
    digest: str = ""
    logged: Mapping[str, Logged] = field(default_factory=dict[str, Logged])


class Executor(Protocol):
    """Where client calls are carried out; all that two simulation engines differ in.

    ``submit`` may be called while another thread is inside ``completed``; each of the two
    is called by one thread at a time.
    """

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Take calls to carry out; returns at once."""
        ...

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Give outcomes not yet given; waits up to ``timeout_s`` for the first."""
        ...


def lost_call(call: ClientCall, error: str, *, duration_s: float = 0.0) -> ClientOutcome:
    """Answer for a client that cannot: its process died, or it took too long.

    Args:
        call: The call.
        error: What happened, for the error reply.
        duration_s: Seconds for which the client worked, as far as known.
    """
    return ClientOutcome(
        message_id=call.message.metadata.message_id,
        reply=None,
        state=None,
        error=error,
        started_s=now_s() - duration_s,
        duration_s=duration_s,
    )


def run_config_of(
    call: ClientCall, setting: ClientSetting
) -> dict[str, bool | int | float | str]:
    """Give the run configuration that the client of a call sees."""
    return {**setting.run_config, **call.overlay}


def seeded_context(call: ClientCall, setting: ClientSetting) -> Context:
    """Give the Context of a call, and set the global generators to the call's streams.

    Args:
        call: The call; its state is copied.
        setting: What is the same for the whole run.
    """
    seed_globals(
        Stream(
            seed=setting.seed,
            server_round=call.server_round,
            node=call.partition_id,
            phase=call.phase,
        )
    )
    return Context(
        run_id=setting.run_number,
        node_id=call.message.metadata.dst_node_id,
        node_config={
            "partition-id": call.partition_id,
            "num-partitions": setting.num_nodes,
        },
        state=copy_content(call.state),
        run_config=run_config_of(call, setting),
    )


def call_client(app: ClientApp, call: ClientCall, setting: ClientSetting) -> ClientOutcome:
    """Carry out one client call, on its own records and its own random streams.

    The global generators are left where the client left them (``kept_generators``).

    Args:
        app: The ClientApp.
        call: The message and the node's state; neither is changed.
        setting: What is the same for the whole run.

    Returns:
        The reply and the new state, or the error; never raises what the app raised.
    """
    message = for_client(call.message, copy_content(call.message.content))
    started_s, start = now_s(), tick_s()
    reply, error = None, ""
    context = seeded_context(call, setting)
    notes = Notes()
    with _this_directory(), listening(notes):
        try:
            reply = app(message=message, context=context)
        except (Exception, SystemExit) as raised:  # noqa: BLE001  # an app may do anything
            error = failure_tail(raised)
    duration_s = tick_s() - start
    return ClientOutcome(
        message_id=call.message.metadata.message_id,
        reply=reply,
        state=None if error else context.state,
        error=error,
        started_s=started_s,
        duration_s=duration_s,
        digest=arrays_digest(reply) if reply else "",
        logged=notes.facts,
    )


@contextmanager
def _this_directory() -> Generator[None]:
    """Come back from wherever the client went."""
    before = os.getcwd()  # noqa: PTH109  # a path object costs more than a small client
    try:
        yield
    finally:
        if os.getcwd() != before:  # noqa: PTH109  # as above
            os.chdir(before)
