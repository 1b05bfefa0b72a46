"""Which way to train a group of clients: the one that measured fastest in this process.

The first group of a kind is tried on a few steps: two clients by the loop, the group by
the other way. A way is taken only if it is clearly faster and gives the loop's weights;
what the trial trained is thrown away. So the choice changes the time, and numbers by no
more than their last bits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from logging import getLogger
from typing import Literal, TypeAlias

import torch
from torch import nn

from flip_lab.core.clock import busy_s
from flip_lab.fl.training import LocalTraining
from flip_lab.fl.vectorised import (
    Trained,
    Way,
    chunk_size,
    compute_device,
    train_in_turn,
    train_mapped,
    train_stacked,
)
from flip_lab.fl.vectorised_batches import ClientData
from flip_lab.fl.vectorised_descent import State
from flip_lab.fl.vectorised_layers import NotStackableError

WayName: TypeAlias = Literal["in_turn", "stacked", "mapped"]

WAYS: Mapping[WayName, Way] = {
    "in_turn": train_in_turn,
    "stacked": train_stacked,
    "mapped": train_mapped,
}

_LOG = getLogger(__name__)
_TRIAL_BATCHES = 3
_TRIAL_CLIENTS = 2  # that the loop trains in a trial
_TRIAL_RUNS = 3
_CLEARLY = 0.9  # of the loop's time; less than that is noise
_STRIKES = 3  # errors in a trial, which one client's data may cause
_PATIENCE_S = 5.0  # of training by the loop, before torch's compiler is loaded for a trial
_LEAST_RATE = 0.01  # learning rate of a trial; with none, wrong weights would go unseen


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedGroup:
    """What training a group gave.

    Attributes:
        clients: One for each client, in their order.
        way: How they were trained.
    """

    clients: list[Trained]
    way: WayName


@dataclass(kw_only=True)
class _Experience:
    """What is known of one kind of group.

    Attributes:
        way: The best way so far.
        untried: Ways still to try, in order.
        strikes: How often a trial of the first of them raised an error.
        step_s: Seconds of one client's step in the loop; 0 before the first trial.
        spent_s: Seconds that the loop has taken since, about.
    """

    way: WayName = "in_turn"
    untried: list[WayName] = field(default_factory=lambda: ["stacked", "mapped"])
    strikes: int = 0
    step_s: float = 0.0
    spent_s: float = 0.0

    def is_worth_a_trial(self) -> bool:
        """Say whether another way should be tried now."""
        if self.way != "in_turn" or not self.untried:
            return False
        return self.untried[0] != "mapped" or self.spent_s >= _PATIENCE_S


_EXPERIENCE: dict[Hashable, _Experience] = {}


def train_many(
    model: nn.Module, start: State, clients: Sequence[ClientData], settings: LocalTraining
) -> TrainedGroup:
    """Train clients from the same start, in the way that is fastest here.

    Args:
        model: Of the structure that they all have; its weights may change.
        start: The weights that all begin with, by the names of ``state_dict()``.
        clients: What each trains on; their generators move on as in the loop.
        settings: Epochs, batch size and the step's numbers.

    Returns:
        Weights and losses, within float32's rounding of ``training.train`` on each.
    """
    way: WayName = "in_turn"
    if not is_left_to_loop(model, start, clients[0], len(clients), settings):
        way = choose_way(model, start, clients, settings)
    return TrainedGroup(clients=WAYS[way](model, start, clients, settings), way=way)


def choose_way(
    model: nn.Module, start: State, clients: Sequence[ClientData], settings: LocalTraining
) -> WayName:
    """Say how such a group is trained fastest; may try a way on some of its steps.

    The generators of the clients stay where they are, and torch's global one, too.
    """
    size = chunk_size(start, len(clients), settings, compute_device())
    if size < _TRIAL_CLIENTS:
        return "in_turn"
    known = _EXPERIENCE.setdefault(_kind(model, clients[0], settings, size), _Experience())
    if known.is_worth_a_trial():
        trial = _Trial(model=model, start=start, clients=clients[:size], settings=settings)
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
            _learn(known, trial)
    return known.way


def is_left_to_loop(
    model: nn.Module,
    start: State,
    first: ClientData,
    num_clients: int,
    settings: LocalTraining,
) -> bool:
    """Say whether ``choose_way`` would say ``"in_turn"``, from the first client alone."""
    size = chunk_size(start, num_clients, settings, compute_device())
    if size < _TRIAL_CLIENTS:
        return True
    known = _EXPERIENCE.get(_kind(model, first, settings, size))
    if known is None or known.way != "in_turn":
        return False
    known.spent_s += known.step_s * first.num_steps(settings) * num_clients
    return not known.is_worth_a_trial()


def _kind(
    model: nn.Module, client: ClientData, settings: LocalTraining, size: int
) -> Hashable:
    """Name what the fastest way depends on."""
    return (
        type(model),
        repr(model),
        client.features.shape[1:],
        min(client.num_steps(settings), _TRIAL_BATCHES),
        settings.batch_size,
        settings.momentum > 0,
        size.bit_length(),
        compute_device().type,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A few steps of some clients, of unequal size: filled-up batches are tried, too.

    Attributes:
        model: Of the structure that they all have.
        start: The weights that all begin with.
        clients: Those of which some examples are taken.
        settings: What they are asked to do.
    """

    model: nn.Module
    start: State
    clients: Sequence[ClientData]
    settings: LocalTraining

    def run(self, way: Way, num_clients: int) -> tuple[list[Trained], float]:
        """Train some clients three times; give the weights and a client's least seconds."""
        settings = replace(
            self.settings,
            local_epochs=1,
            learning_rate=max(self.settings.learning_rate, _LEAST_RATE),
        )
        seconds: list[float] = []
        trained: list[Trained] = []
        for _ in range(_TRIAL_RUNS):
            clients = [self._sample(place) for place in range(num_clients)]
            begun = busy_s()
            trained = way(self.model, self.start, clients, settings)
            seconds.append((busy_s() - begun) / num_clients)
        return trained, min(seconds)

    def _sample(self, place: int) -> ClientData:
        client = self.clients[place]
        most = min(_TRIAL_BATCHES * self.settings.batch_size, len(client.labels))
        count = max(most - place % 2, 1)
        return ClientData(
            features=client.features[:count],
            labels=client.labels[:count],
            generator=client.generator.clone_state(),
        )

    def num_steps(self) -> int:
        """Count the steps that the loop takes for one client of the trial."""
        return min(self.clients[0].num_steps(self.settings), _TRIAL_BATCHES)


def _learn(known: _Experience, trial: _Trial) -> None:
    """Try the next way and keep what came of it.

    Errors of the loop itself are raised: they say nothing about the way.
    """
    name = known.untried[0]
    expected, loop_s = trial.run(train_in_turn, _TRIAL_CLIENTS)
    known.step_s = loop_s / trial.num_steps()
    try:
        found, way_s = trial.run(WAYS[name], len(trial.clients))
    except Exception as error:  # noqa: BLE001  # a model may do anything; the loop remains
        known.strikes += 1
        if isinstance(error, NotStackableError) or known.strikes == _STRIKES:
            known.untried, known.strikes = known.untried[1:], 0
        _LOG.debug("clients cannot be trained %s: %r", name, error)
        return
    known.untried = []
    if way_s < _CLEARLY * loop_s and _agree(found, expected):
        known.way = name
    _LOG.debug("%s takes %.2f of the loop's time", name, way_s / loop_s)


def _agree(found: Sequence[Trained], expected: Sequence[Trained]) -> bool:
    """Say whether the first clients have the weights that the loop gave them."""
    return all(
        torch.allclose(ours.state[name], value, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(found, expected, strict=False)
        for name, value in theirs.state.items()
    )
