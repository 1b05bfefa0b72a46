"""A Flower App in which strategy, clients and configuration remember something."""

import os
import random
import time
from collections.abc import Iterable
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.app import RecordDict as Records
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam

server_app = ServerApp()
client_app = ClientApp()


class Cooling(FedAdam):
    """Lets the clients' rate sink, and says so in its configuration."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Lower the rate a little."""
        config["lr"] = cast("float", config["lr"]) * 0.9
        return super().configure_train(server_round, arrays, config, grid)


def central(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluate on the server, with a draw."""
    del server_round
    size = sum(float(array.numpy().sum()) for array in arrays.values())
    return MetricRecord({"size": size, "noise": random.random()})  # as apps do


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run as many rounds as the configuration says."""
    settings = context.run_config
    Cooling(fraction_train=0.5, fraction_evaluate=0.5).start(
        grid=grid,
        initial_arrays=ArrayRecord([np.random.random(6)]),  # as apps do
        num_rounds=int(settings["num-server-rounds"]),
        train_config=ConfigRecord({"lr": float(settings["learning-rate"])}),
        evaluate_fn=central,
    )


def calls_of(context: Context) -> int:
    """Give how often a client has trained."""
    memory = context.state.metric_records.get("memory", MetricRecord({"calls": 0}))
    return cast("int", memory["calls"])


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Draw, remember, and from some round on be moody."""
    settings = context.run_config
    time.sleep(float(settings["nap-s"]))
    config = message.content.config_records["config"]
    rate = cast("float", config["lr"])
    calls = calls_of(context) + 1
    context.state["memory"] = MetricRecord({"calls": calls})
    arrays = {
        name: Array(array.numpy() + rate * np.random.random() + 0.01 * calls)  # as apps do
        for name, array in message.content.array_records["arrays"].items()
    }
    moody_from = int(settings["moody-from"])
    mood = 0.0
    if (
        0 < moody_from <= cast("int", config["server-round"])
        and context.node_config["partition-id"] == 2
    ):
        mood = int.from_bytes(os.urandom(4), "big") / 2**32
    numbers = MetricRecord(
        {"num-examples": 1, "calls": calls, "train_loss": 1 / calls + mood}
    )
    content = Records({"arrays": ArrayRecord(arrays), "metrics": numbers})
    return Message(content, reply_to=message)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Say how often this client has trained."""
    metrics = MetricRecord({"num-examples": 1, "eval_calls": calls_of(context)})
    return Message(Records({"metrics": metrics}), reply_to=message)
