"""One parameter of many clients, and the descent that moves it.

Writing the weights of every client at every step is most of the work where models are
small. So a gradient comes as the two factors that it is the product of, and is subtracted
where the weights are, in that one product; and at the bottom of a model, where the inputs
do not depend on the weights, the products wait until somebody asks for the weights: they
are written once then. Until then a layer computes with the factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch

from flip_lab.fl.training import LocalTraining

State: TypeAlias = Mapping[str, torch.Tensor]
Factors: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Gradient: TypeAlias = torch.Tensor | Factors
"""A gradient of shape ``(num_clients, …)``, or two factors whose batched product it is."""


class StackedParameter:
    """One parameter of many clients.

    The steps are those of ``training.train``: momentum, weight decay and FedProx's pull
    towards the start.

    Args:
        start: The value that all clients begin with.
        num_clients: How many clients train together.
        settings: The step's numbers.

    Attributes:
        start: The same.
        rate: The learning rate.
        is_shared: Whether every client's value is the start.
    """

    def __init__(
        self, start: torch.Tensor, num_clients: int, settings: LocalTraining
    ) -> None:
        """Share the start until the clients part."""
        self.start = start
        self.rate = settings.learning_rate
        self.is_shared = True
        self._waiting: Factors | None = None
        self._settings = settings
        self._value = start.expand(num_clients, *start.shape)
        self._velocity: torch.Tensor | None = None

    def of(self, num_clients: int) -> torch.Tensor:
        """Give the values of the first clients, shape ``(num_clients, …)``."""
        if self._waiting is not None:
            self._part()
        return self._value[:num_clients]

    def descend(self, gradient: Gradient) -> None:
        """Move the first clients one step down their gradients; the others rest."""
        settings, rate = self._settings, self._settings.learning_rate
        if self.is_shared:
            self._part()
        rows = gradient[0] if isinstance(gradient, tuple) else gradient
        value = self._value[: len(rows)]
        pull = value - self.start if settings.proximal_mu else None
        if not settings.momentum:
            _add(value, gradient, keep=1.0 - rate * settings.weight_decay, rate=-rate)
            if pull is not None:
                value.sub_(pull, alpha=rate * settings.proximal_mu)
            return
        if self._velocity is None:  # every client takes the first step
            self._velocity = torch.zeros_like(value)
        velocity = self._velocity[: len(value)]
        _add(velocity, gradient, keep=settings.momentum, rate=1.0)
        if settings.weight_decay:
            velocity.add_(value, alpha=settings.weight_decay)
        if pull is not None:
            velocity.add_(pull, alpha=settings.proximal_mu)
        value.sub_(velocity, alpha=rate)

    def can_wait(self) -> bool:
        """Say whether the next steps may be added up and written later.

        Momentum, weight decay and pull would change what waits; their steps are written.
        """
        settings = self._settings
        changes = settings.momentum or settings.weight_decay or settings.proximal_mu
        return self.is_shared and not changes

    def wait(self, steps: Factors) -> None:
        """Add this product of two factors, as they will be, when values are asked for.

        Args:
            steps: Shapes ``(num_clients, outputs, rows)`` and ``(num_clients, rows,
                inputs)``; the learning rate is in them.
        """
        self.is_shared, self._waiting = False, steps

    def _part(self) -> None:
        """Write the clients' values."""
        self.is_shared, steps, self._waiting = False, self._waiting, None
        if steps is None:
            self._value = self._value.clone()
        else:
            self._value = torch.baddbmm(self._value, *steps)


def _add(target: torch.Tensor, gradient: Gradient, *, keep: float, rate: float) -> None:
    """Set the target to ``keep`` of itself plus ``rate`` times the gradient, in place."""
    if isinstance(gradient, tuple):
        target.baddbmm_(*gradient, beta=keep, alpha=rate)
        return
    if keep != 1.0:
        target.mul_(keep)
    target.add_(gradient, alpha=rate)
