"""What a round costs in process: against a hand-written loop, with and without recording.

The sides run in turn, A B C A B C …, in one process; medians and ratios are printed, and
one line of JSON last. The loop does the same training and averaging with no Flower object
in sight, so its ratio is what messages, strategy and Grid cost together.

    python tests/benchmarks/engine.py [--turns 5] [--rounds 10]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch
from flwr.app import Context, RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.core.events import EventKind, Json
from flip_lab.core.ports import Emit
from flip_lab.core.scenario import Scenario
from flip_lab.core.seeds import Stream
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.base import Job
from flip_lab.engines.in_process import InProcessEngine
from flip_lab.engines.run_grid import RunGrid
from flip_lab.fl import training
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.partition import load_partition
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.runs.recorder import Recorder
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab

Side = Callable[[], None]


class NeverStops:
    """A control nobody uses."""

    def stop_requested(self) -> bool:
        """Say no."""
        return False


def plain_loop(scenario: Scenario) -> None:
    """Federated averaging by hand: the same batches, no messages."""
    dataset = load_dataset(scenario.data.dataset)
    state = build_model(scenario, dataset).state_dict()
    settings = training.LocalTraining.from_spec(scenario.train)
    for server_round in range(1, scenario.train.num_rounds + 1):
        total, weight = {name: torch.zeros_like(v) for name, v in state.items()}, 0
        for node in range(scenario.data.num_partitions):
            part = load_partition(scenario, node)
            model = build_model(scenario, dataset)
            model.load_state_dict(state)
            stream = Stream(
                seed=scenario.seed, server_round=server_round, node=node, phase="train"
            )
            training.train(
                model,
                part.train_features,
                part.train_labels,
                settings=settings,
                generator=torch.Generator().manual_seed(stream.integer()),
            )
            weight += len(part.train_labels)
            for name, value in model.state_dict().items():
                total[name] += value * len(part.train_labels)
        state = {name: value / weight for name, value in total.items()}


def engine_run(scenario: Scenario, emit: Emit) -> None:
    """Run the same through the engine, Flower's FedAvg and our wrapper."""
    config = {"scenario": scenario_to_json(scenario)}
    app = ScenarioApp(scenario_json=config["scenario"])
    job = Job(
        run_id="benchmark",
        seed=scenario.seed,
        num_nodes=scenario.data.num_partitions,
        run_config=config,
        app=app,
        answers_describe=True,
        workers=1,
        work_dir=Path.cwd(),
    )
    with InProcessEngine().open(job) as inner:
        grid = RunGrid(inner, emit=emit, control=NeverStops(), seed=scenario.seed)
        context = Context(
            run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=dict(config)
        )
        app.load_server_app()(grid=grid, context=context)


def forget(kind: EventKind, body: Mapping[str, Json], *, server_round: int) -> None:
    """Record nothing."""
    del kind, body, server_round


@contextmanager
def recording() -> Iterator[Emit]:
    """Record as a run process does, into a journal of its own."""
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder("benchmark", JournalWriter(open_lab(folder), "benchmark"))
        try:
            yield recorder.emit
        finally:
            recorder.close()


def timed(side: Side) -> float:
    """Give the seconds that one turn takes."""
    start = tick_s()
    side()
    return tick_s() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    scenario = load_scenario(
        "digits-iid",
        {"num_rounds": arguments.rounds, "strategy.options.fraction_evaluate": 0.0},
    )

    def recorded() -> None:
        with recording() as emit:
            engine_run(scenario, emit)

    sides: dict[str, Side] = {
        "plain_loop": lambda: plain_loop(scenario),
        "in_process": lambda: engine_run(scenario, forget),
        "in_process_recorded": recorded,
    }
    for side in sides.values():
        side()  # imports and caches are not what is measured
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.turns):
        for name, side in sides.items():
            seconds[name].append(timed(side))
    round_ms = {
        name: 1000 * median(times) / arguments.rounds for name, times in seconds.items()
    }
    ratios = {
        "in_process_over_loop": _ratio(seconds["in_process"], seconds["plain_loop"]),
        "recorded_over_not": _ratio(seconds["in_process_recorded"], seconds["in_process"]),
    }
    for name, value in round_ms.items():
        print(f"{name:22} {value:8.1f} ms a round")
    for name, value in ratios.items():
        print(f"{name:22} {value:8.2f}")
    print(json.dumps({"round_ms": round_ms, "ratios": ratios}))


def _ratio(above: list[float], below: list[float]) -> float:
    """Give the median of the ratios turn by turn: a drifting machine cancels out."""
    return median(a / b for a, b in zip(above, below, strict=True))


if __name__ == "__main__":
    main()
