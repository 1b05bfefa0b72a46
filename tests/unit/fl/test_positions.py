"""Partitions are read off Flower's partitioners in one go: the same as one by one."""

# Hugging Face's datasets and Flower Datasets are partly untyped
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from flip_lab.fl.partitioners import _positions

CASES: dict[str, dict[str, Any]] = {
    "IidPartitioner": {},
    "DirichletPartitioner": {"partition_by": "label", "alpha": 0.5, "seed": 1},
    "PathologicalPartitioner": {
        "partition_by": "label",
        "num_classes_per_partition": 2,
        "seed": 1,
    },
    "ShardPartitioner": {
        "partition_by": "label",
        "num_shards_per_partition": 2,
        "seed": 1,
    },
}


@pytest.mark.filterwarnings("ignore")  # Flower's advice
@pytest.mark.parametrize("kind", CASES)
def test_positions_are_those_that_flower_gives(kind: str) -> None:
    """Also for partitioners that sort the data first."""
    datasets: Any = import_module("datasets")
    flower = import_module("flwr_datasets.partitioner")
    random = np.random.default_rng(0)
    columns = {"label": random.integers(0, 5, 400), "index": random.permutation(400)}
    made: list[Any] = []
    for _ in range(2):
        partitioner = getattr(flower, kind)(num_partitions=7, **CASES[kind])
        partitioner.dataset = datasets.Dataset.from_dict(columns)
        made.append(partitioner)
    expected = [list(made[0].load_partition(at)["index"][:]) for at in range(7)]
    assert [part.tolist() for part in _positions(made[1], 7)] == expected
