"""Does a strategy survive a resume? A small federation in this process that can tell.

``process`` does what a run process does. Interrupt it anywhere (``patience``), call it
again with the same directory, and compare ``Left.bits`` with those of an uninterrupted
one: equal, if all that the strategy remembers lies in plain attributes. The clients draw,
and remember.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.app import RecordDict as Records
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.clientapp.typing import Mod
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from flip_lab.core.events import EventKind, Json, MetricSeries, RunEvent
from flip_lab.core.ports import Control
from flip_lab.core.seeds import Stream
from flip_lab.engines.apps import PickledApp
from flip_lab.engines.base import Job
from flip_lab.engines.flower.strategy_loop import hooked_strategies
from flip_lab.engines.in_process import InProcessExecutor
from flip_lab.engines.run_grid import RunGrid
from flip_lab.engines.seeding import seed_globals
from flip_lab.engines.simulation import SimulationGrid, setting_of
from flip_lab.runs.checkpoint_keeper import CheckpointKeeper
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.hooks import RunHooks
from flip_lab.runs.recorder import Recorder


def trained(message: Message, context: Context) -> Message:
    """Move the weights by noise and by what the client remembers; remember more."""
    records = message.content.array_records
    before = context.state.metric_records.get("memory", MetricRecord())
    calls = float(cast("float", before.get("calls", 0))) + 1
    drift = float(cast("float", before.get("drift", 0))) + random.random()  # noqa: S311  # apps draw from the global generator
    context.state["memory"] = MetricRecord({"calls": calls, "drift": drift})
    [config] = message.content.config_records.values()
    rate = cast("float", config["lr"])
    arrays = {
        name: Array(np.asarray(_moved(array.numpy(), rate, drift), array.dtype))
        for name, array in next(iter(records.values())).items()
    }
    metrics = MetricRecord({"train_loss": drift, "num-examples": 1, "calls": calls})
    return Message(
        Records({"arrays": ArrayRecord(arrays), "metrics": metrics}),
        reply_to=message,
    )


def _moved(values: NDArray[Any], rate: float, drift: float) -> NDArray[Any]:
    return values + rate * np.random.standard_normal(values.shape) + 0.01 * drift  # noqa: NPY002  # as above


def boosted(message: Message, context: Context) -> Message:
    """Answer with a tree, as a client of gradient boosting does."""
    del context
    tree = {"id": 0, "weight": random.random()}  # noqa: S311  # as above
    model = {
        "learner": {
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_trees": "1", "num_parallel_tree": "1"},
                    "iteration_indptr": [0, 1],
                    "trees": [tree],
                    "tree_info": [0],
                }
            }
        }
    }
    array = np.frombuffer(json.dumps(model).encode(), np.uint8)
    metrics = MetricRecord({"num-examples": 1, "weight": tree["weight"]})
    records = Records({"arrays": ArrayRecord([array]), "metrics": metrics})
    return Message(records, reply_to=message)


def evaluated(message: Message, context: Context) -> Message:
    """Say how large the weights are."""
    del context
    arrays = next(iter(message.content.array_records.values()))
    size = float(
        sum(np.abs(array.numpy().astype(float)).sum() for array in arrays.values())
    )
    metrics = MetricRecord({"eval_loss": size, "num-examples": 2})
    return Message(Records({"metrics": metrics}), reply_to=message)


def client_app(kind: str) -> ClientApp:
    """Give a ClientApp: ``plain``, ``boosted``, ``fixed`` or ``adaptive`` clipping."""
    mods: dict[str, list[Mod]] = {
        "fixed": [fixedclipping_mod],
        "adaptive": [adaptiveclipping_mod],
    }
    app = ClientApp()
    train = boosted if kind == "boosted" else trained
    app.train(mods=mods.get(kind))(train)
    app.evaluate()(evaluated)
    return app


@dataclass(kw_only=True)
class Sink:
    """Keeps events in a list."""

    events: list[RunEvent] = field(default_factory=list[RunEvent])
    series: list[MetricSeries] = field(default_factory=list[MetricSeries])

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep them."""
        self.events += events

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Keep them, without their time."""
        del time_s
        self.series.append(series)

    def close(self) -> None:
        """Have nothing to let go of."""

    def bodies(self, kind: EventKind) -> list[Mapping[str, Json]]:
        """Give the bodies of one kind of events."""
        return [event.body for event in self.events if event.kind is kind]


@dataclass(kw_only=True)
class Patience(Control):
    """A user who wants to stop when asked for the so many-th time; -1 never does."""

    left: int = -1

    def stop_requested(self) -> bool:
        """Say so, once patience is used up."""
        if self.left > 0:
            self.left -= 1
        return self.left == 0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is run.

    Attributes:
        build: Makes the strategy, as the app's main does each time it runs.
        arrays: Makes the initial model.
        client: Which ClientApp.
        seed: The run's seed.
        num_rounds: How many rounds.
        policy: When checkpoints are written, and which are kept.
        run_id: The run's id; a fork has another one.
        rate: The learning rate that clients are told.
    """

    build: Callable[[], Strategy]
    arrays: Callable[[], ArrayRecord]
    client: str = "plain"
    seed: int = 3
    num_rounds: int = 5
    policy: Checkpoints = field(default_factory=Checkpoints)
    run_id: str = "run"
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a process left.

    Attributes:
        result: What ``strategy.start`` returned.
        states: The clients' states at the end.
        draws: What the app would draw next.
        sink: What was recorded.
        stopped: Whether the user stopped it.
    """

    result: Result
    states: Mapping[int, Records]
    draws: tuple[float, float]
    sink: Sink
    stopped: bool

    def bits(self) -> dict[str, Any]:
        """Give all that must not depend on interruptions."""
        result = self.result
        return {
            "arrays": [(name, each.data) for name, each in result.arrays.items()],
            "train": _plain(result.train_metrics_clientapp),
            "evaluate": _plain(result.evaluate_metrics_clientapp),
            "central": _plain(result.evaluate_metrics_serverapp),
            "states": {
                node: {name: dict(each) for name, each in records.metric_records.items()}
                for node, records in self.states.items()
            },
            "draws": self.draws,
        }


def _plain(history: Mapping[int, MetricRecord]) -> list[tuple[int, Mapping[str, Any]]]:
    return [(server_round, dict(record)) for server_round, record in history.items()]


def central(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluate on the server, and draw while doing so."""
    size = sum(float(array.numpy().astype(float).sum()) for array in arrays.values())
    noise = np.random.random()  # noqa: NPY002  # apps draw from the global generator
    return MetricRecord({"size": size, "noise": noise, "round": server_round})


def process(run_dir: Path, setup: Setup, *, patience: int = -1) -> Left:
    """Do what a run process does: run the app's main, from a checkpoint if there is one.

    Args:
        run_dir: The run's directory.
        setup: The app and its settings.
        patience: After how many questions the user wants to stop: one is asked at each
            round's beginning and around each message. -1 never.

    Returns:
        What the process left, stopped or not.
    """
    job = Job(
        run_id=setup.run_id,
        seed=setup.seed,
        num_nodes=8,
        run_config={},
        app=PickledApp(directory=Path("unused")),
        answers_describe=False,
        workers=1,
        work_dir=Path(),
    )
    sink = Sink()
    recorder = Recorder(setup.run_id, sink)
    executor = InProcessExecutor(client_app(setup.client), setting_of(job), job.gate)
    inner = SimulationGrid(job, executor)
    control = Patience(left=patience)
    grid = RunGrid(inner, emit=recorder.emit, control=control, seed=setup.seed)
    run_dir.mkdir(exist_ok=True)
    keeper = CheckpointKeeper(run_dir, setup.policy, grid=grid, recorder=recorder)
    hooks = RunHooks(grid, recorder, keeper)
    seed_globals(Stream(seed=setup.seed, phase="server"))
    try:
        with hooked_strategies(hooks):
            result = setup.build().start(
                grid=grid,
                initial_arrays=setup.arrays(),
                num_rounds=setup.num_rounds,
                train_config=ConfigRecord({"lr": setup.rate}),
                evaluate_fn=central,
            )
    finally:
        keeper.close()
        recorder.close()
    return Left(
        result=result,
        states=grid.node_states(),
        draws=(random.random(), float(np.random.random())),  # noqa: NPY002, S311  # as above
        sink=sink,
        stopped=hooks.stop is not None,
    )
