"""The ClientApp of every scenario: train and evaluate on this node's partition.

A plain Flower app. It reads the scenario from the run's configuration and its slice of
the data from the node's; every number it draws comes from the scenario's seed, so a run
gives the same bits on every engine.
"""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flip_lab.core.errors import PartitionError
from flip_lab.core.scenario import Scenario
from flip_lab.core.seeds import Stream
from flip_lab.fl import training
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.partition import load_partition
from flip_lab.fl.scenarios import scenario_from_json

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model that came with the message on this node's examples."""
    scenario, partition_id = read_context(context)
    partition = load_partition(scenario, partition_id)
    model = receive_model(message, scenario)
    config = message.content.config_records["config"]

    # The order of the batches depends on the seed, the round and the node; on nothing else.
    stream = Stream(
        seed=scenario.seed,
        server_round=int(str(config["server-round"])),
        node=partition_id,
        phase="train",
    )
    train_loss = training.train(
        model,
        partition.train_features,
        partition.train_labels,
        settings=training.LocalTraining.from_config(config),
        generator=torch.Generator().manual_seed(stream.integer()),
    )

    metrics = MetricRecord(
        {"train_loss": train_loss, "num-examples": len(partition.train_labels)}
    )
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the model that came with the message on this node's test examples."""
    scenario, partition_id = read_context(context)
    partition = load_partition(scenario, partition_id)
    model = receive_model(message, scenario)
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
    partition = load_partition(scenario, partition_id)
    metrics = MetricRecord(
        {
            "partition-id": partition_id,
            "num-partitions": scenario.data.num_partitions,
            "num-examples": len(partition.train_labels) + len(partition.test_labels),
        }
    )
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


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


def receive_model(message: Message, scenario: Scenario) -> torch.nn.Module:
    """Build the scenario's model with the weights that came with the message."""
    model = build_model(scenario, load_dataset(scenario.data.dataset))
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    return model
