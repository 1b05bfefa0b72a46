"""The ServerApp of every scenario: start one of Flower's strategies.

A plain Flower app. It reads the scenario from the run's configuration, sends the initial
model out and lets the strategy do the rest.
"""

from __future__ import annotations

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.fl.strategies import build_strategy
from flip_lab.fl.training import LocalTraining

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the scenario's model for its number of rounds."""
    scenario = scenario_from_json(str(context.run_config["scenario"]))
    model = build_model(scenario, scenario_dataset(scenario.data))
    strategy = build_strategy(scenario)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(model.state_dict()),
        num_rounds=scenario.train.num_rounds,
        # The clients read their settings from here, so they can change during a run.
        train_config=LocalTraining.from_spec(scenario.train).to_config(),
    )
