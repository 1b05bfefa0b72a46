"""Clients that add noise to a vector, and tell about it; a server that tells its length."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

import flip_lab

client_app, server_app = ClientApp(), ServerApp()
_RAISED = Path("raised")


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Draw from every generator; log before and after."""
    partition = int(context.node_config["partition-id"])
    [vector] = message.content.array_records["arrays"].to_numpy_ndarrays()
    noise = np.random.normal(size=vector.shape)  # what apps draw from
    noise += random.random() + float(torch.rand(1))
    if context.run_config["logs"]:
        flip_lab.log({"noise_mean": noise.mean()}, noise=flip_lab.histogram(noise, bins=5))
        flip_lab.log(picture=flip_lab.image(np.full((2, 3), partition / 2)), loss=99)
    ends = context.run_config["ends"]
    if partition == 1 and ends == "client":
        raise ValueError("a bad batch")
    if partition == 1 and ends == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    if partition == 1 and ends == "breakpoint":
        secret = 40 + partition  # to be asked for
        breakpoint()  # noqa: T100  # what this client is for
        vector = vector + secret * 0
    vector = vector + noise * (partition + 1)
    records = {
        "arrays": ArrayRecord([vector]),
        "metrics": MetricRecord({"loss": 1.0 + partition, "num-examples": 1 + partition}),
    }
    return Message(RecordDict(records), reply_to=message)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Log a matrix."""
    if context.run_config["logs"]:
        flip_lab.log(taken=flip_lab.confusion_matrix([[2, 1], [0, 3]], labels=["a", "b"]))
    metrics = MetricRecord({"eval_loss": 0.5, "num-examples": 1})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


class Strategy(FedAvg):
    """Averages, or breaks on the way."""

    ends = ""

    def aggregate_train(self, server_round: int, replies):  # noqa: ANN001, ANN201  # Flower's own
        """Break if that is asked for."""
        if self.ends == "strategy":
            raise ZeroDivisionError("no weights")
        if self.ends == "once" and server_round == 2 and not _RAISED.exists():  # the last
            _RAISED.touch()
            raise ZeroDivisionError("this once")
        return super().aggregate_train(server_round, replies)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; log before them and in each."""
    logs = bool(context.run_config["logs"])
    if logs:
        flip_lab.log(rounds_wanted=context.run_config["num-server-rounds"])

    def measure(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        length = float(np.linalg.norm(arrays.to_numpy_ndarrays()[0]))
        if logs and server_round:
            flip_lab.log(length=length)
        return None

    strategy = Strategy(min_available_nodes=3)
    strategy.ends = str(context.run_config["ends"])
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([np.zeros(4)]),
        num_rounds=int(context.run_config["num-server-rounds"]),
        evaluate_fn=measure,
    )
