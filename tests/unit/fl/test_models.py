"""Models: the same weights from the same scenario, and shapes that fit the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from flip_lab.core.errors import InvalidValueError, UnknownKeyError
from flip_lab.core.scenario import DataSpec, ModelSpec, Scenario
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.models import MODELS, build_model


def make(name: str, dataset: str = "digits", **options: float) -> Scenario:
    """Make a scenario with this model."""
    return Scenario(
        name="m",
        data=DataSpec(dataset=dataset, num_partitions=2),
        model=ModelSpec(name=name, options=options),
    )


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_scores_every_class(name: str) -> None:
    """Any of them takes images of digits and gives ten scores."""
    dataset = load_dataset("digits")
    model = build_model(make(name), dataset)
    assert model(torch.as_tensor(dataset.features[:3])).shape == (3, 10)


def test_weights_depend_on_the_scenarios_seed_alone() -> None:
    """The global generator of torch generator neither decides them nor moves."""
    dataset = load_dataset("digits")
    before = torch.get_rng_state()
    first = build_model(make("mlp"), dataset).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = build_model(make("mlp"), dataset).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = build_model(make("mlp").override({"seed": 1}), dataset).state_dict()
    assert not torch.equal(first["1.weight"], other["1.weight"])


def test_options_size_the_model() -> None:
    """What a scenario says reaches the layers."""
    dataset = load_dataset("digits")
    wide: Any = build_model(make("mlp", hidden=7), dataset)
    assert wide[1].out_features == 7
    deep: Any = build_model(make("cnn", channels=3), dataset)
    assert deep[0].out_channels == 3
    with pytest.raises(UnknownKeyError, match="hiden"):
        build_model(make("mlp", hiden=7), dataset)


@pytest.mark.parametrize("shape", [(32,), (1, 3, 3)])
def test_a_convolution_needs_an_image(shape: tuple[int, ...]) -> None:
    """The message says which models would do."""
    dataset = Dataset(
        title="made",
        features=np.zeros((2, *shape), dtype=np.float32),
        labels=np.zeros(2, dtype=np.int64),
        class_names=("a", "b"),
        attribution="none",
    )
    with pytest.raises(InvalidValueError, match="'mlp' or 'logistic'"):
        build_model(make("cnn"), dataset)
