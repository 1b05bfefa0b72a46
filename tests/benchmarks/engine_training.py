"""The training that every side does: data, models, and the leanest step that we know.

The step was chosen by measurement (one thread, microseconds a client): autograd without
optimiser objects, one fused update for all parameters. For logistic regression 193
against 330 with ``torch.optim.SGD``; gradients derived by hand take 120, but fit that one
model only, so they are no measure for an engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from engine_workloads import SEED, Model, Workload
from torch import Tensor, nn

_NUM_CLASSES = 62
_NUM_TRAIN = 4_000
_NUM_HELD_OUT = 1_000
_NOISE = 2.5  # so that a few rounds neither fail to learn nor learn all

_WIDTHS: dict[Model, tuple[int, ...]] = {
    "logistic": (784, _NUM_CLASSES),
    "small_mlp": (784, 64, _NUM_CLASSES),
    "large_mlp": (784, 1280, 1024, _NUM_CLASSES),
    "cnn": (512, 150, _NUM_CLASSES),
}


def build_model(model: Model) -> nn.Sequential:
    """Build the model as an ordinary module, for those who need one."""
    layers: list[nn.Module] = []
    if model == "cnn":
        for inputs, outputs in ((1, 16), (16, 32)):
            layers += [nn.Conv2d(inputs, outputs, 5), nn.MaxPool2d(2), nn.ReLU()]
    layers.append(nn.Flatten())
    for inputs, outputs in pairwise(_WIDTHS[model]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@lru_cache
def shapes(model: Model) -> Mapping[str, tuple[int, ...]]:
    """Give the shapes of a model's parameters by name, weight and bias in turn."""
    return {
        name: tuple(value.shape) for name, value in build_model(model).state_dict().items()
    }


def initial_parameters(workload: Workload) -> list[Tensor]:
    """Draw the weights that every side begins with."""
    generator = torch.Generator().manual_seed(SEED)
    parameters: list[Tensor] = []
    for shape in shapes(workload.model).values():
        if len(shape) > 1:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            parameters.append((torch.rand(shape, generator=generator) * 2 - 1) * bound)
        else:
            parameters.append(torch.zeros(shape))
    return parameters


def forward(model: Model, parameters: Sequence[Tensor], images: Tensor) -> Tensor:
    """Give the logits, [batch, 62], of images [batch, 1, 28, 28]."""
    here, parameters = images, list(parameters)
    if model == "cnn":
        for weight, bias in (parameters[:2], parameters[2:4]):
            # relu after pooling gives the same, on a quarter of the elements
            here = F.max_pool2d(F.conv2d(here, weight, bias), 2).relu_()
        parameters = parameters[4:]
    here = here.flatten(1)
    while len(parameters) > 2:
        weight, bias, *parameters = parameters
        here = F.linear(here, weight, bias).relu_()
    return F.linear(here, *parameters)


@lru_cache(1)
def _examples() -> tuple[Tensor, Tensor]:
    """Make images that can be learnt: a smooth prototype for each class, and noise."""
    generator = torch.Generator().manual_seed(SEED)
    count = _NUM_TRAIN + _NUM_HELD_OUT
    labels = torch.randint(_NUM_CLASSES, (count,), generator=generator)
    coarse = torch.randn(_NUM_CLASSES, 1, 7, 7, generator=generator)
    prototypes = F.interpolate(coarse, size=28, mode="bilinear")
    noise = torch.randn(count, 1, 28, 28, generator=generator)
    return prototypes[labels] + _NOISE * noise, labels


def load_partition(partition_id: int, num_examples: int) -> tuple[Tensor, Tensor]:
    """Give one node's images and labels; partitions overlap when there are many."""
    images, labels = _examples()
    start = (partition_id * 37) % (_NUM_TRAIN - num_examples)
    return images[start : start + num_examples], labels[start : start + num_examples]


def train_client(
    workload: Workload, parameters: Sequence[Tensor], partition_id: int
) -> float:
    """Train one client for one epoch, in place.

    Args:
        workload: What is trained, and how.
        parameters: Leaves of the graph that ask for gradients.
        partition_id: Whose data.

    Returns:
        The mean loss over the batches.
    """
    images, labels = load_partition(partition_id, workload.num_examples)
    values = [parameter.detach() for parameter in parameters]
    update: Any = vars(torch)["_foreach_add_"]  # not public; torch's optimisers use it
    size, total = workload.batch_size, 0.0
    for batch, wanted in zip(images.split(size), labels.split(size), strict=True):
        loss = F.cross_entropy(forward(workload.model, parameters, batch), wanted)
        gradients = torch.autograd.grad(loss, parameters)
        update(values, gradients, alpha=-workload.rate)
        total += loss.item()
    return total * size / len(images)


@torch.no_grad()
def accuracy(workload: Workload, parameters: Sequence[Tensor]) -> float:
    """Give the share of held-out images that a model gets right, 0 to 1."""
    images, labels = _examples()
    logits = forward(workload.model, parameters, images[_NUM_TRAIN:])
    return float((logits.argmax(1) == labels[_NUM_TRAIN:]).double().mean())


ReadModel = Callable[[], Sequence[Tensor]]
"""Gives the model as it is now; called only outside of what is timed."""
