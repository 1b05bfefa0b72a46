"""Any labelled image or number table on the Hugging Face hub, or in a local folder.

The id may end with ``@split`` (``ylecun/mnist@test``); without it the split ``train`` is
taken. The columns are found by their declared features: the first ``ClassLabel`` column
is the label, the first ``Image`` column the example, or all numeric columns together.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from flip_lab.core.errors import ScenarioError, UnknownNameError
from flip_lab.fl.data.dataset import Dataset, Features
from flip_lab.fl.extras import needs_extra

HUB_PREFIX = "hf:"
_BRIGHTEST = 255
_NUMERIC = ("int", "uint", "float", "double")


def load_hub_dataset(identifier: str) -> Dataset:
    """Load one split of a data set of the hub, or of a local directory.

    Args:
        identifier: Id on the hub, path of a directory that ``datasets`` wrote with
            ``save_to_disk``, or path of a folder with Parquet, CSV or class-wise image
            files; optionally followed by ``@split``.

    Returns:
        Images scaled to ``[0, 1]`` with shape ``(num_examples, channels, height, width)``,
        or numbers as they are with shape ``(num_examples, num_columns)``.

    Raises:
        MissingExtraError: If the package ``datasets`` is not installed.
        UnknownNameError: If the data set is not found, or the hub is out of reach.
        ScenarioError: If it has no class labels, or neither images nor numbers.
    """
    name, _, split = identifier.partition("@")
    table = _open(name, split or "train")
    label = _first(table.features, "ClassLabel")
    if label is None:
        raise ScenarioError(
            f"The data set {name!r} has no column of class labels.",
            fix=f"Choose one with a ClassLabel column; this has {list(table.features)}.",
        )
    image = _first(table.features, "Image")
    names = () if image else _numeric_columns(table.features, label)
    return Dataset(
        title=name,
        features=_images(table, image, name) if image else _numbers(table, names, name),
        labels=np.asarray(table[label][:], dtype=np.int64),
        class_names=tuple(table.features[label].names),
        feature_names=names,
        attribution=(table.info.citation or table.info.license or f"See {name}.").strip(),
    )


def _open(name: str, split: str) -> Any:  # noqa: ANN401  # `datasets` ships no types
    """Open one split, from disk where ``name`` is a directory and else from the hub.

    Raises:
        UnknownNameError: If there is no such data set or split, or the hub does not answer.
    """
    with needs_extra("hf", f"The data set 'hf:{name}'"):
        datasets: Any = import_module("datasets")  # untyped
    try:
        if (Path(name) / "dataset_dict.json").is_file():
            return datasets.load_from_disk(name)[split]
        if (Path(name) / "state.json").is_file():
            return datasets.load_from_disk(name)
        return datasets.load_dataset(name, split=split)
    except (OSError, ValueError, KeyError) as error:
        raise UnknownNameError(
            f"The data set 'hf:{name}' with split {split!r} cannot be loaded: {error}",
            fix="Check the id, the split and the connection, or give a local directory.",
        ) from error


def _first(features: Any, kind: str) -> str | None:  # noqa: ANN401  # as above
    """Give the first column whose declared feature has this class name."""
    return next(
        (key for key, value in features.items() if type(value).__name__ == kind), None
    )


def _numeric_columns(features: Any, label: str) -> tuple[str, ...]:  # noqa: ANN401  # as above
    return tuple(
        key
        for key, value in features.items()
        if key != label and str(getattr(value, "dtype", "")).startswith(_NUMERIC)
    )


def _images(table: Any, column: str, name: str) -> Features:  # noqa: ANN401  # as above
    """Stack images as ``(num_examples, channels, height, width)`` in ``[0, 1]``.

    Raises:
        ScenarioError: If they differ in size.
    """
    mode = "L" if table[0][column].mode in {"1", "L"} else "RGB"
    pixels = [np.asarray(image.convert(mode)) for image in table[column]]
    sizes = {image.shape for image in pixels}
    if len(sizes) > 1:
        raise ScenarioError(
            f"The images of {name!r} have {len(sizes)} different sizes.",
            fix="Choose a data set with images of one size, or resize them beforehand.",
        )
    stack = (np.stack(pixels) / _BRIGHTEST).astype(np.float32)
    return (
        stack[:, None] if mode == "L" else np.ascontiguousarray(stack.transpose(0, 3, 1, 2))
    )


def _numbers(table: Any, columns: tuple[str, ...], name: str) -> Features:  # noqa: ANN401  # as above
    """Stack the numeric columns as ``(num_examples, num_columns)``.

    Raises:
        ScenarioError: If there is none.
    """
    if not columns:
        raise ScenarioError(
            f"The data set {name!r} has neither images nor numbers to learn from.",
            fix="Choose a data set with an Image column or numeric columns.",
        )
    values = [table[column][:] for column in columns]
    return np.array(values, dtype=np.float32).T.copy()
