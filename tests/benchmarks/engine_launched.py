"""The lean app's server as a launch runs it: one round, and no gate."""

from __future__ import annotations

from engine_app import initial_arrays, stock_strategy, train_config
from engine_workloads import WORKLOADS
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one round."""
    workload = WORKLOADS[str(context.run_config["workload"])]
    stock_strategy(FedAvg, workload).start(
        grid=grid,
        initial_arrays=initial_arrays(workload),
        num_rounds=1,
        train_config=train_config(workload),
    )
