"""Small models by name, built from the shape of one example and the number of classes.

torch is imported when a model is built: who only checks a scenario does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Annotated, TypeAlias

from annotated_types import Ge

from flip_lab.core.errors import InvalidValueError
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import Scenario
from flip_lab.core.seeds import Stream
from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.validation import read_options

if TYPE_CHECKING:
    from torch import nn

Shape: TypeAlias = tuple[int, ...]

_SMALLEST_SIDE = 4  # pixels; two poolings leave one

MODELS: Registry[Callable[..., nn.Module]] = Registry("model", "flip_lab.models")


def build_model(scenario: Scenario, dataset: Dataset) -> nn.Module:
    """Build the scenario's model with its initial weights.

    The weights depend on the scenario alone: every process builds the same model, and
    torch's global generator is left as it was.

    Raises:
        UnknownNameError: If there is no such model.
        UnknownKeyError: If it has no such option.
        InvalidValueError: If an option is out of range, or the data has another shape
            than the model needs.
    """
    import torch

    build = MODELS.get(scenario.model.name)
    options = read_options(build, scenario.model.options, prefix="model.options.")
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        torch.manual_seed(Stream(seed=scenario.seed, phase="model").integer())  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
        return build(dataset.shape, dataset.num_classes, **options)


@MODELS.add("logistic")
def logistic(shape: Shape, num_classes: int) -> nn.Module:
    """Build a logistic regression: one linear layer over the flattened example."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), num_classes))


@MODELS.add("mlp")
def mlp(shape: Shape, num_classes: int, *, hidden: Annotated[int, Ge(1)] = 64) -> nn.Module:
    """Build a perceptron with one hidden layer of ReLU units.

    Args:
        shape: Shape of one example.
        num_classes: Number of outputs.
        hidden: Number of hidden units.
    """
    from torch import nn

    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_classes),
    )


@MODELS.add("cnn")
def cnn(
    shape: Shape, num_classes: int, *, channels: Annotated[int, Ge(1)] = 8
) -> nn.Module:
    """Build two 3 × 3 convolutions, each followed by ReLU and pooling, and a linear layer.

    Args:
        shape: Shape of one image, ``(channels, height, width)``, at least 4 × 4 pixels.
        num_classes: Number of outputs.
        channels: Filters of the first convolution; the second has twice as many.

    Raises:
        InvalidValueError: If the examples are no images of at least 4 × 4 pixels.
    """
    from torch import nn

    if (
        len(shape) != len(("channels", "height", "width"))
        or min(shape[1:]) < _SMALLEST_SIDE
    ):
        raise InvalidValueError(
            f"The model 'cnn' needs images of at least 4 × 4 pixels; one example has the "
            f"shape {shape}.",
            fix="Set model.name to 'mlp' or 'logistic', or choose a data set of images.",
        )
    height, width = shape[1] // 4, shape[2] // 4
    return nn.Sequential(
        nn.Conv2d(shape[0], channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * height * width, num_classes),
    )
