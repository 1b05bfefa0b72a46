"""Carries out the client calls of a batch together, where clients are declared as data.

What cannot go together goes one by one, as on every other engine: other phases, other
apps, and any group in which something went wrong, so that an error hits only its client.
Groups are trained in pieces, as many clients as fit a core's cache: those of a piece start
together, and the gate is looked at before each one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import TypeAlias

from flwr.app import Context
from flwr.clientapp import ClientApp

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.listening import Notes, listening
from flip_lab.engines.clients import (
    ClientCall,
    ClientOutcome,
    ClientSetting,
    call_client,
    run_config_of,
    seeded_context,
)
from flip_lab.engines.flower.handlers import answer_at_once, answers_alone
from flip_lab.engines.flower.messages import arrays_digest
from flip_lab.engines.gate import Gate
from flip_lab.fl.choice import WAYS, choose_way, is_left_to_loop
from flip_lab.fl.declared import (
    ClientDeclaration,
    borrowed_model,
    declaration_of,
    read_order,
    received_state,
    train_metrics,
)
from flip_lab.fl.vectorised import Trained, chunk_size, compute_device
from flip_lab.fl.vectorised_batches import ClientData

_LOG = getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    """One client of a group.

    Attributes:
        call: What it was asked.
        context: Its Context, for the state that it leaves.
        data: What it trains on.
        notes: What the app's code logged while it loaded that.
    """

    call: ClientCall
    context: Context
    data: ClientData
    notes: Notes


_Piece: TypeAlias = list[tuple[_Member, Trained, int]]
"""Clients that were trained together, what came of each, and the steps it took."""


def carry_out_together(
    app: ClientApp, calls: Sequence[ClientCall], setting: ClientSetting, gate: Gate
) -> Iterator[ClientOutcome]:
    """Carry out client calls, those that train what is declared together.

    Args:
        app: The ClientApp.
        calls: The calls; those of one round share one content object. This process has
            called ``install_fast_arrays``.
        setting: What is the same for the whole run.
        gate: Once it is found closed, no more calls are begun.

    Yields:
        One outcome for each call that was begun, as ``call_client`` would give it; trained
        weights may differ in float32's last bits.
    """
    look = _Look(gate)
    left = {call.message.metadata.message_id: call for call in calls}
    declaration = declaration_of(app)
    if declaration is not None and answers_alone(app):
        for group in _groups(calls):
            for outcome in _outcomes(_Group(declaration, group, setting, look)):
                del left[outcome.message_id]
                yield outcome
    for call in left.values():
        if not look.may_begin():
            return
        yield call_client(app, call, setting)


class _Look:
    """A batch's look at the gate: closed once is closed for all that is left of it.

    Otherwise a short pause would leave to the loop what is faster together.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._was_closed = False

    def may_begin(self) -> bool:
        self._was_closed = self._was_closed or not self._gate.is_open
        return not self._was_closed


def _groups(calls: Sequence[ClientCall]) -> list[list[ClientCall]]:
    """Find the train calls that share their content: the same weights and settings.

    They were sent together, so they see the same run configuration.
    """
    groups: dict[int, list[ClientCall]] = {}
    for call in calls:
        if call.message.metadata.message_type == "train":
            groups.setdefault(id(call.message.content), []).append(call)
    return [group for group in groups.values() if len(group) > 1]


def _outcomes(group: _Group) -> Iterator[ClientOutcome]:
    """Train a group, as far as that pays and works; what is missing goes one by one."""
    started_s, start = now_s(), tick_s()
    try:
        for piece in group.pieces():
            step_s = (tick_s() - start) / max(sum(steps for _, _, steps in piece), 1)
            for member, result, steps in piece:
                yield _outcome(member, result, started_s, step_s * steps)
                started_s += step_s * steps  # a worker's bars do not overlap
            started_s, start = now_s(), tick_s()
    except (Exception, SystemExit):  # noqa: BLE001  # an app may do anything; the loop tells
        _LOG.debug("clients are trained one by one", exc_info=True)


class _Group:
    """Clients that start from the same weights with the same settings."""

    def __init__(
        self,
        declaration: ClientDeclaration,
        calls: Sequence[ClientCall],
        setting: ClientSetting,
        look: _Look,
    ) -> None:
        self._declaration, self._calls, self._setting = declaration, calls, setting
        self._look = look
        self._directory = os.getcwd()  # noqa: PTH109  # a path object costs more

    def pieces(self) -> Iterator[_Piece]:
        """Train those that can be trained together, if that is faster than the loop.

        The pieces are those that ``fl.vectorised`` would make of the whole group.
        """
        message = self._calls[0].message
        settings, server_round = read_order(self._declaration, message)
        start = received_state(message)
        run_config = run_config_of(self._calls[0], self._setting)
        with borrowed_model(self._declaration.build_model, run_config) as model:
            members: list[_Member] = []
            for member in self._members(server_round):
                if not members and is_left_to_loop(
                    model, start, member.data, len(self._calls), settings
                ):
                    return  # before everybody's data are loaded, to be loaded again
                members.append(member)
            data = [member.data for member in members]
            way = choose_way(model, start, data, settings) if data else "in_turn"
            if way == "in_turn":
                return
            members.sort(key=lambda member: -member.data.num_steps(settings))
            size = chunk_size(start, len(members), settings, compute_device())
            for first in range(0, len(members), size):
                if not self._look.may_begin():
                    return
                piece = members[first : first + size]
                data = [member.data for member in piece]
                trained = WAYS[way](model, start, data, settings)
                steps = [each.num_steps(settings) for each in data]
                yield list(zip(piece, trained, steps, strict=True))

    def _members(self, server_round: int) -> Iterator[_Member]:
        """Load what the clients train on; those where this fails are left to the loop."""
        shape: tuple[int, ...] | None = None
        for call in self._calls:
            if not self._look.may_begin():
                return
            context, notes = seeded_context(call, self._setting), Notes()
            try:
                with listening(notes):
                    features, labels = self._declaration.load_train_data(context)
                    generator = self._declaration.generator_for(context, server_round)
            except (Exception, SystemExit):  # noqa: BLE001  # as above
                _LOG.debug("partition %d goes alone", call.partition_id, exc_info=True)
                continue
            finally:
                if os.getcwd() != self._directory:  # noqa: PTH109  # as above
                    os.chdir(self._directory)
            shape = shape or features.shape[1:]
            if len(labels) and len(labels) == len(features) and features.shape[1:] == shape:
                data = ClientData(features=features, labels=labels, generator=generator)
                yield _Member(call=call, context=context, data=data, notes=notes)


def _outcome(
    member: _Member, result: Trained, started_s: float, duration_s: float
) -> ClientOutcome:
    message = member.call.message
    arrays = {name: value.numpy() for name, value in result.state.items()}
    metrics = train_metrics(result.train_loss, len(member.data.labels))
    reply = answer_at_once(message, arrays, metrics)
    return ClientOutcome(
        message_id=message.metadata.message_id,
        reply=reply,
        state=member.context.state,
        error="",
        started_s=started_s,
        duration_s=duration_s,
        digest=arrays_digest(reply),
        logged=member.notes.facts,
    )
