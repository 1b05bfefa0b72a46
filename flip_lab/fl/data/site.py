"""A site's own data, for scenarios with ``dataset = "site"`` and for any ClientApp.

What all sites have in common (the shape of an example, the classes) stands in the scenario,
since the model is built from it where there is no data. The examples stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen
from flwr.app import Context

from flip_lab.core.errors import NodeDataError
from flip_lab.core.scenario import DataSpec
from flip_lab.fl.data.dataset import Dataset, Features, Labels
from flip_lab.fl.data.heart_disease import impute
from flip_lab.fl.data.site_options import SiteOptions
from flip_lab.fl.data.site_readers import SITE_READERS, SiteRows
from flip_lab.fl.data.site_source import NodeScalar, source_in
from flip_lab.fl.validation import read_options

SITE = "site"
"""The name that stands for each site's own data."""

NO_DATA = 'The data is each site\'s own (dataset = "site"), and here is none.'
NO_DATA_FIX = (
    "On a device, write a [data] table into its node.toml. In simulation there are no "
    "sites: launch on a federation, or choose a data set that is here, as with "
    'overrides={"data.dataset": "heart-disease", "data.options": {}}.'
)


def what_sites_share(
    *,
    shape: Annotated[list[Annotated[int, Ge(1)]], MinLen(1)],
    classes: Annotated[list[str], MinLen(2)],
) -> Dataset:
    """Give a data set without examples, which is all that a model is built from.

    Args:
        shape: Shape of one example, such as ``[13]`` or ``[1, 64, 64]``.
        classes: Name of each class, in the order of their numbers.
    """
    return Dataset(
        title="Each site's own data",
        features=np.empty((0, *shape), dtype=np.float32),
        labels=np.empty(0, dtype=np.int64),
        class_names=tuple(classes),
        attribution="It belongs to the sites.",
    )


def declared_dataset(data: DataSpec) -> Dataset:
    """Give what a scenario says of the sites' data.

    Raises:
        ScenarioError: If its options are not ``shape`` and ``classes``.
    """
    options = read_options(what_sites_share, data.options, prefix="data.options.")
    return what_sites_share(**options)


def site_data(context: Context) -> Dataset:
    """Load the data of the site that a ClientApp runs at, once per process.

    Args:
        context: The client's context; its node configuration says where the data is.

    Raises:
        NodeDataError: If the site has none, or it cannot be read.
    """
    return site_dataset(context.node_config)


def site_dataset(
    node_config: Mapping[str, NodeScalar], declared: Dataset | None = None
) -> Dataset:
    """Load the data that a node configuration names, once per process.

    Args:
        node_config: Flower's node configuration.
        declared: What the scenario says of it; ``None``: the classes are what the site
            lists as ``classes``, else the labels that occur.

    Raises:
        NodeDataError: If the site has none, it cannot be read, or is not as declared.
    """
    source = source_in(node_config)
    if source is None:
        raise NodeDataError(NO_DATA, fix=NO_DATA_FIX)
    found, directory = source
    key = json.dumps(dict(found.options), sort_keys=True)
    classes = declared.class_names if declared else ()
    dataset = _loaded(found.kind, key, str(directory), classes)
    if declared is not None and dataset.shape != declared.shape:
        raise NodeDataError(
            f"An example of the site has the shape {dataset.shape}; the scenario says "
            f"{declared.shape}.",
            fix="Choose the same columns or image size at each site, as the scenario has "
            "them in data.options.shape.",
        )
    return dataset


def has_site_data(node_config: Mapping[str, NodeScalar]) -> bool:
    """Whether a node configuration names data of its site."""
    return source_in(node_config) is not None


@lru_cache(maxsize=8)
def _loaded(
    kind: str, options_json: str, directory: str, classes: tuple[str, ...]
) -> Dataset:
    options = SiteOptions(
        kind=kind, values=json.loads(options_json), directory=Path(directory)
    )
    rows = SITE_READERS.get(kind)(options)
    names = classes or tuple(options.texts("classes")) or tuple(sorted(set(rows.labels)))
    return Dataset(
        title=f"The site's data ({kind})",
        features=rows.features,
        labels=_labels(rows, names),
        class_names=names,
        feature_names=rows.feature_names,
        attribution="It belongs to the site.",
        prepare=_filled if np.isnan(rows.features).any() else None,
    )


def _labels(rows: SiteRows, classes: Sequence[str]) -> Labels:
    """Number the labels: by the names of the classes, or as the numbers that they are.

    Raises:
        NodeDataError: If one is no class.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    numbers = {str(number): number for number in range(len(classes))} | numbers
    if len(rows.labels) != len(rows.features):
        raise NodeDataError(
            f"The site has {len(rows.features)} examples and {len(rows.labels)} labels.",
            fix="Give one label for each example.",
        )
    unknown = [label for label in rows.labels if label not in numbers]
    if unknown:
        raise NodeDataError(
            f"{len(unknown)} of the site's {len(rows.labels)} labels are none of the "
            f"classes {', '.join(classes)}.",
            fix="Write labels as these names, or as their numbers from 0.",
        )
    return np.array([numbers[label] for label in rows.labels], dtype=np.int64)


def _filled(train: Features, test: Features) -> tuple[Features, Features]:
    """Fill missing numbers with the train median of their place, or with 0."""
    flat = impute(train.reshape(len(train), -1), test.reshape(len(test), -1))
    return flat[0].reshape(train.shape), flat[1].reshape(test.shape)
