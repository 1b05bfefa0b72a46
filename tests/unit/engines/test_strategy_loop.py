"""Our loop against Flower's own: the contract that each new Flower version must pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
    Result,
    Strategy,
)

from flip_lab.engines.apps import PickledApp
from flip_lab.engines.base import Job
from flip_lab.engines.flower.checkpoint_state import LoopState
from flip_lab.engines.flower.strategy_loop import hooked_strategies
from flip_lab.engines.in_process import InProcessExecutor
from flip_lab.engines.simulation import SimulationGrid, setting_of

STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    "FedAvg": lambda: FedAvg(fraction_train=0.5, fraction_evaluate=0.7),
    "FedAdam": lambda: FedAdam(fraction_train=0.5),
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "FedAvgM": lambda: FedAvgM(server_momentum=0.9),
    "FedAdagrad": FedAdagrad,
    "FedYogi": FedYogi,
    "FedMedian": FedMedian,
    "FedTrimmedAvg": FedTrimmedAvg,
    "Krum": Krum,
    "MultiKrum": lambda: MultiKrum(num_nodes_to_select=3),
}
JOB = Job(
    run_id="run",
    seed=1,
    num_nodes=6,
    run_config={},
    app=PickledApp(directory=Path("unused")),
    answers_describe=False,
    workers=1,
    work_dir=Path(),
)

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Move the weights towards the partition's own number, with some noise."""
    [weights] = message.content.array_records["arrays"].to_numpy_ndarrays()
    target = context.node_config["partition-id"]
    noise = random.random()  # noqa: S311  # apps draw from the global generator
    weights = weights + 0.1 * (target - weights) + 0.01 * noise
    metrics = {"train_loss": float(np.sum(weights)), "num-examples": int(target) + 1}
    records = {"arrays": ArrayRecord([weights]), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(records), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Give the distance to the partition's own number."""
    [weights] = message.content.array_records["arrays"].to_numpy_ndarrays()
    target = context.node_config["partition-id"]
    metrics = {"eval_loss": float(np.mean((weights - target) ** 2)), "num-examples": 2}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


class Story:
    """Hooks that write down what they are told."""

    def __init__(self, *, fail_in: int = 0, stop_in: int = 0) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._fail_in = fail_in
        self._stop_in = stop_in

    def begin_loop(self, state: LoopState) -> int:
        """Take nothing up."""
        del state
        return 0

    def between_rounds(self, server_round: int, num_rounds: int) -> None:
        """Keep nothing."""

    def begin_round(self, server_round: int, num_rounds: int) -> None:
        """Write down, fail or stop."""
        if server_round == self._fail_in:
            raise RuntimeError("the hook failed")
        if server_round == self._stop_in:
            raise KeyboardInterrupt
        self.told.append(("begin", server_round, num_rounds))

    def check_trained(self) -> None:
        """Write down."""
        self.told.append(("check",))

    def replied(self, server_round: int, replies: list[Message]) -> list[Message]:
        """Write down; nothing is left out."""
        self.told.append(("replied", server_round))
        return replies

    def trained(
        self, arrays: ArrayRecord | None, metrics: MetricRecord | None, *, server_round: int
    ) -> None:
        """Write down; something was aggregated."""
        assert arrays is not None
        assert metrics is not None
        self.told.append(("trained", server_round))

    def evaluated(
        self, metrics: MetricRecord | None, *, scope: str, server_round: int
    ) -> None:
        """Write down; there were numbers."""
        assert metrics is not None
        self.told.append(("evaluated", scope, server_round))

    def end_round(self) -> None:
        """Write down."""
        self.told.append(("end",))

    def is_stop(self, raised: BaseException) -> bool:
        """Take Ctrl-C for the wish to stop."""
        return isinstance(raised, KeyboardInterrupt)


def central(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluate on the server."""
    [weights] = arrays.to_numpy_ndarrays()
    return MetricRecord({"norm": float(np.sum(weights**2)), "round": server_round})


def start(strategy: Strategy, num_rounds: int = 3) -> Result:
    """Start a strategy on a fresh in-process federation with the same seeds."""
    grid = SimulationGrid(JOB, InProcessExecutor(app, setting_of(JOB), JOB.gate))
    random.seed(4)  # Flower samples nodes with the global generator
    return strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.linspace(-1, 1, 5)]),
        num_rounds=num_rounds,
        train_config=ConfigRecord({"lr": 0.1}),
        evaluate_fn=central,
    )


def numbers(result: Result) -> dict[str, Any]:
    """Give everything in a result as comparable values."""
    return {
        "arrays": {name: array.data for name, array in result.arrays.items()},
        "train": {k: dict(v) for k, v in result.train_metrics_clientapp.items()},
        "evaluate": {k: dict(v) for k, v in result.evaluate_metrics_clientapp.items()},
        "central": {k: dict(v) for k, v in result.evaluate_metrics_serverapp.items()},
    }


@pytest.mark.parametrize("name", STRATEGIES)
def test_our_loop_gives_what_flowers_gives(name: str) -> None:
    """The same arrays to the last bit, and the same metrics of every round."""
    original = numbers(start(STRATEGIES[name]()))
    with hooked_strategies(Story()):
        hooked = numbers(start(STRATEGIES[name]()))
    assert hooked == original
    assert list(original["train"]) == [1, 2, 3]
    assert list(original["central"]) == [0, 1, 2, 3]


def test_the_hooks_are_told_in_order() -> None:
    """Each hook once, in the order in which a round happens."""
    story = Story()
    with hooked_strategies(story):
        start(FedAvg(), num_rounds=2)
    expected: list[tuple[Any, ...]] = [("evaluated", "central", 0)]
    for number in (1, 2):
        expected += [
            ("begin", number, 2),
            ("check",),
            ("replied", number),
            ("trained", number),
            ("evaluated", "federated", number),
            ("evaluated", "central", number),
            ("end",),
        ]
    assert story.told == expected


def test_a_stop_keeps_the_results_of_the_rounds_before() -> None:
    """``strategy.start`` returns, so that the app can still save its model."""
    two_rounds = numbers(start(FedAvg(), num_rounds=2))
    with hooked_strategies(Story(stop_in=3)):
        stopped = numbers(start(FedAvg(), num_rounds=5))
    assert stopped == two_rounds


def test_other_exceptions_reach_the_app() -> None:
    """Only the user's wish to stop is answered quietly."""
    with (
        hooked_strategies(Story(fail_in=2)),
        pytest.raises(RuntimeError, match="the hook failed"),
    ):
        start(FedAvg())


def test_flowers_own_loop_is_back_afterwards() -> None:
    """Also when the block ends with an exception, and for every attribute we touched."""
    before = {kind: dict(vars(kind)) for kind in (Strategy, FedAvg, FedAdam)}
    for fail_in in (0, 2):
        try:
            with hooked_strategies(Story(fail_in=fail_in)):
                assert Strategy.start is not before[Strategy]["start"]
                start(FedAvg())
        except RuntimeError:
            assert fail_in
        assert {kind: dict(vars(kind)) for kind in before} == before


class OwnLoop(FedAvg):
    """A strategy with a ``start`` of its own, as some of Flower's examples have."""

    def start(  # pyright: ignore[reportIncompatibleMethodOverride]  # as such apps do
        self,
        grid: Any,  # noqa: ANN401  # as apps write it
        initial_arrays: ArrayRecord,
        **_: Any,  # noqa: ANN401  # as apps write it
    ) -> Result:
        """Run one round, its own way."""
        result = Result()
        config = ConfigRecord()
        messages = self.configure_train(1, initial_arrays, config, grid)
        arrays, metrics = self.aggregate_train(1, grid.send_and_receive(messages))
        assert arrays is not None
        assert metrics is not None
        result.arrays = arrays
        result.train_metrics_clientapp[1] = metrics
        return result


def test_a_strategy_with_a_loop_of_its_own_is_watched() -> None:
    """What it aggregates is told, its result is its own."""
    original = numbers(start(OwnLoop()))
    story = Story()
    with hooked_strategies(story):
        hooked = numbers(start(OwnLoop()))
    assert hooked == original
    assert story.told == [("check",), ("replied", 1), ("trained", 1)]


def test_a_strategy_defined_during_the_run_is_let_go_too() -> None:
    """What it does later must not reach a run that has ended."""
    story = Story()
    with hooked_strategies(story):

        class Late(OwnLoop):
            """A strategy of an app that is imported by the run."""

            def start(  # the shortest that Flower would call
                self,
                grid: Any,  # noqa: ANN401  # as apps write it
                initial_arrays: ArrayRecord,
                **_: Any,  # noqa: ANN401  # as apps write it
            ) -> Result:
                """Run one round."""
                return OwnLoop.start(self, grid, initial_arrays)

        start(Late())
    start(Late())
    assert story.told == [("check",), ("replied", 1), ("trained", 1)]
