"""Split one data set over the nodes of a federation, with Flower Datasets' partitioners.

A partitioner is a pure function of its arguments: the same scenario gives the same
partitions on every engine, so what was simulated can be run again on devices.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from flip_lab.core.errors import PartitionError
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import DataSpec
from flip_lab.core.seeds import Stream
from flip_lab.fl.data.dataset import Dataset, Labels
from flip_lab.fl.extras import needs_extra
from flip_lab.fl.validation import read_options

Indices: TypeAlias = npt.NDArray[np.int64]

_SMALLEST = 2  # one example to train on and one to test on


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What a partitioner may know of the data, and what it is asked for.

    Attributes:
        labels: Class of each example, shape ``(num_examples,)``.
        sites: Natural site of each example, shape ``(num_examples,)``, or ``None``.
        num_partitions: Number of partitions wanted, at least 1.
        seed: Seed of the partitioner's private generator.
    """

    labels: Labels
    sites: npt.NDArray[np.str_] | None
    num_partitions: int
    seed: int


PARTITIONERS: Registry[Callable[..., list[Indices]]] = Registry(
    "partitioner", "flip_lab.partitioners"
)


def partition_indices(dataset: Dataset, spec: DataSpec, seed: int) -> list[Indices]:
    """Split a data set as a scenario asks; the global random states stay untouched.

    Args:
        dataset: The data.
        spec: Partitioner, its options, and the number of partitions.
        seed: The scenario's seed.

    Returns:
        One sorted array of positions in the data set for each partition; no position
        stands in two of them, and each has at least 2.

    Raises:
        PartitionError: If the data cannot be split like this; the message has a remedy.
        UnknownNameError: If there is no such partitioner.
        UnknownKeyError: If it has no such option.
        InvalidValueError: If an option has the wrong type.
        MissingExtraError: If it needs Flower Datasets, which is not installed.
    """
    num_examples = dataset.labels.size
    if spec.num_partitions * _SMALLEST > num_examples:
        raise PartitionError(
            f"{num_examples} examples cannot fill {spec.num_partitions} partitions with a "
            "train and one test example each.",
            fix=f"Set data.num_partitions to {num_examples // _SMALLEST} or less.",
        )
    build = PARTITIONERS.get(spec.partitioner)
    options = read_options(build, spec.options, prefix="data.options.")
    pool = Pool(
        labels=dataset.labels,
        sites=dataset.sites,
        num_partitions=spec.num_partitions,
        seed=Stream(seed=seed, phase="partition").integer(),
    )
    parts = build(pool, **options)
    for partition_id, part in enumerate(parts):
        if part.size < _SMALLEST:
            raise PartitionError(
                f"Partition {partition_id} would hold {part.size} example(s); it needs one "
                "to train on and one to test on.",
                fix="Lower data.num_partitions, or choose options with less skew.",
            )
    return parts


@PARTITIONERS.add("iid")
def iid(pool: Pool) -> list[Indices]:
    """Deal the shuffled examples out in equal parts: every node sees the same world."""
    return _split(pool, "IidPartitioner", {"num_partitions": pool.num_partitions})


@PARTITIONERS.add("dirichlet")
def dirichlet(
    pool: Pool,
    *,
    alpha: Annotated[float, Gt(0)] = 0.5,
    min_partition_size: Annotated[int, Ge(0)] = 10,
    self_balancing: bool = False,
) -> list[Indices]:
    """Split every class with shares drawn from Dirichlet(alpha): skewed labels and sizes.

    Args:
        pool: The data.
        alpha: Concentration, no unit, above 0; 0.1 is strong skew, 100 is nearly IID.
        min_partition_size: Draw again until every partition has this many examples.
        self_balancing: Give no more of a class to partitions that are above average size.

    Raises:
        PartitionError: If ten draws left a partition too small.

    Source:
        Yurochkin et al., ICML 2019 (arXiv:1905.12022).
    """
    arguments = {
        "num_partitions": pool.num_partitions,
        "partition_by": "label",
        "alpha": alpha,
        "min_partition_size": max(min_partition_size, _SMALLEST),
        "self_balancing": self_balancing,
        "seed": pool.seed,
    }
    return _split(pool, "DirichletPartitioner", arguments)


@PARTITIONERS.add("pathological")
def pathological(
    pool: Pool,
    *,
    classes_per_partition: Annotated[int, Ge(1)] = 2,
    class_assignment: Literal[
        "random", "deterministic", "first-deterministic"
    ] = "first-deterministic",
) -> list[Indices]:
    """Give every node a few classes only; classes that no node drew are left out.

    Args:
        pool: The data.
        classes_per_partition: Classes of each node, at least 1.
        class_assignment: ``"deterministic"`` gives node i the classes i, i + 1, …;
            ``"first-deterministic"`` the class i and random others; ``"random"`` any.

    Raises:
        PartitionError: If there are fewer classes, or a class has too few examples.

    Source:
        Zhang et al., "Personalized Federated Learning with First Order Model
        Optimization", ICLR 2021 (arXiv:2012.08565).
    """
    num_classes = np.unique(pool.labels).size
    if classes_per_partition > num_classes:
        raise PartitionError(
            f"data.options.classes_per_partition is {classes_per_partition}, and the data "
            f"set has {num_classes} classes.",
            fix=f"Set it to a whole number from 1 to {num_classes}.",
        )
    arguments = {
        "num_partitions": pool.num_partitions,
        "partition_by": "label",
        "num_classes_per_partition": classes_per_partition,
        "class_assignment_mode": class_assignment,
        "seed": pool.seed,
    }
    return _split(pool, "PathologicalPartitioner", arguments)


@PARTITIONERS.add("shard")
def shard(
    pool: Pool,
    *,
    shards_per_partition: Annotated[int, Ge(1)] | None = None,
    shard_size: Annotated[int, Ge(1)] | None = None,
) -> list[Indices]:
    """Sort by label, cut into shards of equal size and deal the shards out at random.

    Args:
        pool: The data.
        shards_per_partition: Shards of each node; 2 when neither argument is given.
        shard_size: Examples in a shard; a rest smaller than a shard is left out.

    Raises:
        PartitionError: If there are not enough examples for that many shards.

    Source:
        McMahan et al., AISTATS 2017 (arXiv:1602.05629), section 3.
    """
    if shards_per_partition is None and shard_size is None:
        shards_per_partition = 2
    arguments = {
        "num_partitions": pool.num_partitions,
        "partition_by": "label",
        "num_shards_per_partition": shards_per_partition,
        "shard_size": shard_size,
        "seed": pool.seed,
    }
    return _split(pool, "ShardPartitioner", arguments)


@PARTITIONERS.add("natural")
def natural(pool: Pool) -> list[Indices]:
    """Give every node one natural site, in the order of the sites' names.

    With fewer partitions than sites, the first ones take part and the others do not.

    Raises:
        PartitionError: If the data set has no sites, or fewer than partitions.
    """
    if pool.sites is None:
        raise PartitionError(
            "The data set has no natural sites.",
            fix="Use another partitioner, such as 'dirichlet', or another data set.",
        )
    names = np.unique(pool.sites)
    if pool.num_partitions > names.size:
        raise PartitionError(
            f"{names.size} natural sites cannot fill {pool.num_partitions} partitions.",
            fix=f"Set data.num_partitions to {names.size} or less.",
        )
    # As Flower Datasets' NaturalIdPartitioner does, without its import of three seconds:
    # a real site runs this at every start.
    return [np.flatnonzero(pool.sites == name) for name in names[: pool.num_partitions]]


def _split(pool: Pool, kind: str, arguments: dict[str, Any]) -> list[Indices]:
    """Let one of Flower Datasets' partitioners split the shuffled pool.

    Raises:
        PartitionError: If it cannot.
    """
    with needs_extra("data", "Splitting a data set over nodes"):
        datasets: Any = import_module("datasets")  # untyped
        flower = import_module("flwr_datasets.partitioner")
    # Shuffled first, because some partitioners cut the examples of a class in their order.
    order = np.random.default_rng(pool.seed).permutation(pool.labels.size)
    columns = {"label": pool.labels[order], "index": order}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice is part of the error, if there is one
        try:
            partitioner = getattr(flower, kind)(**arguments)
            partitioner.dataset = datasets.Dataset.from_dict(columns)
            parts = _positions(partitioner, pool.num_partitions)
        except ValueError as error:
            raise PartitionError(
                f"The data cannot be split like this: {error}",
                fix="Lower data.num_partitions, or change data.options.",
            ) from error
    return [np.sort(part) for part in parts]


def _positions(partitioner: Any, num_partitions: int) -> list[Indices]:  # noqa: ANN401  # untyped
    """Read the column ``index`` of each partition."""
    partitioner.load_partition(0)  # now it has drawn, and sorted the data if it does so
    held = partitioner.dataset
    index = np.asarray(held["index"], dtype=np.int64)

    def select(indices: Any, **_: object) -> Indices:  # noqa: ANN401  # a list or a range
        return index[np.asarray(indices, dtype=np.int64)]

    # A data set for each partition would take a millisecond: ten seconds for 10,000 nodes.
    held.select = select
    return [partitioner.load_partition(i) for i in range(num_partitions)]
