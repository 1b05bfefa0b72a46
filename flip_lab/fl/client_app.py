"""The ClientApp of every scenario: train and evaluate on this node's partition.

A Flower app whose training is declared as data. It reads the scenario from the run's
configuration and its slice of the data from the node's; every number it draws comes from
the scenario's seed, so a run gives the same bits on every engine.
"""

from __future__ import annotations

import torch
from flwr.app import Context, Message, MetricRecord, RecordDict

from flip_lab.core.errors import PartitionError
from flip_lab.core.listening import tell_holding
from flip_lab.core.scenario import Scenario
from flip_lab.core.seeds import Stream
from flip_lab.fl import training
from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.data.site import SITE, has_site_data
from flip_lab.fl.declared import (
    ClientDeclaration,
    RunConfig,
    borrowed_model,
    declared_app,
    received_state,
)
from flip_lab.fl.models import build_model
from flip_lab.fl.partition import Partition, holding_of, load_partition, site_partition
from flip_lab.fl.scenarios import scenario_from_json


def scenario_model(run_config: RunConfig) -> torch.nn.Module:
    """Build the model of the run's scenario."""
    scenario = scenario_from_json(str(run_config["scenario"]))
    return build_model(scenario, scenario_dataset(scenario.data))


def train_data(context: Context) -> tuple[Features, Labels]:
    """Load the examples that this node trains on.

    Raises:
        PartitionError: If the node was never told which partition it holds.
    """
    partition = own_partition(context)
    return partition.train_features, partition.train_labels


def scenario_stream(context: Context, server_round: int) -> Stream:
    """Name what orders the batches: the seed, the round and the node; nothing else.

    Raises:
        PartitionError: If the node was never told which partition it holds.
    """
    scenario, partition_id = read_context(context)
    return Stream(
        seed=scenario.seed, server_round=server_round, node=partition_id, phase="train"
    )


app = declared_app(
    ClientDeclaration(
        build_model=scenario_model,
        load_train_data=train_data,
        batch_stream=scenario_stream,
    )
)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the model that came with the message on this node's test examples."""
    partition = own_partition(context)
    with borrowed_model(scenario_model, context.run_config) as model:
        model.load_state_dict(received_state(message))
        loss, accuracy = training.evaluate(
            model, partition.test_features, partition.test_labels
        )
    metrics = MetricRecord(
        {
            "eval_loss": loss,
            "eval_accuracy": accuracy,
            "num-examples": len(partition.test_labels),
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    """Say which partition this node holds, and how many examples are in it."""
    scenario, partition_id = read_context(context)
    partition = own_partition(context)
    metrics = MetricRecord(
        {
            "partition-id": partition_id,
            "num-partitions": scenario.data.num_partitions,
            "num-examples": len(partition.train_labels) + len(partition.test_labels),
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def own_partition(context: Context) -> Partition:
    """Load the data of this node: its slice of the scenario's, or its site's own.

    Raises:
        PartitionError: If the node was never told which partition it holds.
        NodeDataError: If the data is the site's own and there is none, or another one.
    """
    scenario, partition_id = read_context(context)
    if scenario.data.dataset == SITE and has_site_data(context.node_config):
        return site_partition(scenario, partition_id, context.node_config)
    tell_holding(lambda: holding_of(scenario, partition_id))
    return load_partition(scenario, partition_id)


def read_context(context: Context) -> tuple[Scenario, int]:
    """Give the scenario of the run and the partition of the node.

    Raises:
        PartitionError: If the node was never told which partition it holds.
    """
    if "partition-id" not in context.node_config:
        raise PartitionError(
            f"Node {context.node_id} does not know which partition it holds.",
            fix='Start it with --node-config "partition-id=0", and so on.',
        )
    scenario = scenario_from_json(str(context.run_config["scenario"]))
    return scenario, int(context.node_config["partition-id"])
