"""Rows made ready for a model as this site's rows were made ready for training.

Some data sets are prepared by each site alone: what was not measured takes the median of
the site's own train rows. A prediction must see the same, so the endpoint learns it from
the same rows, which stay where they are.
"""

from __future__ import annotations

from functools import partial

from flip_lab.core.errors import FlipLabError, NodeDataError
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.data.dataset import Features, Prepare
from flip_lab.fl.partition import split_indices
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.input_schema import read_input_schema
from flip_lab.node.serving.manifest import Manifest
from flip_lab.node.serving.predictor import SitePrepare


def site_prepare(config: NodeConfig, manifest: Manifest) -> SitePrepare | None:
    """Give what makes rows ready, learnt from this site's train rows.

    Args:
        config: The node's settings.
        manifest: The model's.

    Returns:
        ``None`` if rows are ready as they come.

    Raises:
        NodeDataError: If this site's train rows are not at hand.
        DeliveryError: If the manifest does not say what the model takes.
    """
    schema = read_input_schema(manifest.input_schema)
    if not schema.is_prepared_per_site:
        return None
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
        dataset = load_dataset(schema.dataset)
        train, _ = split_indices(scenario, partition_id)
    except FlipLabError as error:
        raise NodeDataError(
            f"{config.name} cannot read its rows of {schema.dataset!r}: {error.what}",
            fix="Correct the node's data, or send rows without gaps.",
        ) from error
    if dataset.prepare is None:
        return None
    return partial(_ready, dataset.prepare, dataset.features[train])


def _ready(prepare: Prepare, train: Features, rows: Features) -> Features:
    return prepare(train, rows)[1]
