"""The batches of many clients side by side: the same examples as each client's own loop.

Clients of unequal size take part for as many steps as they have: they are sorted by their
number of steps, so those still at work are always the first. A smaller last batch is filled
up with an example that counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One step's examples of the clients that are still at work.

    Attributes:
        features: Shape ``(num_clients, batch, …)``.
        labels: Shape ``(num_clients, batch)``.
        shares: What each example counts for in its client's mean loss, shape
            ``(num_clients, batch)``: one over the size of the batch, 0 for filling.
        sizes: Examples that count, shape ``(num_clients,)``, float64.
    """

    features: torch.Tensor
    labels: torch.Tensor
    shares: torch.Tensor
    sizes: torch.Tensor


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
    sizes = _sizes(clients, settings)
    width, num_laid = settings.batch_size, _window(inputs, settings)
    features, labels = torch.empty(0), torch.empty(0)
    for step, column in enumerate(sizes.unbind(1)):
        size = column[column > 0]  # the first ones: those still at work
        first = step % num_laid * width
        if first == 0:
            reach = slice(step * width, (step + num_laid) * width)
            rows = [order[reach] for order in orders[: len(size)]]
            features = _lay_out(inputs, rows).to(device)
            labels = _lay_out(targets, rows).to(device)
        columns = slice(first, first + int(size.max()))
        yield Batch(
            features=features[: len(size), columns],
            labels=labels[: len(size), columns],
            shares=_shares(size).to(device),
            sizes=size.to(device),
        )


def _window(inputs: Sequence[torch.Tensor], settings: LocalTraining) -> int:
    """Say for how many steps examples are laid out at a time, 1 or more."""
    step_bytes = len(inputs) * settings.batch_size * inputs[0][0].nbytes
    return max(_WINDOW_BYTES // max(step_bytes, 1), 1)


def _shares(sizes: torch.Tensor) -> torch.Tensor:
    """Weigh the examples of each client's batch, shape ``(num_clients, largest)``."""
    counts = torch.arange(int(sizes.max())) < sizes.unsqueeze(1)
    return (counts / sizes.unsqueeze(1)).to(torch.float32)


def _padded_order(client: ClientData, settings: LocalTraining) -> torch.Tensor:
    """Draw the order of the examples in all epochs, each filled up to whole batches."""
    num_examples = len(client.labels)
    filling = torch.zeros(-num_examples % settings.batch_size, dtype=torch.int64)
    parts: list[torch.Tensor] = []
    for _ in range(settings.local_epochs):
        parts.append(torch.randperm(num_examples, generator=client.generator))
        if len(filling):
            parts.append(filling)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _sizes(clients: Sequence[ClientData], settings: LocalTraining) -> torch.Tensor:
    """Count the examples of each step, shape ``(num_clients, num_steps)``, float64."""
    sizes: dict[int, list[float]] = {}
    for num_examples in {len(client.labels) for client in clients}:
        full, rest = divmod(num_examples, settings.batch_size)
        epoch = [float(settings.batch_size)] * full + [float(rest)] * (rest > 0)
        sizes[num_examples] = epoch * settings.local_epochs
    most = max(map(len, sizes.values()))
    rows = [sizes[len(client.labels)] for client in clients]
    return torch.tensor(
        [row + [0.0] * (most - len(row)) for row in rows], dtype=torch.float64
    )


def _lay_out(sources: Sequence[torch.Tensor], rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gather rows side by side; what lies beyond a client's last step is never read."""
    first = sources[0]
    laid = torch.empty(len(rows), len(rows[0]), *first.shape[1:], dtype=first.dtype)
    for target, source, wanted in zip(laid, sources[: len(rows)], rows, strict=True):
        torch.index_select(source, 0, wanted, out=target[: len(wanted)])
    return laid
