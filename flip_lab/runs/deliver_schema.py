"""What a node must know of a model to build it and to read inputs: names and numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flip_lab.core.errors import DeliveryError, FlipLabError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.data.dataset import Dataset
from flip_lab.fl.scenarios import load_scenario, scenario_from_json
from flip_lab.store import query
from flip_lab.store.layout import LabDir
from flip_lab.store.registered import ModelVersion


def scenario_of(
    lab: LabDir, version: ModelVersion, asked: Scenario | str | None
) -> Scenario:
    """Find the scenario that a version was trained in.

    Args:
        lab: The lab.
        version: The version.
        asked: The scenario, or its name or path; ``None``: that of the version's run, or
            one that has the name and the numbers of the run's.

    Raises:
        DeliveryError: If nobody knows it, or another one was given than it was trained in.
        UnknownNameError: If there is no scenario of the name that was given.
    """
    lineage = version.lineage
    found = _found(lab, version) if asked is None else asked
    if found is None:
        raise DeliveryError(
            f"Nobody knows the scenario of {version}: nodes could not build the model.",
            fix="Say which one it is: lab.models.deliver(…, scenario='digits-iid'). Models "
            "of Flower Apps stay where they are.",
        )
    scenario = load_scenario(found) if isinstance(found, str) else found
    wanted = lineage.scenario_fingerprint
    if wanted is not None and scenario.fingerprint != wanted:
        raise DeliveryError(
            f"{version} was trained in another scenario than {scenario.name!r} as it is "
            f"({scenario.fingerprint:.12}…, not {wanted:.12}…).",
            fix="Give the scenario of its run: lab.run(run_id).scenario",
        )
    return scenario


def _found(lab: LabDir, version: ModelVersion) -> Scenario | None:
    lineage = version.lineage
    if lineage.run_id is not None:
        rows = query.sql(
            lab, "SELECT scenario FROM runs WHERE run_id = ?", [lineage.run_id], as_="rows"
        )
        if rows and rows[0]["scenario"] is not None:
            return scenario_from_json(str(rows[0]["scenario"]))
    if lineage.scenario is None or lineage.scenario_fingerprint is None:
        return None
    try:
        named = load_scenario(lineage.scenario)
    except FlipLabError:
        return None
    return named if named.fingerprint == lineage.scenario_fingerprint else None


def input_schema_of(version: ModelVersion, scenario: Scenario) -> dict[str, Any]:
    """Say what a version takes and gives.

    Args:
        version: The version; what its run knew of its input counts where the data set
            itself is not at hand.
        scenario: The scenario.

    Returns:
        Shape and names of the features, what was seen of them, and names of the classes.

    Raises:
        DeliveryError: If neither the run nor the data set tells.
    """
    told = version.lineage.input_schema
    try:
        dataset = scenario_dataset(scenario.data)
    except FlipLabError as error:
        if told is None:
            raise DeliveryError(
                f"What {version} takes is not known: {error.what}",
                fix=f"Make the data set {scenario.data.dataset!r} available here.",
            ) from error
        return json.loads(json.dumps(told, default=dict))
    return {
        "dataset": scenario.data.dataset,
        "features": {
            "shape": list(dataset.shape),
            "dtype": str(dataset.features.dtype),
            "names": list(dataset.feature_names),
            "seen": _seen(dataset),
        },
        "classes": list(dataset.class_names),
        "is_prepared_per_site": dataset.prepare is not None,
    }


def _seen(dataset: Dataset) -> list[list[float]]:
    """Give the smallest and largest value: of each column, or of all that an image has."""
    features = dataset.features
    if not len(features):
        return []
    rows = features if dataset.feature_names else features.reshape(-1, 1)
    columns = rows.T
    known = [column[np.isfinite(column)] for column in columns]
    if not all(column.size for column in known):
        return []
    return [[float(column.min()), float(column.max())] for column in known]
