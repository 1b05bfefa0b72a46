"""What a model takes and gives, as it travels with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, cast

import numpy as np

from flip_lab.core.errors import DeliveryError
from flip_lab.fl.data.dataset import Dataset

_LARGEST_EXAMPLE = 2**24  # numbers; one of float32 is 64 MiB then
_MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True)
class InputSchema:
    """What goes in and comes out.

    Attributes:
        dataset: Name of the data set that it was trained on.
        shape: Shape of one example, such as ``(1, 8, 8)`` or ``(32,)``.
        feature_names: Name of each column of tabular data; empty for others.
        class_names: Name of each class, by label.
        is_prepared_per_site: Whether each site makes its rows ready by what it knows of
            its own train rows, such as filling in what was not measured.
        seen: Smallest and largest value of each feature in the researcher's copy of the
            data set, or one pair for all features; empty where nobody knows.
    """

    dataset: str
    shape: tuple[int, ...]
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...]
    is_prepared_per_site: bool = False
    seen: tuple[tuple[float, float], ...] = field(default_factory=tuple)

    @property
    def num_features(self) -> int:
        """Numbers in one example."""
        return prod(self.shape)

    def empty_dataset(self) -> Dataset:
        """Give a data set of these shapes and names without an example.

        A model is built from shapes and names: no data need be at the site for it.
        """
        return Dataset(
            title=self.dataset,
            features=np.empty((0, *self.shape), dtype=np.float32),
            labels=np.empty(0, dtype=np.int64),
            class_names=self.class_names,
            feature_names=self.feature_names,
            attribution="",
        )

    def plain(self) -> dict[str, Any]:
        """Give it as the model registry writes it, with what was seen."""
        features = {
            "shape": list(self.shape),
            "dtype": "float32",
            "names": list(self.feature_names),
            "seen": [list(pair) for pair in self.seen],
        }
        return {
            "dataset": self.dataset,
            "features": features,
            "classes": list(self.class_names),
            "is_prepared_per_site": self.is_prepared_per_site,
        }


def read_input_schema(told: object) -> InputSchema:
    """Read what came with a model.

    Args:
        told: Plain data, as ``InputSchema.plain`` gives it.

    Raises:
        DeliveryError: If it is no such thing, or speaks of examples that are too large.
    """
    try:
        whole = _mapping(told)
        features = _mapping(whole["features"])
        schema = InputSchema(
            dataset=_text(whole["dataset"]),
            shape=tuple(_side(side) for side in _sequence(features["shape"])),
            feature_names=tuple(_text(name) for name in _sequence(features["names"])),
            class_names=tuple(_text(name) for name in _sequence(whole["classes"])),
            is_prepared_per_site=bool(whole["is_prepared_per_site"]),
            seen=tuple(_pair(pair) for pair in _sequence(features.get("seen", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DeliveryError(
            f"What the model takes and gives cannot be read ({error!r:.200}).",
            fix="Deliver it again, with the same version of FLIP Lab on both sides.",
        ) from error
    _require_sense(schema)
    return schema


def _require_sense(schema: InputSchema) -> None:
    """Check that shapes and names go together, and are of a size that fits.

    Raises:
        DeliveryError: If they do not.
    """
    names, num_features = schema.feature_names, schema.num_features
    is_fit = (
        0 < num_features <= _LARGEST_EXAMPLE
        and (not names or (len(set(names)) == num_features and len(schema.shape) == 1))
        and 0 < len(set(schema.class_names)) == len(schema.class_names) <= _MOST_CLASSES
        and len(schema.seen) in {0, 1, num_features}
    )
    if not is_fit:
        raise DeliveryError(
            f"A model takes examples of the shape {schema.shape}, with {len(names)} names "
            f"of features and {len(schema.class_names)} classes.",
            fix="Name each feature and each class once, and deliver the model again.",
        )


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise TypeError(f"{value!r:.50} is no table")


def _sequence(value: object) -> Sequence[Any]:
    if isinstance(value, list | tuple):
        return cast("Sequence[Any]", value)
    raise TypeError(f"{value!r:.50} is no list")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"{value!r:.50} is no text")


def _side(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"{value!r:.50} is no length")


def _pair(value: object) -> tuple[float, float]:
    low, high = map(float, _sequence(value))
    if not low <= high:
        raise ValueError(f"{value!r:.50} is no range")
    return low, high
