"""Many clients trained at once, each to the weights that its own loop would give.

There are three ways: one client after the other (the loop itself), all layers stacked
(``vectorised_layers``), and ``torch.func.vmap`` over any other model. Which is the fastest
depends on model, machine and cohort; ``choice`` measures it.

Compiling the stacked way (``torch.compile``) does not pay: of a logistic regression's
0.1 ms a client it saves a tenth, and each worker spends 2.3 s of processor time on loading
the compiler, also when the code lies ready in its cache on disk.

Stacked and mapped sums are taken in another order than in the loop, so weights differ in
the last bits: by some 1e-7 after a round of small models. Where a number lies within that
of a kink (of ReLU or of pooling) the two may take different sides of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from flip_lab.fl.training import LocalTraining, one_thread, train
from flip_lab.fl.vectorised_batches import Batch, ClientData, batches_of
from flip_lab.fl.vectorised_bottom import BottomLinear
from flip_lab.fl.vectorised_chain import (
    Chain,
    chain_of,
    has_free_parameters_only,
    stack_layers,
)
from flip_lab.fl.vectorised_descent import StackedParameter, State
from flip_lab.fl.vectorised_layers import NotStackableError, StackedLayer

_CHUNK_BYTES = {"cpu": 12 * 2**20, "cuda": 2**30}  # of weights: what a core's cache holds
Parameters: TypeAlias = Mapping[str, StackedParameter]
Step: TypeAlias = Callable[[Batch], torch.Tensor]
"""Moves the parameters of the clients at work, and gives the mean loss of each."""

_LARGEST_CHUNK = 64  # clients; more gain nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What training gave for one client.

    Attributes:
        state: The weights, named and ordered as in ``state_dict()``.
        train_loss: Mean cross-entropy, as ``training.train`` reports it.
    """

    state: State
    train_loss: float


class Way(Protocol):
    """One way to train clients from the same start."""

    def __call__(
        self,
        model: nn.Module,
        start: State,
        clients: Sequence[ClientData],
        settings: LocalTraining,
    ) -> list[Trained]:
        """Train; results in the order of the clients.

        Args:
            model: Of the structure that they all have; its weights may change.
            start: The weights that all begin with; not changed.
            clients: What each trains on; their generators move on.
            settings: Epochs, batch size and the step's numbers.
        """
        ...


def train_in_turn(
    model: nn.Module, start: State, clients: Sequence[ClientData], settings: LocalTraining
) -> list[Trained]:
    """Train one client after the other: the loop that every other way is held against."""
    results: list[Trained] = []
    for client in clients:
        model.load_state_dict(start)
        loss = train(
            model,
            client.features,
            client.labels,
            settings=settings,
            generator=client.generator,
        )
        state = {name: value.clone() for name, value in model.state_dict().items()}
        results.append(Trained(state=state, train_loss=loss))
    return results


def train_stacked(
    model: nn.Module, start: State, clients: Sequence[ClientData], settings: LocalTraining
) -> list[Trained]:
    """Train a chain of known layers, with one operation for all clients.

    Raises:
        NotStackableError: If the model is no chain of known layers.
    """
    chain = _CHAINS.get(model)
    if chain is None:
        chain = _CHAINS[model] = chain_of(model)

    def prepare(parameters: Parameters) -> Step:
        return partial(_stacked_step, stack_layers(chain, parameters))

    return _train_together(prepare, start, clients, settings)


def train_mapped(
    model: nn.Module, start: State, clients: Sequence[ClientData], settings: LocalTraining
) -> list[Trained]:
    """Train any model that ``torch.func.vmap`` understands.

    Loads torch's compiler, once in a process, which takes seconds.

    Raises:
        NotStackableError: If the model has buffers, or parameters that are tied or fixed.
    """
    if not has_free_parameters_only(model):
        raise NotStackableError
    model.train()

    def loss(
        values: State, features: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor
    ) -> torch.Tensor:
        scores = functional_call(model, dict(values), (features,))
        return (functional.cross_entropy(scores, labels, reduction="none") * shares).sum()

    slope = vmap(grad_and_value(loss))

    def prepare(parameters: Parameters) -> Step:
        return partial(_mapped_step, slope, parameters)

    return _train_together(prepare, start, clients, settings)


@one_thread()
@torch.no_grad()
def _train_together(
    prepare: Callable[[Parameters], Step],
    start: State,
    clients: Sequence[ClientData],
    settings: LocalTraining,
) -> list[Trained]:
    """Train as many clients at a time as the cache holds, those of like size together."""
    device = compute_device()
    here = {name: value.to(device) for name, value in start.items()}
    order = sorted(range(len(clients)), key=lambda i: -clients[i].num_steps(settings))
    size = chunk_size(start, len(clients), settings, device)
    results: dict[int, Trained] = {}
    for first in range(0, len(order), size):
        places = order[first : first + size]
        members = [clients[place] for place in places]
        parameters = {
            name: StackedParameter(value, len(members), settings)
            for name, value in here.items()
        }
        losses = _take_steps(prepare(parameters), members, settings, device)
        values = {
            name: each.of(len(members)).to("cpu") for name, each in parameters.items()
        }
        rows = {name: value.unbind() for name, value in values.items()}
        for row, place in enumerate(places):
            state = {name: each[row] for name, each in rows.items()}
            results[place] = Trained(state=state, train_loss=losses[row])
    return [results[place] for place in range(len(clients))]


def _take_steps(
    step: Step,
    clients: Sequence[ClientData],
    settings: LocalTraining,
    device: torch.device,
) -> list[float]:
    """Take all steps and give each client's mean loss over all of its examples."""
    losses: list[torch.Tensor] = []
    sizes: list[tuple[int, ...]] = []
    for batch in batches_of(clients, settings, device):
        losses.append(step(batch))
        sizes.append(batch.sizes)
    totals = [0.0] * len(clients)
    for own, size in zip(losses, sizes, strict=True):  # read at the end, as in the loop
        for row, (loss, count) in enumerate(zip(own.cpu().numpy(), size, strict=True)):
            totals[row] += float(loss) * count
    return [
        total / (settings.local_epochs * len(client.labels))
        for total, client in zip(totals, clients, strict=True)
    ]


def compute_device() -> torch.device:
    """Say where groups are trained: on a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chunk_size(
    start: State, num_clients: int, settings: LocalTraining, device: torch.device
) -> int:
    """Say how many clients to train at a time: even parts, each within the cache.

    Returns:
        From 1 to ``num_clients``.
    """
    own = sum(value.nbytes for value in start.values()) * (2 if settings.momentum else 1)
    most = max(min(_CHUNK_BYTES[device.type] // max(own, 1), _LARGEST_CHUNK), 1)
    return -(-num_clients // -(-num_clients // most))


def _stacked_step(layers: Sequence[StackedLayer], batch: Batch) -> torch.Tensor:
    """Take one step with the layers' own gradients; give each client's mean loss."""
    lowest, *upper = layers
    if isinstance(lowest, BottomLinear):
        values = lowest.forward_batch(batch)
    else:
        values = lowest.forward(batch.features)
    for layer in upper:
        values = layer.forward(values)
    if values.dim() != batch.labels.dim() + 1:
        raise NotStackableError
    chances = torch.log_softmax(values, dim=-1)
    at_label = batch.labels.unsqueeze(-1)
    losses = -(chances.gather(-1, at_label).squeeze(-1) * batch.shares).sum(1)
    # The cross-entropy's gradient: what the model gave each class, less the truth.
    gradient = chances.exp_()
    gradient.scatter_add_(-1, at_label, gradient.new_full(at_label.shape, -1.0))
    gradient.mul_(batch.shares.unsqueeze(-1))
    last = next((i for i, layer in enumerate(layers) if layer.has_parameters), 0)
    for depth in reversed(range(last, len(layers))):
        gradient = layers[depth].backward(gradient, through=depth > last)
    return losses


def _mapped_step(
    slope: Callable[..., tuple[State, torch.Tensor]], parameters: Parameters, batch: Batch
) -> torch.Tensor:
    """Take one step with the gradients that torch derives; give each client's mean loss."""
    values = {name: each.of(len(batch.labels)) for name, each in parameters.items()}
    gradients, losses = slope(values, batch.features, batch.labels, batch.shares)
    for name, parameter in parameters.items():
        parameter.descend(gradients[name])
    return losses


_CHAINS: WeakKeyDictionary[nn.Module, Chain] = WeakKeyDictionary()
