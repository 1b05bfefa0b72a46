"""Clients that take as long as they are told, and add their partition to the model."""

from __future__ import annotations

import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client_app = ClientApp()
server_app = ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Take a nap, then add the partition's number and what was added before."""
    partition_id = int(context.node_config["partition-id"])
    naps_s = str(context.run_config["naps-s"]).split(",")
    time.sleep(float(naps_s[partition_id]))
    before = context.state.metric_records.get("times", MetricRecord({"train": 0}))
    times = int(str(before["train"])) + 1
    context.state["times"] = MetricRecord({"train": times})
    arrays = message.content.array_records["arrays"].to_numpy_ndarrays()
    trained = [array + partition_id + 0.1 * times for array in arrays]
    content = {
        "arrays": ArrayRecord(trained),
        "metrics": MetricRecord({"num-examples": 1, "train_loss": float(partition_id)}),
    }
    return Message(RecordDict(content), reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run rounds of averaging."""
    strategy = FedAvg(
        fraction_train=float(context.run_config["fraction-train"]),
        min_train_nodes=2,
        min_available_nodes=2,
        fraction_evaluate=0.0,
    )
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(4)]),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )
