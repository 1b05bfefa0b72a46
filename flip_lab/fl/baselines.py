"""What a federation is compared with: every site alone, and all data in one place.

Both train the scenario's model from the same initial weights, for as many passes over the
data as a node that takes part in every round, and are tested where the federation is:
on the test part of each site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch

from flip_lab.core.scenario import Scenario
from flip_lab.core.seeds import SERVER, Stream
from flip_lab.fl import training
from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.models import build_model
from flip_lab.fl.partition import Partition, load_partition

NodeMetrics: TypeAlias = dict[int, dict[str, float]]


def local_only(scenario: Scenario) -> NodeMetrics:
    """Train a model at each site from its own data alone.

    Returns:
        ``eval_loss``, ``eval_accuracy`` and ``num-examples`` (of the test part) of each
        site's own model, by partition.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    return {
        partition_id: _test(
            _train(scenario, part.train_features, part.train_labels, node=partition_id),
            part,
        )
        for partition_id, part in enumerate(_partitions(scenario))
    }


def pooled(scenario: Scenario) -> NodeMetrics:
    """Train one model on the train parts of all sites together.

    Each site's rows are prepared as they are in the federation, by that site's own
    statistics.

    Returns:
        The same as ``local_only``, of the one model at each site.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    parts = _partitions(scenario)
    features = np.concatenate([part.train_features for part in parts])
    labels = np.concatenate([part.train_labels for part in parts])
    model = _train(scenario, features, labels, node=SERVER)
    return {partition_id: _test(model, part) for partition_id, part in enumerate(parts)}


def weighted_mean(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Average the nodes' metrics by their ``num-examples``, as Flower's strategies do.

    Returns:
        The mean of each metric over the nodes, ``num-examples`` left out.
    """
    rows = list(metrics.values())
    weights = [row["num-examples"] for row in rows]
    names = [name for name in rows[0] if name != "num-examples"]
    return {
        name: float(np.average([row[name] for row in rows], weights=weights))
        for name in names
    }


def _partitions(scenario: Scenario) -> list[Partition]:
    return [load_partition(scenario, i) for i in range(scenario.data.num_partitions)]


def _train(
    scenario: Scenario, features: Features, labels: Labels, *, node: int
) -> torch.nn.Module:
    model = build_model(scenario, scenario_dataset(scenario.data))
    stream = Stream(seed=scenario.seed, node=node, phase="baseline")
    training.train(
        model,
        features,
        labels,
        settings=training.LocalTraining.from_spec(
            scenario.train, rounds=scenario.train.num_rounds
        ),
        generator=torch.Generator().manual_seed(stream.integer()),
    )
    return model


def _test(model: torch.nn.Module, part: Partition) -> dict[str, float]:
    loss, accuracy = training.evaluate(model, part.test_features, part.test_labels)
    return {
        "eval_loss": loss,
        "eval_accuracy": accuracy,
        "num-examples": float(len(part.test_labels)),
    }
