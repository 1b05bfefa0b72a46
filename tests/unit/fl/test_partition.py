"""Partitions: nothing lost, nothing twice, the same every time, and no state touched."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.core.errors import InvalidValueError, PartitionError
from flip_lab.core.scenario import DataSpec, Scenario
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.data.dataset import Dataset, data_fingerprint
from flip_lab.fl.partition import (
    holding_of,
    joined_digests,
    load_partition,
    partition_fingerprint,
    partition_frame,
    split_indices,
)
from flip_lab.fl.partitioners import PARTITIONERS, partition_indices


def numpy_state() -> str:
    """Give the state of NumPy's global generator."""
    return repr(np.random.get_state())  # noqa: NPY002  # the test is that nobody uses it


KEEPS_ALL = ("iid", "dirichlet", "natural")


def make_dataset(labels: list[int], num_sites: int = 3) -> Dataset:
    """Make a data set with these labels and sites a, b, c in turn."""
    return Dataset(
        title="made",
        features=np.zeros((len(labels), 2), dtype=np.float32),
        labels=np.array(labels, dtype=np.int64),
        class_names=tuple("0123456789"),
        sites=np.array([f"site {i % num_sites}" for i in range(len(labels))]),
        attribution="none",
    )


def spec(partitioner: str, num_partitions: int, **options: float | str) -> DataSpec:
    """Make a specification of a split."""
    return DataSpec(
        dataset="made",
        partitioner=partitioner,
        num_partitions=num_partitions,
        options=options,
    )


@settings(max_examples=20)
@given(
    kind=st.sampled_from(PARTITIONERS.names()),
    labels=st.lists(st.integers(0, 4), min_size=120, max_size=200),
    num_partitions=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_example_lands_in_two_partitions(
    kind: str, labels: list[int], num_partitions: int, seed: int
) -> None:
    """Whole splits hold every example once; the others at most once."""
    options = {"min_partition_size": 2} if kind == "dirichlet" else {}
    if kind == "pathological":
        options = {"classes_per_partition": 1}
    wanted = 3 if kind == "natural" else num_partitions
    dataset = make_dataset([*labels, *range(5), *range(5), *range(5)])
    try:
        parts = partition_indices(dataset, spec(kind, wanted, **options), seed)
    except PartitionError:
        return  # a tiny partition by chance; the message is tested below
    together = np.concatenate(parts)
    assert len(parts) == wanted
    assert all((np.diff(part) > 0).all() for part in parts)
    assert np.unique(together).size == together.size
    if kind in KEEPS_ALL:
        assert together.size == dataset.labels.size


@pytest.mark.parametrize("kind", PARTITIONERS.names())
def test_the_same_seed_gives_the_same_split_and_touches_no_global_state(kind: str) -> None:
    """A split depends on its arguments alone."""
    dataset = make_dataset([i % 5 for i in range(200)])
    states = (random.getstate(), numpy_state(), torch.get_rng_state())
    first = partition_indices(dataset, spec(kind, 3), 7)
    random.random()  # noqa: S311  # somebody else draws in between
    random.setstate(states[0])
    again = partition_indices(dataset, spec(kind, 3), 7)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert random.getstate() == states[0]
    assert numpy_state() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    if kind != "natural":
        other = partition_indices(dataset, spec(kind, 3), 8)
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_pathological_gives_each_node_its_classes() -> None:
    """One class a node, each node another one."""
    dataset = make_dataset([i % 5 for i in range(100)])
    wanted = spec(
        "pathological", 5, classes_per_partition=1, class_assignment="deterministic"
    )
    parts = partition_indices(dataset, wanted, 0)
    assert [set(dataset.labels[part]) for part in parts] == [{0}, {1}, {2}, {3}, {4}]


def test_shards_hold_few_classes() -> None:
    """Sorted by label and cut in eight, two shards have three classes at most."""
    dataset = make_dataset([i % 4 for i in range(160)])
    parts = partition_indices(dataset, spec("shard", 4, shards_per_partition=2), 0)
    assert [part.size for part in parts] == [40] * 4
    assert all(np.unique(dataset.labels[part]).size <= 2 for part in parts)
    sized = partition_indices(dataset, spec("shard", 4, shard_size=10), 0)
    assert sum(part.size for part in sized) == 160


def test_natural_takes_the_first_sites_in_the_order_of_their_names() -> None:
    """Two partitions of three sites are the first two sites."""
    dataset = make_dataset([0, 1] * 30)
    parts = partition_indices(dataset, spec("natural", 2), 0)
    assert dataset.sites is not None
    assert [set(dataset.sites[part]) for part in parts] == [{"site 0"}, {"site 1"}]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (spec("iid", 31), "60 examples cannot fill 31.*num_partitions to 30 or less"),
        (spec("dirichlet", 10, alpha=0.001), "cannot be split like this"),
        (spec("pathological", 2, classes_per_partition=6), "has 5 classes.*from 1 to 5"),
        (spec("pathological", 30, classes_per_partition=5), "cannot be split like this"),
        (spec("natural", 4), "3 natural sites.*num_partitions to 3 or less"),
        (spec("shard", 4, shards_per_partition=5, shard_size=10), "cannot be split"),
        (spec("shard", 30, shards_per_partition=2, shard_size=1), None),
        (spec("shard", 30, shards_per_partition=1, shard_size=1), "would hold 1 example"),
    ],
)
def test_an_impossible_split_says_what_would_be_possible(
    wanted: DataSpec, message: str | None
) -> None:
    """The message carries the remedy; a possible one passes."""
    dataset = make_dataset([i % 5 for i in range(60)])
    if message is None:
        assert len(partition_indices(dataset, wanted, 0)) == wanted.num_partitions
        return
    with pytest.raises(PartitionError, match=message) as caught:
        partition_indices(dataset, wanted, 0)
    assert caught.value.code == "FLIP-110"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (spec("dirichlet", 2, alpha=0), "alpha is 0.*a number > 0"),
        (spec("dirichlet", 2, alpha=-1), "alpha is -1"),
        (spec("pathological", 2, classes_per_partition=0), "classes_per_partition is 0"),
        (spec("shard", 2, shard_size=0), "shard_size is 0"),
    ],
)
def test_an_option_out_of_range_is_refused_before_any_data_is_split(
    wanted: DataSpec, message: str
) -> None:
    """The range stands in the signature, where a launch and its form see it, too."""
    with pytest.raises(InvalidValueError, match=message):
        partition_indices(make_dataset([0, 1] * 30), wanted, 0)


def test_a_data_set_without_sites_cannot_be_split_by_them() -> None:
    """The remedy is another partitioner."""
    dataset = replace(make_dataset([0, 1, 0, 1]), sites=None)
    with pytest.raises(PartitionError, match=r"no natural sites.*another partitioner"):
        partition_indices(dataset, spec("natural", 1), 0)


HOSPITALS = Scenario(
    name="h",
    data=DataSpec(dataset="heart-disease", partitioner="natural", num_partitions=4),
)


def test_train_and_test_are_disjoint_complete_and_stratified() -> None:
    """Each class keeps its share on both sides, to one example."""
    for partition_id, size in enumerate((304, 293, 123, 200)):
        train, test = split_indices(HOSPITALS, partition_id)
        assert np.intersect1d(train, test).size == 0
        assert train.size + test.size == size
        assert test.size == round(size * 0.2)
        partition = load_partition(HOSPITALS, partition_id)
        ill = partition.test_labels.sum(), partition.train_labels.sum()
        assert abs(ill[0] - sum(ill) * test.size / size) <= 1


def test_a_partition_knows_its_name_and_is_loaded_once() -> None:
    """Sites are called by their names, others by number; a second call costs nothing."""
    first = load_partition(HOSPITALS, 0)
    assert first.name == "Cleveland"
    assert load_partition(HOSPITALS, 0) is first
    digits = Scenario(name="d", data=DataSpec(dataset="digits", num_partitions=3))
    assert load_partition(digits, 2).name == "node 2"
    assert load_partition(digits, 2).train_features.shape[1:] == (1, 8, 8)


@pytest.mark.parametrize("partition_id", [-1, 4])
def test_there_is_no_partition_outside_the_range(partition_id: int) -> None:
    """The message names the range."""
    with pytest.raises(PartitionError, match="from 0 to 3"):
        load_partition(HOSPITALS, partition_id)


def test_the_frame_counts_every_class_on_every_node() -> None:
    """One row for each node and class; together all examples."""
    frame = partition_frame(HOSPITALS)
    assert list(frame) == ["partition_id", "label", "num_examples", "node"]
    assert [len(column) for column in frame.values()] == [8] * 4
    assert sum(int(count) for count in frame["num_examples"]) == 920
    assert frame["node"][::2] == ["Cleveland", "Hungary", "Switzerland", "VA Long Beach"]
    assert frame["label"][:2] == ["healthy", "heart disease"]


def test_the_fingerprint_changes_with_the_split_and_with_nothing_else() -> None:
    """Seed and test fraction count; the number of rounds does not."""
    print_ = partition_fingerprint(HOSPITALS)
    assert len(print_) == 64
    assert partition_fingerprint(HOSPITALS.override({"num_rounds": 99})) == print_
    assert partition_fingerprint(HOSPITALS.override({"seed": 1})) != print_
    assert partition_fingerprint(HOSPITALS.override({"test_fraction": 0.3})) != print_


def test_what_each_node_says_that_it_holds_adds_up_to_the_fingerprint() -> None:
    """A run on devices knows the whole from its parts."""
    held = [holding_of(HOSPITALS, partition_id) for partition_id in range(4)]
    digests = [each.partition_sha256 for each in held]
    assert len(set(digests)) == 4
    assert joined_digests(digests) == partition_fingerprint(HOSPITALS)
    data = data_fingerprint(load_dataset(HOSPITALS.data.dataset))
    assert {each.data_sha256 for each in held} == {data}
