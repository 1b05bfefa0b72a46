"""What the endpoint says: predictions, what is installed, and what inputs must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flip_lab.core.clock import at_utc
from flip_lab.node.serving.input_schema import InputSchema
from flip_lab.node.serving.inputs import read_body, read_rows
from flip_lab.node.serving.manifest import Manifest
from flip_lab.node.serving.predictor import Predictor
from flip_lab.node.serving.shelf_state import Installed

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def predicted(predictor: Predictor, body: bytes, *, most: int) -> tuple[bytes, int]:
    """Answer a request for predictions.

    Args:
        predictor: Who answers.
        body: The request's body.
        most: Largest number of examples.

    Returns:
        The answer as JSON, and how many examples there were.

    Raises:
        PredictionError: If the body is not as it should be.
    """
    examples, is_one = read_body(body)
    rows = read_rows(examples, predictor.schema, most=most, takes_gaps=predictor.takes_gaps)
    found = predictor.probabilities(rows)
    told = _predictions(predictor.schema, found)
    model = model_told(predictor.manifest)
    key, value = ("prediction", told[0]) if is_one else ("predictions", told)
    return json.dumps({"model": model, key: value}).encode(), len(told)


def _predictions(
    schema: InputSchema, probabilities: npt.NDArray[np.float32]
) -> list[dict[str, Any]]:
    names = schema.class_names
    labels: list[int] = probabilities.argmax(axis=1).tolist()
    rows: list[list[float]] = probabilities.tolist()
    return [
        {
            "class": names[label],
            "label": label,
            "probabilities": dict(zip(names, row, strict=True)),
        }
        for label, row in zip(labels, rows, strict=True)
    ]


def model_told(manifest: Manifest) -> dict[str, Any]:
    """Say which version answered."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": manifest.sha256,
    }


def installed_told(installed: Installed, *, is_served: bool) -> dict[str, Any]:
    """Say what is known of a version that is here.

    Args:
        installed: The version.
        is_served: Whether it answers at this moment.
    """
    manifest = installed.manifest
    return {
        **model_told(manifest),
        "is_live": is_served,
        "stage": manifest.stage,
        "delivery": manifest.delivery,
        "delivered_at": at_utc(manifest.time_s).isoformat(),
        "delivered_by": manifest.delivered_by,
        "size_bytes": manifest.size_bytes,
        "lineage": manifest.lineage,
    }


def schema_told(predictor: Predictor, *, most: int) -> dict[str, Any]:
    """Say what ``/predict`` takes, as JSON Schema.

    Args:
        predictor: Who answers.
        most: Largest number of examples in one request.
    """
    schema = predictor.schema
    example = _example_schema(schema, takes_gaps=predictor.takes_gaps)
    return {
        "$schema": _DRAFT,
        "title": f"Inputs of {predictor.manifest}",
        "description": _preparation(predictor),
        "x-model": model_told(predictor.manifest),
        "x-dataset": schema.dataset,
        "x-classes": list(schema.class_names),
        "type": "object",
        "oneOf": [
            _only("input", example),
            _only(
                "inputs",
                {"type": "array", "items": example, "minItems": 1, "maxItems": most},
            ),
        ],
    }


def _only(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "properties": {name: value},
        "required": [name],
        "additionalProperties": False,
    }


def _example_schema(schema: InputSchema, *, takes_gaps: bool) -> dict[str, Any]:
    number = {
        "type": ["number", "boolean", "null"] if takes_gaps else ["number", "boolean"]
    }
    seen = [{"x-seen": list(pair)} for pair in schema.seen]
    if schema.feature_names:
        is_each = len(seen) == schema.num_features
        columns = [
            {**number, **(seen[at] if is_each else {})} for at in range(schema.num_features)
        ]
        named = dict(zip(schema.feature_names, columns, strict=True))
        row = [{"title": name, **column} for name, column in named.items()]
        size = {"minItems": len(row), "maxItems": len(row)}
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": named,
                    "required": list(named),
                    "additionalProperties": False,
                },
                {"type": "array", "prefixItems": row, **size},
            ]
        }
    shape: dict[str, Any] = {**number, **(seen[0] if len(seen) == 1 else {})}
    for side in reversed(schema.shape):
        shape = {"type": "array", "items": shape, "minItems": side, "maxItems": side}
    return shape


def _preparation(predictor: Predictor) -> str:
    """Say in words what must be done to examples before they are sent."""
    if not predictor.schema.is_prepared_per_site and not predictor.takes_gaps:
        return (
            f"Examples as the data set {predictor.schema.dataset!r} has them; nothing else "
            "is done to them, in training as here."
        )
    if predictor.takes_gaps:
        return (
            f"Examples as the data set {predictor.schema.dataset!r} has them; null where "
            "something was not measured. They are made ready by what this site's own train "
            "rows say, as in training."
        )
    return (
        f"Examples of the data set {predictor.schema.dataset!r}, made ready as this site "
        "made its rows ready for training, without a gap: this node has no train rows of "
        "its own to do that by."
    )
