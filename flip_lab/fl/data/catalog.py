"""Every data set by name, each loaded once per process."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from flip_lab.core.errors import NodeDataError
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import DataSpec
from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.data.digits import load_digits
from flip_lab.fl.data.heart_disease import load_heart_disease
from flip_lab.fl.data.hub import HUB_PREFIX, load_hub_dataset
from flip_lab.fl.data.mnist import load_mnist_5k
from flip_lab.fl.data.site import NO_DATA, NO_DATA_FIX, SITE, declared_dataset

DATASETS: Registry[Callable[[], Dataset]] = Registry("data set", "flip_lab.datasets")
DATASETS.add("digits")(load_digits)
DATASETS.add("heart-disease")(load_heart_disease)
DATASETS.add("mnist-5k")(load_mnist_5k)


def check_dataset_name(name: str) -> None:
    """Make sure that a data set of this name can be asked for; loads nothing.

    Raises:
        UnknownNameError: If there is none; the message names the nearest one.
    """
    if not name.startswith(HUB_PREFIX) and name != SITE:
        DATASETS.get(name)


def scenario_dataset(data: DataSpec) -> Dataset:
    """Give what a model is built from: the data set, or what all sites have in common.

    Raises:
        UnknownNameError: If there is no such data set.
        MissingExtraError: If the package that brings it is not installed.
        ScenarioError: If it cannot be loaded, or a scenario says too little of sites.
    """
    return declared_dataset(data) if data.dataset == SITE else load_dataset(data.dataset)


@lru_cache(maxsize=8)
def load_dataset(name: str) -> Dataset:
    """Load a data set, once per process.

    Args:
        name: A name in ``DATASETS``, or ``hf:`` and the id of a data set on the Hugging
            Face hub (or the path of a local one), such as ``hf:ylecun/mnist``.

    Raises:
        UnknownNameError: If there is no such data set.
        MissingExtraError: If the package that brings it is not installed.
        ScenarioError: If a data set of the hub cannot be loaded or has no usable columns.
        NodeDataError: If it is each site's own.
    """
    if name == SITE:
        raise NodeDataError(NO_DATA, fix=NO_DATA_FIX)
    if name.startswith(HUB_PREFIX):
        return load_hub_dataset(name.removeprefix(HUB_PREFIX))
    return DATASETS.get(name)()
