"""The lean Flower app: stock FedAvg, and a client with nothing but the training.

It is written for Flower and knows no engine; ``run_simulation`` runs it as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from sys import maxsize

from engine_gate import current_gate
from engine_training import initial_parameters, shapes, train_client
from engine_workloads import WORKLOADS, Workload
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client_app = ClientApp()
server_app = ServerApp()


class GateClosedError(Exception):
    """There are no more rounds to run; raised where a run cannot be told to stop."""


class GatedFedAvg(FedAvg):
    """FedAvg that passes the gate before each round."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Note that a round begins; then do as FedAvg does."""
        gate = current_gate()
        if gate.is_over:  # our engines have stopped the run by now
            raise GateClosedError
        gate.round_begins(server_round, lambda: list(arrays.to_torch_state_dict().values()))
        return super().configure_train(server_round, arrays, config, grid)


def initial_arrays(workload: Workload) -> ArrayRecord:
    """Give the initial weights as they travel."""
    names = shapes(workload.model)
    values = initial_parameters(workload)
    return ArrayRecord(OrderedDict(zip(names, values, strict=True)))


def stock_strategy(kind: type[FedAvg], workload: Workload) -> FedAvg:
    """Give FedAvg, or a kind of it, with the workload's cohort."""
    return kind(
        fraction_train=workload.cohort / workload.num_nodes,
        fraction_evaluate=0.0,
        min_train_nodes=workload.cohort,
        min_available_nodes=workload.num_nodes,
    )


def train_config(workload: Workload) -> ConfigRecord:
    """Say what clients are to do; a declared client reads the numbers, too."""
    return ConfigRecord(
        {
            "workload": workload.name,
            "batch-size": workload.batch_size,
            "learning-rate": workload.rate,
            "local-epochs": 1,
        }
    )


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run rounds until the gate closes."""
    del context
    workload = current_gate().workload
    stock_strategy(GatedFedAvg, workload).start(
        grid=grid,
        initial_arrays=initial_arrays(workload),
        num_rounds=maxsize - 1,
        train_config=train_config(workload),
    )


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train on the node's partition."""
    workload = WORKLOADS[str(message.content.config_records["config"]["workload"])]
    state = message.content.array_records["arrays"].to_torch_state_dict()
    parameters = [value.requires_grad_() for value in state.values()]
    loss = train_client(workload, parameters, int(context.node_config["partition-id"]))
    metrics = MetricRecord({"train_loss": loss, "num-examples": workload.num_examples})
    reply = RecordDict({"arrays": ArrayRecord(state), "metrics": metrics})
    return Message(reply, reply_to=message)
