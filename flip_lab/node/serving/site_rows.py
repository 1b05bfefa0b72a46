"""Rows made ready for a model as this site's rows were made ready for training.

Some data is prepared by each site alone: what was not measured takes the median of the
site's own train rows. A prediction must see the same, so the endpoint learns it from the
same rows, which stay where they are.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

from flip_lab.core.errors import FlipLabError, NodeDataError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import load_dataset, scenario_dataset
from flip_lab.fl.data.dataset import Features, Prepare
from flip_lab.fl.data.hub import HUB_PREFIX
from flip_lab.fl.data.site import SITE, site_dataset
from flip_lab.fl.partition import site_partition, split_indices
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.input_schema import InputSchema
from flip_lab.node.serving.manifest import Manifest
from flip_lab.node.serving.predictor import AS_IT_COMES, SiteRows

_Learnt: TypeAlias = tuple[Prepare | None, Features, tuple[str, ...]]


def site_rows(config: NodeConfig, manifest: Manifest, schema: InputSchema) -> SiteRows:
    """Learn from this site's train rows how rows are made ready.

    Args:
        config: The node's settings.
        manifest: The model's.
        schema: What it takes.

    Raises:
        NodeDataError: If this site's train rows are needed, and not at hand.
    """
    if not schema.is_prepared_per_site and schema.dataset != SITE:
        return AS_IT_COMES
    partition_id = config.config.get("partition-id")
    if not isinstance(partition_id, int):
        raise NodeDataError(
            f"{config.name} has no partition of {schema.dataset!r} to learn from how its "
            "rows are made ready.",
            fix="Give partition-id in the [config] of node.toml, or send rows that have "
            "no gaps.",
        )
    try:
        scenario = scenario_from_json(manifest.scenario)
        if scenario.data.dataset.startswith(HUB_PREFIX):
            return AS_IT_COMES  # prepared by nobody, and a name may be a path of this disk
        learnt = _of_site if schema.dataset == SITE else _of_partition
        prepare, train, names = learnt(config, scenario, partition_id)
    except FlipLabError as error:
        raise NodeDataError(
            f"{config.name} cannot read its rows of {schema.dataset!r}: {error.what}",
            fix="Correct the node's data, or send rows that have no gaps.",
        ) from error
    ready = None if prepare is None else partial(_ready, prepare, train)
    return SiteRows(prepare=ready, feature_names=names)


def _of_partition(_: NodeConfig, scenario: Scenario, partition_id: int) -> _Learnt:
    """Learn from a slice of a data set that is at every site."""
    dataset = load_dataset(scenario.data.dataset)
    train = dataset.features[split_indices(scenario, partition_id)[0]]
    return dataset.prepare, train, dataset.feature_names


def _of_site(config: NodeConfig, scenario: Scenario, partition_id: int) -> _Learnt:
    """Learn from what this site alone has.

    Its train rows come without gaps; medians that filled gaps do not move the median.
    """
    told = config.node_config()
    dataset = site_dataset(told, scenario_dataset(scenario.data))
    train = site_partition(scenario, partition_id, told).train_features
    return dataset.prepare, train, dataset.feature_names


def _ready(prepare: Prepare, train: Features, rows: Features) -> Features:
    return prepare(train, rows)[1]
