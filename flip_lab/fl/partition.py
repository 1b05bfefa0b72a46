"""What one node holds: its slice of the data, split for training and testing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from flip_lab.core.errors import NodeDataError, PartitionError
from flip_lab.core.holding import Holding
from flip_lab.core.scenario import DataSpec, Scenario
from flip_lab.core.seeds import Stream
from flip_lab.fl.data.catalog import load_dataset, scenario_dataset
from flip_lab.fl.data.dataset import Dataset, Features, Labels, data_fingerprint
from flip_lab.fl.data.site import SITE, site_dataset
from flip_lab.fl.data.site_source import NodeScalar
from flip_lab.fl.partitioners import Indices, partition_indices

_SMALLEST = 2  # one example to train on and one to test on


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """The data of one node, ready for a model; its arrays are shared, never written to.

    Attributes:
        name: The natural site's name, or ``node 3``.
        train_features: Shape ``(num_train, …)``, without NaN.
        train_labels: Shape ``(num_train,)``, 0-based.
        test_features: Shape ``(num_test, …)``, without NaN.
        test_labels: Shape ``(num_test,)``, 0-based.
    """

    name: str
    train_features: Features
    train_labels: Labels
    test_features: Features
    test_labels: Labels


def load_partition(scenario: Scenario, partition_id: int) -> Partition:
    """Load the data of one node, once per process.

    Args:
        scenario: Names the data and how it lies on the nodes.
        partition_id: The node's slice, from 0 to ``num_partitions - 1``.

    Raises:
        PartitionError: If there is no such partition, or the data cannot be split.
    """
    num_partitions = scenario.data.num_partitions
    if not 0 <= partition_id < num_partitions:
        raise PartitionError(
            f"There is no partition {partition_id}.",
            fix=f"Use one from 0 to {num_partitions - 1}, or raise data.num_partitions.",
        )
    return _load_partition(_key(scenario), scenario.seed, partition_id)


def site_partition(
    scenario: Scenario, partition_id: int, node_config: Mapping[str, NodeScalar]
) -> Partition:
    """Load the data of the site that this process runs at, split for train and test.

    The split is the scenario's: of its seed, its share for testing and the node's number.

    Args:
        scenario: Names the classes and the shape that all sites share.
        partition_id: The node's number.
        node_config: Flower's node configuration, which says where the data is.

    Raises:
        NodeDataError: If there is none, too little, or it is not as declared.
    """
    dataset = site_dataset(node_config, scenario_dataset(scenario.data))
    whole = np.arange(dataset.labels.size)
    if whole.size < _SMALLEST:
        raise NodeDataError(
            f"The site has {whole.size} example(s).",
            fix="It needs one to train on and one to test on, at the least.",
        )
    sides = _stratified(dataset, whole, scenario.data, scenario.seed, partition_id)
    name = str(node_config.get("site", f"node {partition_id}"))
    return _partition(name, dataset, *sides)


def split_indices(scenario: Scenario, partition_id: int) -> tuple[Indices, Indices]:
    """Split the positions of one partition into train and test.

    Every class keeps its share, to one example; each side has at least one example.

    Returns:
        Sorted positions in the data set for training and for testing, disjoint.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    return _split_indices(_key(scenario), scenario.seed, partition_id)


def partition_frame(scenario: Scenario) -> dict[str, list[int] | list[str]]:
    """Count the examples of every class on every node, train and test together.

    Returns:
        Columns ``partition_id``, ``label`` (the class's name), ``num_examples`` and
        ``node`` (the site's name), one row for each node and class, zeros among them.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    dataset = load_dataset(scenario.data.dataset)
    parts = _indices(_key(scenario), scenario.seed)
    classes = dataset.class_names
    counts = [np.bincount(dataset.labels[part], minlength=len(classes)) for part in parts]
    nodes = [_node_name(dataset, scenario.data, i) for i in range(len(parts))]
    return {
        "partition_id": [i for i in range(len(parts)) for _ in classes],
        "label": list(classes) * len(parts),
        "num_examples": [int(count) for row in counts for count in row],
        "node": [node for node in nodes for _ in classes],
    }


def partition_fingerprint(scenario: Scenario) -> str:
    """Hash which example is on which node, and whether it trains or tests there.

    Returns:
        64 hexadecimal digits; equal on every machine for equal partitions.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    if scenario.data.dataset == SITE:  # which the sites alone know
        return hashlib.sha256(_key(scenario).encode()).hexdigest()
    parts = range(scenario.data.num_partitions)
    return joined_digests(partition_digest(scenario, each) for each in parts)


def partition_digest(scenario: Scenario, partition_id: int) -> str:
    """Hash which examples one node has, and whether they train or test there.

    Returns:
        64 hexadecimal digits.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
    """
    return _partition_digest(_key(scenario), scenario.seed, partition_id)


def joined_digests(digests: Iterable[str]) -> str:
    """Make the fingerprint of all partitions from the digest of each, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def holding_of(scenario: Scenario, partition_id: int) -> Holding:
    """Say in hashes what a node holds of a data set that the scenario splits."""
    return Holding(
        partition_id=partition_id,
        partition_sha256=partition_digest(scenario, partition_id),
        data_sha256=_data_digest(scenario.data.dataset),
    )


@lru_cache(maxsize=8)
def _data_digest(name: str) -> str:
    return data_fingerprint(load_dataset(name))


def _key(scenario: Scenario) -> str:
    """Write the data's specification as something that can be cached by."""
    return json.dumps(asdict(scenario.data), sort_keys=True)


@lru_cache(maxsize=16)
def _indices(key: str, seed: int) -> list[Indices]:
    spec = DataSpec(**json.loads(key))
    return partition_indices(load_dataset(spec.dataset), spec, seed)


@lru_cache(maxsize=1024)
def _partition_digest(key: str, seed: int, partition_id: int) -> str:
    digest = hashlib.sha256()
    for side in _split_indices(key, seed, partition_id):
        digest.update(f"{partition_id}:{side.size}:".encode())
        digest.update(side.astype("<i8").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _split_indices(key: str, seed: int, partition_id: int) -> tuple[Indices, Indices]:
    spec = DataSpec(**json.loads(key))
    part = _indices(key, seed)[partition_id]
    return _stratified(load_dataset(spec.dataset), part, spec, seed, partition_id)


def _stratified(
    dataset: Dataset, part: Indices, spec: DataSpec, seed: int, partition_id: int
) -> tuple[Indices, Indices]:
    labels = dataset.labels[part]
    num_test = min(max(round(part.size * spec.test_fraction), 1), part.size - 1)
    # Shuffled, then sorted by class: every n-th example is a stratified sample.
    shuffled = (
        Stream(seed=seed, node=partition_id, phase="split")
        .generator()
        .permutation(part.size)
    )
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    places = (np.arange(num_test) * 2 + 1) * part.size // (2 * num_test)
    is_test = np.zeros(part.size, dtype=bool)
    is_test[by_class[places]] = True
    return part[~is_test], part[is_test]


@lru_cache(maxsize=1024)
def _load_partition(key: str, seed: int, partition_id: int) -> Partition:
    spec = DataSpec(**json.loads(key))
    dataset = load_dataset(spec.dataset)
    sides = _split_indices(key, seed, partition_id)
    return _partition(_node_name(dataset, spec, partition_id), dataset, *sides)


def _partition(name: str, dataset: Dataset, train: Indices, test: Indices) -> Partition:
    train_features, test_features = dataset.features[train], dataset.features[test]
    if dataset.prepare is not None:
        train_features, test_features = dataset.prepare(train_features, test_features)
    return Partition(
        name=name,
        train_features=train_features,
        train_labels=dataset.labels[train],
        test_features=test_features,
        test_labels=dataset.labels[test],
    )


def _node_name(dataset: Dataset, spec: DataSpec, partition_id: int) -> str:
    """Name a node by its site where a partition is a site."""
    if spec.partitioner == "natural" and dataset.sites is not None:
        return str(np.unique(dataset.sites)[partition_id])
    return f"node {partition_id}"
