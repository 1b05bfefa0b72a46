"""One client call at a site, the same in the node's own process and in a worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Context, Message, RecordDict

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FlipLabError, NodeLimitError
from flip_lab.core.holding import Holding
from flip_lab.core.listening import Notes, listening
from flip_lab.core.logged import Logged
from flip_lab.core.seeds import Stream
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.messages import phase_of, server_round_of
from flip_lab.engines.seeding import seed_globals
from flip_lab.node.app_shelf import LoadedApps, SiteApp
from flip_lab.node.config import NodeScalar

_LOG = logging.getLogger("flip_lab.node")


@dataclass(frozen=True, kw_only=True)
class SiteCall:
    """One message for the client of a site.

    Attributes:
        app: The app, unpacked.
        message: The message.
        node_id: Flower's id of the node.
        node_config: Flower's node configuration.
        run_config: Flower's run configuration.
        state: What the client remembers of the run.
        seed: The run's seed; ``None`` for runs that FLIP Lab does not drive.
        memory_mb: What the worker may use, for the error when it is not enough.
    """

    app: SiteApp
    message: Message
    node_id: int
    node_config: Mapping[str, NodeScalar]
    run_config: Mapping[str, NodeScalar]
    state: RecordDict
    seed: int | None
    memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class SiteOutcome:
    """What came of a call.

    Attributes:
        reply: The client's reply; ``None`` when it failed.
        state: What the client remembers now; ``None`` when it failed: then it remembers
            what it did before.
        failure: What a researcher may always be told of a failure; empty when well.
        detail: The tail of the traceback, of which the site says how much leaves it.
        started_s: When the client began, seconds since the Unix epoch.
        duration_s: Seconds it took.
        logged: What the client's code logged, by name.
        holding: What the node holds, if the app said so; of a scenario's data, never of
            the site's own.
    """

    reply: Message | None = None
    state: RecordDict | None = None
    failure: str = ""
    detail: str = ""
    started_s: float = 0.0
    duration_s: float = 0.0
    logged: Mapping[str, Logged] = field(default_factory=dict[str, Logged])
    holding: Holding | None = None


def carry_out(call: SiteCall, apps: LoadedApps) -> SiteOutcome:
    """Call the client; never raises what the app raised.

    Args:
        call: The call.
        apps: What this process has imported.
    """
    started_s, start = now_s(), tick_s()
    notes = Notes(wants_holding=True)
    context = _context(call)
    try:
        with apps.use(call.app) as app, listening(notes):
            _seed(call)
            reply = app(message=call.message, context=context)
    except (Exception, SystemExit) as raised:  # noqa: BLE001  # an app may do anything
        _LOG.exception("The client failed.", exc_info=raised)
        return SiteOutcome(
            failure=_told(raised, call),
            detail=failure_tail(raised),
            started_s=started_s,
            duration_s=tick_s() - start,
        )
    if not isinstance(reply, Message):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps err
        return SiteOutcome(failure=f"The client replied with a {type(reply).__name__}.")
    return SiteOutcome(
        reply=reply,
        state=context.state,
        started_s=started_s,
        duration_s=tick_s() - start,
        logged=notes.facts,
        holding=notes.holding,
    )


def _context(call: SiteCall) -> Context:
    return Context(
        run_id=call.message.metadata.run_id,
        node_id=call.node_id,
        node_config=dict(call.node_config),
        state=call.state,
        run_config=dict(call.run_config),
    )


def _seed(call: SiteCall) -> None:
    """Set the global generators as the simulation does, where the run has a seed."""
    partition_id = call.node_config.get("partition-id")
    if call.seed is None or not isinstance(partition_id, int):
        return
    seed_globals(
        Stream(
            seed=call.seed,
            server_round=server_round_of(call.message) or 0,
            node=partition_id,
            phase=phase_of(call.message),
        )
    )


def _told(raised: BaseException, call: SiteCall) -> str:
    """Say what happened in a sentence that holds nothing of the site's data.

    Our own errors are written for the researcher; of others only the kind is told, as
    their texts may quote whatever they met.
    """
    if isinstance(raised, FlipLabError):
        return f"[{raised.code}] {raised.what} Fix: {raised.fix}"
    out_of_memory = isinstance(raised, MemoryError) or "allocate memory" in str(raised)
    if out_of_memory and call.memory_mb:
        return str(too_much_memory(call.memory_mb))
    return f"The client raised {type(raised).__name__}."


def too_much_memory(memory_mb: int) -> NodeLimitError:
    """Say that a client wanted more memory than its site allows."""
    return NodeLimitError(
        f"The client wanted more memory than the {memory_mb} MiB that this site allows.",
        fix="Use smaller batches or a smaller model, or let the site raise memory-mb in "
        "its node.toml.",
    )
