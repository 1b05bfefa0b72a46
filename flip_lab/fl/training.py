"""Local training and evaluation of one model on one node's data.

Plain stochastic gradient descent on the cross-entropy. Everything here is deterministic:
one thread, and batches in an order drawn from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from flwr.app import ConfigRecord
from torch import nn

from flip_lab.core.scenario import TrainSpec
from flip_lab.fl.data.dataset import Features, Labels

_EVALUATION_BATCH = 1024  # examples; bounds memory, does not change the result


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """What a client is told to do in one round; travels in the train message's config.

    Attributes:
        local_epochs: Passes over the client's own data.
        batch_size: Examples in one step of gradient descent.
        learning_rate: Step size, no unit.
        momentum: Share of the last step that is kept, no unit, below 1.
        weight_decay: L2 penalty, no unit.
        proximal_mu: Weight of FedProx's pull towards the global model, no unit.
    """

    local_epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal_mu: float = 0.0

    @classmethod
    def from_spec(cls, spec: TrainSpec, *, rounds: int = 1) -> LocalTraining:
        """Take the settings of a scenario; ``rounds`` rounds of it in one go."""
        return cls(
            local_epochs=spec.local_epochs * rounds,
            batch_size=spec.batch_size,
            learning_rate=spec.learning_rate,
            momentum=spec.momentum,
            weight_decay=spec.weight_decay,
        )

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, default: LocalTraining | None = None
    ) -> LocalTraining:
        """Read the settings from a message; keys that mean something else are skipped.

        Args:
            config: The message's ``"config"`` record.
            default: What holds where the message says nothing.

        Raises:
            TypeError: If a setting without a default is missing.
        """
        keys = {name: name.replace("_", "-") for name in cls.__dataclass_fields__}
        found = {name: config[key] for name, key in keys.items() if key in config}
        return cls(**found) if default is None else replace(default, **found)

    def to_config(self) -> ConfigRecord:
        """Give the settings as they travel, in Flower's spelling: ``learning-rate``.

        ``proximal-mu`` is left to the strategy, which alone knows it.
        """
        config = {name.replace("_", "-"): value for name, value in vars(self).items()}
        del config["proximal-mu"]
        return ConfigRecord(config)


@contextmanager
def one_thread() -> Generator[None]:
    """Let torch compute with one thread inside the block: the sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def train(
    model: nn.Module,
    features: Features,
    labels: Labels,
    *,
    settings: LocalTraining,
    generator: torch.Generator,
) -> float:
    """Train the model in place.

    Args:
        model: Gives scores of shape ``(batch, num_classes)``.
        features: Shape ``(num_examples, …)``, without NaN.
        labels: Shape ``(num_examples,)``, 0-based.
        settings: Epochs, batch size and the step's numbers.
        generator: Draws the order of the examples.

    Returns:
        Mean cross-entropy over all examples of all steps, each before its step; without
        penalties.

    Source:
        McMahan et al., AISTATS 2017 (arXiv:1602.05629), ``ClientUpdate``; the proximal
        term is that of Li et al., MLSys 2020 (arXiv:1812.06127).
    """
    inputs, targets = torch.as_tensor(features), torch.as_tensor(labels)
    descent = _Descent(model, settings)
    losses: list[torch.Tensor] = []
    sizes: list[int] = []
    model.train()
    for _ in range(settings.local_epochs):
        order = torch.randperm(len(targets), generator=generator)
        for first in range(0, len(order), settings.batch_size):
            rows = order[first : first + settings.batch_size]
            loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
            descent.step(loss)
            losses.append(loss.detach())
            sizes.append(len(rows))
    # Read at the end: on a GPU a reading waits for all that was computed so far.
    total = sum(loss.item() * size for loss, size in zip(losses, sizes, strict=True))
    return total / (settings.local_epochs * len(targets))


@one_thread()
def evaluate(model: nn.Module, features: Features, labels: Labels) -> tuple[float, float]:
    """Evaluate the model.

    Args:
        model: Gives scores of shape ``(batch, num_classes)``.
        features: Shape ``(num_examples, …)``, without NaN.
        labels: Shape ``(num_examples,)``, 0-based.

    Returns:
        Mean cross-entropy, and the share of examples that are classified correctly.
    """
    loss, correct = 0.0, 0
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(labels), _EVALUATION_BATCH):
            rows = slice(start, start + _EVALUATION_BATCH)
            targets = torch.as_tensor(labels[rows])
            scores = model(torch.as_tensor(features[rows]))
            loss += nn.functional.cross_entropy(scores, targets, reduction="sum").item()
            correct += int((scores.argmax(dim=1) == targets).sum())
    return loss / len(labels), correct / len(labels)


class _Descent:
    """Gradient descent with momentum, weight decay and FedProx's proximal term.

    Written out although ``torch.optim.SGD`` takes the same steps, to the bit: the first
    optimiser of a process loads torch's compiler, which takes more than a second.
    """

    def __init__(self, model: nn.Module, settings: LocalTraining) -> None:
        """Remember where the model starts: the proximal term pulls it back there."""
        self._settings = settings
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._start = [
            each.detach().clone() for each in self._parameters if settings.proximal_mu
        ]
        self._steps: list[torch.Tensor] = []

    def step(self, loss: torch.Tensor) -> None:
        """Move every parameter once, down the gradient of the loss."""
        rate = self._settings.learning_rate
        gradients = torch.autograd.grad(loss, self._parameters)
        with torch.no_grad():
            for parameter, step in zip(
                self._parameters, self._kept(self._pulled(gradients)), strict=True
            ):
                parameter.sub_(step, alpha=rate)

    def _pulled(self, gradients: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Add the pulls towards zero and towards the start; what is zero costs nothing."""
        settings = self._settings
        if settings.weight_decay:
            gradients = [
                gradient.add(parameter, alpha=settings.weight_decay)
                for gradient, parameter in zip(gradients, self._parameters, strict=True)
            ]
        if settings.proximal_mu:
            gradients = [
                gradient.add(parameter - start, alpha=settings.proximal_mu)
                for gradient, parameter, start in zip(
                    gradients, self._parameters, self._start, strict=True
                )
            ]
        return gradients

    def _kept(self, directions: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Keep a share of the last steps, where there is momentum."""
        if not self._settings.momentum:
            return directions
        if not self._steps:  # a gradient may be a view that others hold
            self._steps = [direction.clone() for direction in directions]
        else:
            for step, direction in zip(self._steps, directions, strict=True):
                step.mul_(self._settings.momentum).add_(direction)
        return self._steps
