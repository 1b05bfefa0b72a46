"""The batches of many clients side by side: the same examples as each client's own loop.

Clients of unequal size take part for as many steps as they have: they are sorted by their
number of steps, so those still at work are always the first. A smaller last batch is filled
up with an example that counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.training import LocalTraining

_WINDOW_BYTES = 32 * 2**20  # examples laid out at a time; bounds memory for large clients


@dataclass(frozen=True, kw_only=True, eq=False)
class ClientData:
    """What one client trains on, and in which order.

    Attributes:
        features: Shape ``(num_examples, …)``, without NaN; at least one example.
        labels: Shape ``(num_examples,)``, 0-based.
        generator: Draws the order of the examples, as in ``training.train``.
    """

    features: Features
    labels: Labels
    generator: torch.Generator

    def num_steps(self, settings: LocalTraining) -> int:
        """Count the steps of gradient descent that this client takes."""
        return settings.local_epochs * -(-len(self.labels) // settings.batch_size)

    def batch_sizes(self, settings: LocalTraining) -> list[int]:
        """Count the examples of each step that this client takes."""
        full, rest = divmod(len(self.labels), settings.batch_size)
        epoch = [settings.batch_size] * full + [rest] * (rest > 0)
        return epoch * settings.local_epochs


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step's examples of the clients that are still at work.

    Attributes:
        window: The examples of this and other steps, shape ``(num_clients, width, …)``;
            also of clients that are through with theirs. The same object while it lasts.
        first: Where in the window this step begins.
        labels: Shape ``(num_clients, batch)``.
        shares: What each example counts for in its client's mean loss, shape
            ``(num_clients, batch)``: one over the size of the batch, 0 for filling.
        sizes: Number of examples that count, for each client.
    """

    window: torch.Tensor
    first: int
    labels: torch.Tensor
    shares: torch.Tensor
    sizes: tuple[int, ...]

    @property
    def features(self) -> torch.Tensor:
        """The examples of this step, shape ``(num_clients, batch, …)``."""
        num_clients, width = self.labels.shape
        return self.window[:num_clients, self.first : self.first + width]


def batches_of(
    clients: Sequence[ClientData], settings: LocalTraining, device: torch.device
) -> Iterator[Batch]:
    """Lay out the steps of clients that train together.

    Args:
        clients: Sorted by ``num_steps``, the most first.
        settings: Epochs and batch size.
        device: Where the batches shall be.
    """
    orders = [_padded_order(client, settings) for client in clients]
    inputs = [torch.as_tensor(client.features) for client in clients]
    targets = [torch.as_tensor(client.labels) for client in clients]
    sizes = [client.batch_sizes(settings) for client in clients]
    width, num_laid = settings.batch_size, _window(inputs, settings)
    window, labels = torch.empty(0), torch.empty(0)
    for step in range(len(sizes[0])):
        size = tuple(own[step] for own in sizes if step < len(own))
        first = step % num_laid * width
        if first == 0:
            reach = slice(step * width, (step + num_laid) * width)
            rows = [order[reach] for order in orders[: len(size)]]
            window = _lay_out(inputs, rows).to(device)
            labels = _lay_out(targets, rows).to(device)
        columns = slice(first, first + max(size))
        yield Batch(
            window=window,
            first=first,
            labels=labels[: len(size), columns],
            shares=_shares(size, device),
            sizes=size,
        )


def _window(inputs: Sequence[torch.Tensor], settings: LocalTraining) -> int:
    """Say for how many steps examples are laid out at a time, 1 or more."""
    step_bytes = len(inputs) * settings.batch_size * inputs[0][0].nbytes
    return max(_WINDOW_BYTES // max(step_bytes, 1), 1)


@lru_cache(maxsize=256)  # most steps of most groups are alike
def _shares(sizes: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Weigh the examples of each client's batch, shape ``(num_clients, largest)``."""
    own = torch.tensor(sizes).unsqueeze(1)
    return ((torch.arange(max(sizes)) < own) / own).to(device)


def _padded_order(client: ClientData, settings: LocalTraining) -> torch.Tensor:
    """Draw the order of the examples in all epochs, each filled up to whole batches."""
    num_examples = len(client.labels)
    num_filling = -num_examples % settings.batch_size
    parts: list[torch.Tensor] = []
    for _ in range(settings.local_epochs):
        parts.append(torch.randperm(num_examples, generator=client.generator))
        if num_filling:
            parts.append(torch.zeros(num_filling, dtype=torch.int64))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _lay_out(sources: Sequence[torch.Tensor], rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gather rows side by side; what lies beyond a client's last step is zero."""
    first = sources[0]
    laid = first.new_empty(len(rows), rows[0].shape[0], *first.shape[1:])
    for target, source, wanted in zip(laid.unbind(), sources, rows, strict=False):
        count = wanted.shape[0]
        torch.index_select(source, 0, wanted, out=target[:count])
        if count < len(target):
            target[count:] = 0
    return laid
