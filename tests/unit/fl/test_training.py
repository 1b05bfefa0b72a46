"""Local training: the steps of textbook SGD, in an order that the generator decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from torch import nn

from flip_lab.core.scenario import TrainSpec
from flip_lab.fl.training import LocalTraining, evaluate, one_thread, train

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 4)).astype(np.float32)
LABELS = (FEATURES[:, 0] > 0).astype(np.int64)
SETTINGS = LocalTraining(local_epochs=3, batch_size=8, learning_rate=0.1)


def make_model() -> nn.Module:
    """Make a small model with known weights."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        for i, weights in enumerate(model.parameters()):
            weights.copy_(
                torch.sin(torch.arange(weights.numel()) + i).reshape(weights.shape)
            )
    return model


def run(model: nn.Module, settings: LocalTraining, seed: int = 3) -> float:
    """Train on the made data."""
    generator = torch.Generator().manual_seed(seed)
    return train(model, FEATURES, LABELS, settings=settings, generator=generator)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_steps_are_those_of_torch_to_the_bit(
    momentum: float, weight_decay: float
) -> None:
    """Our written-out step and ``torch.optim.SGD`` agree exactly."""
    settings = replace(SETTINGS, momentum=momentum, weight_decay=weight_decay)
    ours, theirs = make_model(), make_model()
    run(ours, settings)
    generator = torch.Generator().manual_seed(3)
    optimiser = torch.optim.SGD(
        theirs.parameters(), lr=0.1, momentum=momentum, weight_decay=weight_decay
    )
    with one_thread():
        for _ in range(3):
            for rows in torch.randperm(30, generator=generator).split(8):
                optimiser.zero_grad()
                scores = theirs(torch.as_tensor(FEATURES)[rows])
                nn.functional.cross_entropy(
                    scores, torch.as_tensor(LABELS)[rows]
                ).backward()
                optimiser.step()
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, yours)


def test_the_proximal_term_holds_the_model_where_it_started() -> None:
    """One step by hand: w - lr * (gradient + mu * (w - start))."""
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [0.0]]))
    features, labels = np.ones((1, 1), dtype=np.float32), np.zeros(1, dtype=np.int64)
    settings = LocalTraining(
        local_epochs=2, batch_size=1, learning_rate=1.0, proximal_mu=0.5
    )
    train(model, features, labels, settings=settings, generator=torch.Generator())
    # Step 1: gradient (-0.5, 0.5), no pull yet: w = (0.5, -0.5).
    # Step 2: softmax(0.5, -0.5) = (s, 1 - s), pull 0.5 * w.
    share = 1 / (1 + np.exp(-1.0))
    expected = 0.5 - (share - 1) - 0.5 * 0.5
    assert model.weight[0, 0].item() == pytest.approx(expected, abs=1e-6)
    assert model.weight[1, 0].item() == pytest.approx(-expected, abs=1e-6)


def test_training_learns_and_depends_on_the_generator_alone() -> None:
    """The same generator gives the same bits whatever else is drawn."""
    first, again, other = make_model(), make_model(), make_model()
    before = evaluate(first, FEATURES, LABELS)
    loss = run(first, SETTINGS)
    torch.rand(3)
    assert run(again, SETTINGS) == loss
    run(other, SETTINGS, seed=4)
    key = "0.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
    assert evaluate(first, FEATURES, LABELS)[0] < before[0]


def test_evaluation_is_exact_over_several_batches() -> None:
    """More examples than one batch holds are counted once each."""
    model = make_model()
    features, labels = np.tile(FEATURES, (100, 1)), np.tile(LABELS, 100)
    loss, accuracy = evaluate(model, features, labels)
    assert (loss, accuracy) == pytest.approx(evaluate(model, FEATURES, LABELS), rel=1e-6)
    scores = model(torch.as_tensor(FEATURES)).argmax(dim=1).numpy()
    assert accuracy == pytest.approx((scores == LABELS).mean())


def test_one_thread_is_given_back() -> None:
    """The setting is process-wide, so it is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_settings_travel_in_a_config_in_flowers_spelling() -> None:
    """The server's scenario, the strategy's term and the client's settings agree."""
    spec = TrainSpec(local_epochs=2, batch_size=4, learning_rate=0.3, momentum=0.5)
    config = LocalTraining.from_spec(spec).to_config()
    assert isinstance(config, ConfigRecord)
    assert config["learning-rate"] == 0.3
    assert "proximal-mu" not in config
    config["server-round"] = 3
    config["proximal-mu"] = 0.1
    settings = LocalTraining.from_config(config)
    assert settings == replace(LocalTraining.from_spec(spec), proximal_mu=0.1)
    assert LocalTraining.from_spec(spec, rounds=5).local_epochs == 10
