"""A run that was interrupted and resumed ends like one that never was, bit for bit."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedXgbBagging,
    FedXgbCyclic,
    Strategy,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.core.errors import StrategyStateError
from flip_lab.core.events import EventKind
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.fl.strategies import STRATEGIES
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.testing.resumption import Left, Setup, process

install_fast_arrays()  # as every run process does


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """Let collections see little: Flower forces one for each reply in two strategies."""
    gc.freeze()
    yield
    gc.unfreeze()


def model() -> ArrayRecord:
    """Give an initial model of several types, one of them kept columns first."""
    columns_first = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    return ArrayRecord(
        {
            "z": Array(np.linspace(-1, 1, 7, dtype=np.float32)),
            "a": Array(columns_first),
            "scalar": Array(np.array(0.5)),
        }
    )


def plain_model() -> ArrayRecord:
    """Give a model that safetensors can keep."""
    return ArrayRecord([np.linspace(-1, 1, 5), np.ones((2, 2), np.float32)])


def trees() -> ArrayRecord:
    """Give the empty model that gradient boosting begins with."""
    return ArrayRecord([np.frombuffer(b"", np.uint8)])


class Accountant:
    """Counts releases, as an accountant of privacy does; it holds a module, too."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(
            population_size=8, max_epsilon=None, sampling_method=None
        )
        self.module = functools
        self.releases: list[float] = []

    def compose(self, event: SimpleNamespace) -> None:
        """Count a release."""
        self.releases.append(event.noise_multiplier)


class Decaying(FedAvg):
    """A user's strategy: a decaying rate, generators, history, lambdas, in-place arrays."""

    def __init__(self) -> None:
        super().__init__(fraction_train=0.5, min_available_nodes=2)
        self.generator = np.random.default_rng(5)
        self.decay = lambda rate: rate * 0.9
        self.history: list[tuple[int, float]] = []
        self.shared = self.history
        self.velocity = np.zeros(5)
        self.accountant = Accountant()
        self.peers: dict[str, Any] = {"self": self, "names": {"b", "a"}}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Change what the clients are told, as Flower's examples do."""
        config["lr"] = self.decay(config["lr"])
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Add noise and momentum; some rounds change nothing."""
        assert self.peers["self"] is self
        assert self.shared is self.history
        arrays, metrics = super().aggregate_train(server_round, replies)
        assert arrays is not None
        self.velocity += self.generator.standard_normal(5)
        self.history.append((server_round, float(self.velocity.sum())))
        values = arrays.to_numpy_ndarrays()
        noisy = ArrayRecord([values[0] + self.velocity, *values[1:]])
        return (None, metrics) if server_round == 3 else (noisy, metrics)


def wrapped(kind: Callable[..., Strategy], inner: Callable[..., Strategy]) -> Strategy:
    """Give a strategy within one of Flower's wrappers for differential privacy."""
    all_nodes = inner(fraction_evaluate=0.5)
    if "Fixed" in kind.__name__:
        return kind(all_nodes, 0.5, 1.5, 8)
    return kind(all_nodes, 0.5, 8, initial_clipping_norm=0.3)


OPTIONS: Mapping[str, dict[str, Any]] = {
    "FedAvgM": {"server_momentum": 0.9},
    "FedProx": {"proximal_mu": 0.1},
    "QFedAvg": {"client_learning_rate": 0.1},
}
SETUPS: dict[str, Setup] = {
    name: Setup(
        build=functools.partial(
            STRATEGIES.get(name), fraction_evaluate=0.6, **OPTIONS.get(name, {})
        ),
        arrays=plain_model if name == "QFedAvg" else model,
    )
    for name in STRATEGIES.names()
}
for wrapper in (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
):
    on_client = "adaptive" if "Adaptive" in wrapper.__name__ else "fixed"
    SETUPS[wrapper.__name__] = Setup(
        build=functools.partial(wrapped, wrapper, FedAdam),
        arrays=plain_model,
        client=on_client if "ClientSide" in wrapper.__name__ else "plain",
    )
SETUPS |= {
    "FedXgbBagging": Setup(build=FedXgbBagging, arrays=trees, client="boosted"),
    "FedXgbCyclic": Setup(build=FedXgbCyclic, arrays=trees, client="boosted"),
    "a user's": Setup(build=Decaying, arrays=plain_model),
}


@functools.cache
def uninterrupted(name: str, seed: int = 3) -> Left:
    """Give what a run that nobody interrupts leaves."""
    with TemporaryDirectory() as folder:
        left = process(Path(folder), replace(SETUPS[name], seed=seed))
    assert not left.stopped
    return left


@pytest.mark.parametrize("name", SETUPS)
def test_every_strategy_goes_on_as_if_nothing_had_happened(
    name: str, tmp_path: Path
) -> None:
    """Stopped in each round in turn, and resumed: the same bits in the end."""
    setup = SETUPS[name]
    left, patience = process(tmp_path, setup, patience=6), 6
    while left.stopped:
        assert len(left.sink.bodies(EventKind.CHECKPOINT)) < setup.num_rounds
        patience += 7
        left = process(tmp_path, setup, patience=patience)
    assert left.bits() == uninterrupted(name).bits()


@pytest.mark.parametrize("name", ["FedAdam", "a user's", "FedXgbBagging"])
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), patience=st.lists(st.integers(1, 40), max_size=4))
def test_any_interruptions_with_any_seed_change_nothing(
    name: str, seed: int, patience: list[int]
) -> None:
    """However often and wherever a run is interrupted."""
    setup = replace(SETUPS[name], seed=seed)
    with TemporaryDirectory() as folder:
        for each in patience:
            process(Path(folder), setup, patience=each)
        left = process(Path(folder), setup)
    assert left.bits() == uninterrupted(name, seed).bits()


def test_facts_of_rounds_that_are_done_are_not_told_again(tmp_path: Path) -> None:
    """A resumed process tells of the rounds after its checkpoint only."""
    setup = SETUPS["FedAdam"]
    first = process(tmp_path, setup, patience=12)
    assert first.stopped
    done = len(first.sink.bodies(EventKind.CHECKPOINT))
    assert 0 < done < setup.num_rounds
    second = process(tmp_path, setup)
    rounds = [
        event.server_round
        for event in second.sink.events
        if event.kind is EventKind.ROUND_STARTED
    ]
    assert rounds == [*range(done + 1, setup.num_rounds + 1)]
    assert {event.server_round for event in second.sink.events} == set(rounds)


def test_a_run_that_was_killed_after_its_last_round_only_gives_its_result(
    tmp_path: Path,
) -> None:
    """Even what the app draws afterwards is the same."""
    whole = process(tmp_path, SETUPS["FedAvg"])
    again = process(tmp_path, SETUPS["FedAvg"])
    assert again.bits() == whole.bits()
    assert again.sink.events == []


def test_checkpoints_every_third_round_cost_what_is_between(tmp_path: Path) -> None:
    """The last round has one as well, whatever the interval."""
    setup = replace(
        SETUPS["FedAdam"], num_rounds=8, policy=Checkpoints(every=3, keep_last=9)
    )
    left = process(tmp_path, setup)
    kept = [
        event.server_round
        for event in left.sink.events
        if event.kind is EventKind.CHECKPOINT
    ]
    assert kept == [3, 6, 8]


def test_without_checkpoints_a_run_begins_anew(tmp_path: Path) -> None:
    """Nothing is written, and the end is the same all the same."""
    setup = replace(SETUPS["FedAdam"], policy=Checkpoints(every=0))
    process(tmp_path, setup, patience=12)
    assert not (tmp_path / "checkpoints").exists()
    assert process(tmp_path, setup).bits() == uninterrupted("FedAdam").bits()


def test_many_rounds_keep_few_files(tmp_path: Path) -> None:
    """The journal is written anew as one from time to time; old checkpoints go."""
    setup = replace(SETUPS["FedAvg"], num_rounds=70)
    process(tmp_path, replace(setup, num_rounds=67))
    root = tmp_path / "checkpoints"
    assert sorted(path.name for path in root.glob("round-*")) == [
        "round-000066",
        "round-000067",
    ]
    assert len(list((root / "journal").iterdir())) < 70
    with TemporaryDirectory() as folder:
        whole = process(Path(folder), setup)
    assert process(tmp_path, setup).bits() == whole.bits()


def forked(folder: Path, setup: Setup) -> Left:
    """Run a fork of what lies in a folder."""
    return process(folder, replace(setup, run_id="fork"))


def test_an_unchanged_fork_goes_on_like_its_parent(tmp_path: Path) -> None:
    """What the app builds as before is put back."""
    setup = SETUPS["a user's"]
    process(tmp_path, replace(setup, num_rounds=2))
    assert forked(tmp_path, setup).bits() == uninterrupted("a user's").bits()


def test_a_fork_keeps_what_its_author_changed(tmp_path: Path) -> None:
    """A changed option and a changed rate stand; the moments are the parent's."""
    setup = Setup(build=lambda: FedAdam(eta=0.1), arrays=plain_model)
    process(tmp_path, replace(setup, num_rounds=2))
    seen: list[tuple[Any, ...]] = []

    class Watched(FedAdam):
        """Notes what it was given."""

        def configure_train(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            """Note it."""
            seen.append((self.eta, config["lr"], self.m_t is not None))
            return super().configure_train(server_round, arrays, config, grid)

    Watched.__qualname__, Watched.__module__ = FedAdam.__qualname__, FedAdam.__module__
    changed = replace(setup, build=lambda: Watched(eta=0.7), rate=0.01, num_rounds=3)
    forked(tmp_path, changed)
    assert seen == [(0.7, 0.01, True)]


def test_a_fork_may_change_its_strategy(tmp_path: Path) -> None:
    """It keeps the model and the metrics; the new strategy starts fresh."""
    setup = SETUPS["FedAdam"]
    parent = process(tmp_path, replace(setup, num_rounds=2))
    left = forked(tmp_path, replace(setup, build=lambda: FedAvgM(server_momentum=0.5)))
    bits, before = left.bits(), parent.bits()
    assert bits["train"][:2] == before["train"]
    assert [server_round for server_round, _ in bits["train"]] == [1, 2, 3, 4, 5]


def test_a_resumed_app_must_start_the_same_strategy(tmp_path: Path) -> None:
    """Anything else would be another run under the same name."""
    setup = SETUPS["FedAdam"]
    process(tmp_path, replace(setup, num_rounds=2))
    with pytest.raises(StrategyStateError, match="FedAdam, and the ServerApp now starts"):
        process(tmp_path, replace(setup, build=FedAvg))


@dataclass(kw_only=True)
class Handle:
    """Something of this very process."""

    numbers: Any = field(default_factory=lambda: (each for each in range(3)))


def test_an_attribute_that_cannot_be_written_is_named_once(tmp_path: Path) -> None:
    """It stays what the app makes of it; the rest is kept."""

    def build() -> Strategy:
        strategy = FedAdam()
        vars(strategy)["handle"] = Handle()
        return strategy

    setup = Setup(build=build, arrays=plain_model)
    stopped = process(tmp_path, setup, patience=12)
    [warning] = stopped.sink.bodies(EventKind.WARNING)
    assert warning["code"] == "FLIP-309"
    assert "'handle'" in str(warning["message"])
    plain = replace(setup, build=FedAdam)
    with TemporaryDirectory() as folder:
        whole = process(Path(folder), plain)
    assert process(tmp_path, setup).bits() == whole.bits()
