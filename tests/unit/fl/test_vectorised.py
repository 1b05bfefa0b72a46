"""Clients trained together get the weights that their own loop would give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from flip_lab.fl import choice, vectorised, vectorised_batches
from flip_lab.fl.choice import WAYS, choose_way, is_left_to_loop, train_many
from flip_lab.fl.training import LocalTraining
from flip_lab.fl.vectorised import (
    Trained,
    chunk_size,
    train_in_turn,
    train_mapped,
    train_stacked,
)
from flip_lab.fl.vectorised_batches import ClientData
from flip_lab.fl.vectorised_layers import NotStackableError

NUM_CLASSES = 3
CPU = torch.device("cpu")
PLAIN = LocalTraining(local_epochs=2, batch_size=4, learning_rate=0.05)
TOLERANCE = 1e-6  # of weights after a round, in float32


class Tutorial(nn.Module):
    """The network of many a tutorial: layers here, functions in ``forward``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc1 = nn.Linear(18, 5)
        self.fc2 = nn.Linear(5, NUM_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the scores."""
        here = functional.max_pool2d(functional.relu(self.conv(images)), 2)
        here = torch.tanh(self.fc1(here.view(-1, 18)))
        return functional.log_softmax(self.fc2(here), dim=1)


class Residual(nn.Module):
    """A model that is no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(64, 8)
        self.narrow = nn.Linear(8, 8, bias=False)
        self.out = nn.Linear(8, NUM_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the scores."""
        here = self.wide(images.flatten(1))
        return self.out(here + functional.gelu(self.narrow(here)))


class Coupled(nn.Module):
    """A model whose scores of one example depend on the others of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, NUM_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the scores."""
        here = images.flatten(1)
        return self.out(here - here.mean(0))


def logistic() -> nn.Module:
    """Build the smallest chain."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, NUM_CLASSES))


def perceptron() -> nn.Module:
    """Build a chain with every function that is known, and a layer without a bias."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 7),
        nn.ReLU(),
        nn.Linear(7, 6, bias=False),
        nn.Sigmoid(),
        nn.Linear(6, NUM_CLASSES),
        nn.LogSoftmax(dim=1),
    )


def wide() -> nn.Module:
    """Build a chain with a bottom layer that has more outputs than most have examples."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 20, bias=False), nn.Tanh(), nn.Linear(20, NUM_CLASSES)
    )


def convolutional() -> nn.Module:
    """Build a chain of images with overlapping windows, strides and padding."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Sequential(nn.Conv2d(2, 4, 2, stride=1, groups=2), nn.Tanh()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, NUM_CLASSES),
    )


CHAINS = [logistic, perceptron, wide, convolutional, Tutorial]


def make_clients(sizes: Sequence[int], seed: int = 0) -> list[ClientData]:
    """Make clients with so many examples of 8 × 8 numbers each."""
    rng = np.random.default_rng(seed)
    return [
        ClientData(
            features=rng.normal(0, 0.3, (size, 1, 8, 8)).astype(np.float32),
            labels=rng.integers(0, NUM_CLASSES, size),
            generator=torch.Generator().manual_seed(number),
        )
        for number, size in enumerate(sizes)
    ]


def make_model(build: Callable[[], nn.Module]) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Build a model and the weights to start from."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build()
        start = {name: value.clone() for name, value in build().state_dict().items()}
    return model, start


def furthest(ours: Sequence[Trained], theirs: Sequence[Trained]) -> float:
    """Give the largest difference of any weight or loss; relative where it is above 1."""
    assert len(ours) == len(theirs)
    assert [list(each.state) for each in ours] == [list(each.state) for each in theirs]
    pairs = list(zip(ours, theirs, strict=True))
    weights = [
        float(((mine.state[name] - value).abs() / value.abs().clamp(min=1)).max())
        for mine, other in pairs
        for name, value in other.state.items()
    ]
    losses = [
        abs(mine.train_loss - other.train_loss) / max(other.train_loss, 1)
        for mine, other in pairs
    ]
    return max(*weights, *losses)


@pytest.fixture(autouse=True)
def no_experience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose anew in each test."""
    monkeypatch.setattr(choice, "_EXPERIENCE", {})


SETTINGS = st.builds(
    LocalTraining,
    local_epochs=st.integers(1, 3),
    batch_size=st.integers(1, 7),
    learning_rate=st.sampled_from([0.005, 0.05]),  # none that diverges
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.01]),
    proximal_mu=st.sampled_from([0.0, 0.3]),
)


@pytest.mark.parametrize("build", CHAINS)
@given(sizes=st.lists(st.integers(1, 17), min_size=1, max_size=6), settings=SETTINGS)
def test_stacked_clients_get_the_weights_of_the_loop(
    build: Callable[[], nn.Module], sizes: list[int], settings: LocalTraining
) -> None:
    """Whatever the sizes, epochs, odd batches, momentum, decay and pull."""
    model, start = make_model(build)
    expected = train_in_turn(model, start, make_clients(sizes), settings)
    found = train_stacked(model, start, make_clients(sizes), settings)
    assert furthest(found, expected) < TOLERANCE


@pytest.mark.parametrize("build", [logistic, Residual, convolutional])
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), settings=SETTINGS)
def test_mapped_clients_get_the_weights_of_the_loop(
    build: Callable[[], nn.Module], sizes: list[int], settings: LocalTraining
) -> None:
    """Any model that torch can map, residual ones as well."""
    model, start = make_model(build)
    expected = train_in_turn(model, start, make_clients(sizes), settings)
    found = train_mapped(model, start, make_clients(sizes), settings)
    assert furthest(found, expected) < TOLERANCE


@given(sizes=st.lists(st.integers(1, 17), min_size=1, max_size=4), settings=SETTINGS)
def test_examples_may_be_vectors(sizes: list[int], settings: LocalTraining) -> None:
    """A linear layer may come first, without anything that flattens."""
    model, start = make_model(lambda: nn.Linear(64, 12))
    flat = [
        replace(client, features=client.features.reshape(len(client.labels), -1))
        for client in make_clients(sizes)
    ]
    again = [replace(each, generator=each.generator.clone_state()) for each in flat]
    expected = train_in_turn(model, start, flat, settings)
    sequence = nn.Sequential(model)
    renamed = {f"0.{name}": value for name, value in start.items()}
    found = train_stacked(sequence, renamed, again, settings)
    assert [each.train_loss for each in found] == pytest.approx(
        [each.train_loss for each in expected], abs=TOLERANCE
    )
    for mine, other in zip(found, expected, strict=True):
        for name, value in other.state.items():
            assert float((mine.state[f"0.{name}"] - value).abs().max()) < TOLERANCE


def test_the_generators_move_on_as_in_the_loop() -> None:
    """A generator that is used again draws the same next order."""
    model, start = make_model(logistic)
    ours, theirs = make_clients([5, 9]), make_clients([5, 9])
    train_stacked(model, start, ours, PLAIN)
    train_in_turn(model, start, theirs, PLAIN)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.generator.get_state(), other.generator.get_state())


@pytest.mark.parametrize("build", CHAINS)
def test_memory_is_bounded_without_changing_the_numbers(
    build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small chunks of clients and small windows of examples give the same weights."""
    model, start = make_model(build)
    sizes = [9, 2, 13, 5, 5]
    whole = train_stacked(model, start, make_clients(sizes), PLAIN)
    own = sum(value.nbytes for value in start.values())
    monkeypatch.setattr(vectorised, "_CHUNK_BYTES", {"cpu": 2 * own, "cuda": 2 * own})
    monkeypatch.setattr(vectorised_batches, "_WINDOW_BYTES", 3 * 4 * 256 * 2)
    parts = train_stacked(model, start, make_clients(sizes), PLAIN)
    assert furthest(parts, whole) < TOLERANCE


def test_chunks_are_even_and_fit() -> None:
    """Clients are split evenly; large models go one by one."""
    settings = replace(PLAIN, momentum=0.9)
    small = {"weight": torch.zeros(2**18)}  # 1 MiB
    assert chunk_size(small, 12, PLAIN, CPU) == 12
    assert chunk_size(small, 13, PLAIN, CPU) == 7
    assert chunk_size(small, 13, settings, CPU) == 5
    assert chunk_size({"weight": torch.zeros(2**22)}, 8, PLAIN, CPU) == 1
    assert chunk_size({"weight": torch.zeros(1)}, 1000, PLAIN, CPU) <= 64


class Shouting(nn.Linear):
    """A layer that is not what its base is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # as torch calls it
        """Give twice the scores."""
        return 2 * super().forward(input)


def frozen() -> nn.Module:
    """Build a chain with a layer that is not trained."""
    model = perceptron()
    model.get_submodule("1").requires_grad_(requires_grad=False)
    return model


UNKNOWN = {
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)),
    "batch norm": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 3)),
    "subclass": lambda: nn.Sequential(nn.Flatten(), Shouting(64, 3)),
    "frozen": frozen,
    "residual": Residual,
    "images after vectors": lambda: nn.Sequential(nn.Linear(8, 8), nn.Conv2d(1, 3, 8)),
    "scores of pixels": lambda: nn.Sequential(nn.Conv2d(1, 3, 1)),
    "circular": lambda: nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
        nn.Flatten(),
        nn.Linear(64, 3),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_not_stacked(name: str) -> None:
    """A layer that might do something else, or draws random numbers, is refused."""
    model, start = make_model(UNKNOWN[name])
    with pytest.raises(NotStackableError):
        train_stacked(model, start, make_clients([4, 4]), PLAIN)


@pytest.mark.parametrize("name", ["batch norm", "frozen"])
def test_state_that_is_not_trained_is_not_mapped(name: str) -> None:
    """Buffers and fixed parameters are left to the loop."""
    model, start = make_model(UNKNOWN[name])
    with pytest.raises(NotStackableError):
        train_mapped(model, start, make_clients([4, 4]), PLAIN)


# --- the choice ---------------------------------------------------------------------------


def always(seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each way take as long as said, by a clock of our own."""
    now = [0.0]

    def slowed(name: str, way: vectorised.Way) -> vectorised.Way:
        def run(
            model: nn.Module,
            start: vectorised.State,
            clients: Sequence[ClientData],
            settings: LocalTraining,
        ) -> list[Trained]:
            now[0] += seconds[name] * len(clients)
            return way(model, start, clients, settings)

        return run

    slow = {name: slowed(name, way) for name, way in WAYS.items()}
    monkeypatch.setattr(choice, "WAYS", slow)
    monkeypatch.setattr(choice, "train_in_turn", slow["in_turn"])
    monkeypatch.setattr(choice, "busy_s", lambda: now[0])


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_faster_way_is_taken_and_the_numbers_stay(
    ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stacked where it is faster, never where it loses; the weights are the loop's."""
    always({"in_turn": 1.0, "stacked": ratio}, monkeypatch)
    model, start = make_model(logistic)
    sizes = [5, 9, 1, 12]
    group = train_many(model, start, make_clients(sizes), PLAIN)
    assert group.way == ("stacked" if ratio < 1 else "in_turn")
    expected = train_in_turn(model, start, make_clients(sizes), PLAIN)
    assert furthest(group.clients, expected) < TOLERANCE
    again = make_clients(sizes)
    assert is_left_to_loop(model, start, again[0], len(again), PLAIN) == (ratio > 1)


def test_a_trial_leaves_no_trace() -> None:
    """Generators of the clients and torch's own stay where they were."""
    model, start = make_model(Residual)
    clients = make_clients([5, 9])
    before = [client.generator.get_state() for client in clients]
    torch_before = torch.get_rng_state()
    choose_way(model, start, clients, PLAIN)
    for client, state in zip(clients, before, strict=True):
        assert torch.equal(client.generator.get_state(), state)
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_a_group_of_one_or_of_large_models_is_left_to_the_loop() -> None:
    """There is nothing to gain, so nothing is tried."""
    model, start = make_model(logistic)
    assert choose_way(model, start, make_clients([5]), PLAIN) == "in_turn"
    large = {"weight": torch.zeros(2**22)}
    assert choose_way(model, large, make_clients([5, 5]), PLAIN) == "in_turn"
    assert is_left_to_loop(model, large, make_clients([5])[0], 2, PLAIN)


def test_mapping_is_tried_once_the_loop_has_taken_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading torch's compiler takes seconds, so a short run never does it."""
    always({"in_turn": 1.0, "stacked": 0.1, "mapped": 0.1}, monkeypatch)
    model, start = make_model(Residual)
    monkeypatch.setattr(choice, "_PATIENCE_S", 10.0)
    settings = replace(PLAIN, local_epochs=1)
    ways = [train_many(model, start, make_clients([8, 8]), settings).way for _ in range(8)]
    assert ways[:3] == ["in_turn"] * 3
    assert ways[-1] == "mapped"


def test_a_way_that_gives_other_weights_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that looks at its whole batch cannot be filled up: the trial notices."""
    always({"in_turn": 1.0, "stacked": 0.1, "mapped": 0.1}, monkeypatch)
    monkeypatch.setattr(choice, "_PATIENCE_S", 0.0)
    model, start = make_model(Coupled)
    for _ in range(3):
        assert train_many(model, start, make_clients([12, 12]), PLAIN).way == "in_turn"


def test_dropout_is_left_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its draws belong to each client."""
    always({"in_turn": 1.0, "stacked": 0.1, "mapped": 0.1}, monkeypatch)
    monkeypatch.setattr(choice, "_PATIENCE_S", 0.0)
    model, start = make_model(UNKNOWN["dropout"])
    ways = {choose_way(model, start, make_clients([8, 8]), PLAIN) for _ in range(6)}
    assert ways == {"in_turn"}
