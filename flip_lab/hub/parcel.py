"""What a researcher delivers, and to whom: checked before anything is kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flip_lab.core.cohort import NodeChoice, NodeFacts
from flip_lab.core.errors import CohortError, DeliveryError, FlipLabError, nearest
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.hub.database_deliveries import Deliveries
from flip_lab.hub.database_delivery_tables import EVERYBODY
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.database_nodes import Nodes as NodeTable
from flip_lab.node.serving.input_schema import read_input_schema
from flip_lab.runs.registry_actions import model_name
from flip_lab.store.registered import STAGES

Nodes: TypeAlias = "str | Sequence[str] | None"
"""Which nodes: a choice by tags, names, or ``None`` for all that are enrolled."""

_LARGEST_TOLD_BYTES = 2**18


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What a researcher delivers.

    Attributes:
        name: The model.
        version: The version, a number of the researcher's registry.
        stage: ``"production"`` is live as soon as it is installed.
        sha256: Hash of the file.
        upload: The upload with the file; ``None``: the hub has it already.
        scenario: The scenario of the model, as JSON.
        lineage: Where the model comes from.
        input_schema: What it takes and gives.
        nodes: For whom; those that come later among them, unless they are named one by one.
    """

    name: str
    version: int
    stage: str
    sha256: str
    upload: str | None
    scenario: str
    lineage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input_schema: Mapping[str, Any]
    nodes: Nodes = None


def check_parcel(parcel: Parcel, deliveries: Deliveries) -> None:
    """See that what is said of a version can be, before anything is kept.

    Args:
        parcel: What a researcher delivers.
        deliveries: What was delivered before.

    Raises:
        DeliveryError: If it cannot.
        InvalidValueError: If the name will not do.
    """
    model_name(parcel.name)
    if parcel.stage not in STAGES:
        raise DeliveryError(
            f"There is no stage {parcel.stage!r}.", fix=nearest(parcel.stage, STAGES)
        )
    told = [dict(parcel.lineage), dict(parcel.input_schema), parcel.scenario]
    try:
        size_bytes = len(json.dumps(told, allow_nan=False))
    except ValueError as error:  # a number that is too large for JSON
        raise DeliveryError(
            f"What is said of the model cannot be written down ({error}).",
            fix="Give finite numbers.",
        ) from error
    if size_bytes > _LARGEST_TOLD_BYTES:
        raise DeliveryError(
            "What is said of the model takes more than 256 KiB.",
            fix="Give shorter names to features and classes.",
        )
    read_input_schema(parcel.input_schema)
    try:
        scenario_from_json(parcel.scenario)
    except (FlipLabError, ValueError, TypeError) as error:
        raise DeliveryError(
            f"The scenario of {parcel.name!r} cannot be read: {error}",
            fix="Deliver a version that a scenario trained.",
        ) from error
    check_file(parcel, deliveries)


def check_file(parcel: Parcel, deliveries: Deliveries) -> None:
    """See that a version is no other file here than it has been so far.

    Args:
        parcel: What a researcher delivers.
        deliveries: What was delivered before.

    Raises:
        DeliveryError: If it is.
    """
    for row in deliveries.rows(model=parcel.name):
        is_same = row.version == parcel.version and row.action == "install"
        if is_same and row.sha256 != parcel.sha256:
            raise DeliveryError(
                f"Version {parcel.version} of {parcel.name!r} is another file here: "
                f"{row.delivered_by} delivered it.",
                fix="Register the model under another name, and deliver that.",
            )


def chosen_nodes(table: NodeTable, nodes: Nodes) -> dict[str, str]:
    """Give the names of the nodes that are meant, by fingerprint.

    Args:
        table: The hub's nodes.
        nodes: Which of them.

    Raises:
        CohortError: If none is, or one that was named is not enrolled.
    """
    enrolled = table.list(with_revoked=False)
    if nodes is None:
        chosen = enrolled
    elif isinstance(nodes, str):
        choice = NodeChoice.parse(nodes)
        chosen = [node for node in enrolled if choice.fits(node_facts(node))]
    else:
        taken = {node.name for node in enrolled}
        for name in nodes:
            if name not in taken:
                raise CohortError(
                    f"No node {name!r} is enrolled.", fix=nearest(name, taken)
                )
        chosen = [node for node in enrolled if node.name in nodes]
    if not chosen:
        names = ", ".join(sorted(node.name for node in enrolled)) or "none"
        raise CohortError(
            f"No enrolled node is meant by {nodes!r}.", fix=f"Enrolled: {names}."
        )
    return {node.fingerprint: node.name for node in chosen}


def meant_by(nodes: Nodes) -> str | None:
    """Give a choice as deliveries keep it; ``None`` if nodes were named one by one.

    Whoever is chosen by tags, or as one of all, may also come later: that is a wish.
    """
    if nodes is None:
        return EVERYBODY
    return nodes if isinstance(nodes, str) else None


def node_facts(node: NodeRecord) -> NodeFacts:
    """Give what a choice looks at."""
    partition_id = node.config.get("partition-id", -1)
    return NodeFacts(
        name=node.name,
        tags=frozenset(node.tags),
        partition_id=int(partition_id) if isinstance(partition_id, int) else -1,
    )
