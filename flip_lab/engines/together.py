"""Carries out the client calls of a batch together, where clients are declared as data.

What cannot go together goes one by one, as on every other engine: other phases, other
apps, and any group in which something went wrong, so that an error hits only its client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger

from flwr.app import Context
from flwr.clientapp import ClientApp

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.listening import Notes, listening
from flip_lab.engines.clients import (
    ClientCall,
    ClientOutcome,
    ClientSetting,
    call_client,
    seeded_context,
)
from flip_lab.engines.flower.handlers import answer_at_once, answers_alone
from flip_lab.engines.flower.messages import arrays_digest
from flip_lab.fl.choice import WAYS, choose_way, is_left_to_loop
from flip_lab.fl.declared import (
    ClientDeclaration,
    borrowed_model,
    declaration_of,
    read_order,
    received_state,
    train_metrics,
)
from flip_lab.fl.vectorised import Trained
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


def carry_out_together(
    app: ClientApp, calls: Sequence[ClientCall], setting: ClientSetting
) -> list[ClientOutcome]:
    """Carry out client calls, those that train what is declared together.

    Args:
        app: The ClientApp.
        calls: The calls; those of one round share one content object. This process has
            called ``install_fast_arrays``.
        setting: What is the same for the whole run.

    Returns:
        One outcome for each call, in their order, as ``call_client`` would give it;
        trained weights may differ in float32's last bits.
    """
    declaration = declaration_of(app)
    found: dict[str, ClientOutcome] = {}
    if declaration is not None and answers_alone(app):
        for group in _groups(calls):
            found |= _outcomes(_Group(declaration, group, setting))
    return [
        found.get(call.message.metadata.message_id) or call_client(app, call, setting)
        for call in calls
    ]


def _groups(calls: Sequence[ClientCall]) -> list[list[ClientCall]]:
    """Find the train calls that share their content: the same weights and settings."""
    groups: dict[int, list[ClientCall]] = {}
    for call in calls:
        if call.message.metadata.message_type == "train":
            groups.setdefault(id(call.message.content), []).append(call)
    return [group for group in groups.values() if len(group) > 1]


def _outcomes(group: _Group) -> dict[str, ClientOutcome]:
    """Train a group; nothing if that does not pay or fails.

    Returns:
        Outcomes by message id; calls that are missing are to be carried out one by one.
    """
    started_s, start = now_s(), tick_s()
    try:
        trained = group.train()
    except (Exception, SystemExit):  # noqa: BLE001  # an app may do anything; the loop tells
        _LOG.debug("clients are trained one by one", exc_info=True)
        return {}
    step_s = (tick_s() - start) / max(sum(steps for _, _, steps in trained), 1)
    outcomes: dict[str, ClientOutcome] = {}
    for member, result, steps in trained:
        outcome = _outcome(member, result, started_s, step_s * steps)
        outcomes[outcome.message_id] = outcome
        started_s += step_s * steps  # one after the other: a worker's bars do not overlap
    return outcomes


class _Group:
    """Clients that start from the same weights with the same settings."""

    def __init__(
        self,
        declaration: ClientDeclaration,
        calls: Sequence[ClientCall],
        setting: ClientSetting,
    ) -> None:
        self._declaration, self._calls, self._setting = declaration, calls, setting
        self._directory = os.getcwd()  # noqa: PTH109  # a path object costs more

    def train(self) -> list[tuple[_Member, Trained, int]]:
        """Train those that can be trained together, if that is faster than the loop.

        Returns:
            Members, what came of them, and the steps they took; empty to use the loop.
        """
        message = self._calls[0].message
        settings, server_round = read_order(self._declaration, message)
        start = received_state(message)
        builder = self._declaration.build_model
        with borrowed_model(builder, self._setting.run_config) as model:
            members: list[_Member] = []
            for member in self._members(server_round):
                if not members and is_left_to_loop(
                    model, start, member.data, len(self._calls), settings
                ):
                    return []  # before everybody's data are loaded, to be loaded again
                members.append(member)
            data = [member.data for member in members]
            way = choose_way(model, start, data, settings) if data else "in_turn"
            if way == "in_turn":
                return []
            trained = WAYS[way](model, start, data, settings)
        steps = [each.num_steps(settings) for each in data]
        return list(zip(members, trained, steps, strict=True))

    def _members(self, server_round: int) -> Iterator[_Member]:
        """Load what the clients train on; those where this fails are left to the loop."""
        shape: tuple[int, ...] | None = None
        for call in self._calls:
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
