"""A Flower App that takes its time; its model counts rounds and remembers every draw."""

import random
import time

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run as many rounds as the configuration says."""
    start = {"rounds": Array(np.zeros(1)), "draws": Array(np.zeros(1))}
    FedAvg(fraction_evaluate=0.0).start(
        grid=grid,
        initial_arrays=ArrayRecord(start),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Count the round, add a draw, and rest."""
    time.sleep(float(context.run_config["nap-s"]))
    arrays = message.content.array_records["arrays"]
    rounds, draws = (arrays[name].numpy() for name in ("rounds", "draws"))
    trained = {"rounds": Array(rounds + 1), "draws": Array(draws + random.random())}
    metrics = {"train_loss": float(context.run_config["loss"]), "num-examples": 1}
    content = {"arrays": ArrayRecord(trained), "metrics": MetricRecord(metrics)}
    return Message(RecordDict(content), reply_to=message)
