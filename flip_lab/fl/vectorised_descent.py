"""One parameter of many clients, and the descent that moves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch

from flip_lab.fl.training import LocalTraining

State: TypeAlias = Mapping[str, torch.Tensor]
Gradient: TypeAlias = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
"""A gradient of shape ``(num_clients, …)``, or two factors whose batched product it is."""


class StackedParameter:
    """One parameter of many clients.

    The steps are those of ``training.train``: momentum, weight decay and FedProx's pull
    towards the start. A gradient that comes as two factors is subtracted where the values
    are, in the one product.

    Args:
        start: The value that all clients begin with.
        num_clients: How many clients train together.
        settings: The step's numbers.
    """

    def __init__(
        self, start: torch.Tensor, num_clients: int, settings: LocalTraining
    ) -> None:
        """Share the start until the first step parts the clients."""
        self.start = start
        self.is_shared = True
        self._settings = settings
        self._value = start.expand(num_clients, *start.shape)
        self._velocity: torch.Tensor | None = None

    def of(self, num_clients: int) -> torch.Tensor:
        """Give the values of the first clients, shape ``(num_clients, …)``."""
        return self._value[:num_clients]

    def descend(self, gradient: Gradient) -> None:
        """Move the first clients one step down their gradients; the others rest."""
        settings, rate = self._settings, self._settings.learning_rate
        decay = settings.weight_decay + settings.proximal_mu
        if self.is_shared:  # every client takes the first step
            self._value, self.is_shared = self._value.clone(), False
        value = self._value[
            : len(gradient[0]) if isinstance(gradient, tuple) else len(gradient)
        ]
        if not settings.momentum:
            _add(value, gradient, keep=1.0 - rate * decay, rate=-rate)
            if settings.proximal_mu:
                value.add_(self.start, alpha=rate * settings.proximal_mu)
            return
        if self._velocity is None:
            self._velocity = torch.zeros_like(value)
        velocity = self._velocity[: len(value)]
        _add(velocity, gradient, keep=settings.momentum, rate=1.0)
        if decay:
            velocity.add_(value, alpha=decay)
        if settings.proximal_mu:
            velocity.sub_(self.start, alpha=settings.proximal_mu)
        value.sub_(velocity, alpha=rate)


def _add(target: torch.Tensor, gradient: Gradient, *, keep: float, rate: float) -> None:
    """Set the target to ``keep`` of itself plus ``rate`` times the gradient, in place."""
    if isinstance(gradient, tuple):
        target.baddbmm_(*gradient, beta=keep, alpha=rate)
        return
    if keep != 1.0:
        target.mul_(keep)
    target.add_(gradient, alpha=rate)
