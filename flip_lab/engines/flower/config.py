"""Flower's run configuration: flat keys, scalar values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import cast

from flwr.common.config import flatten_dict

from flip_lab.core.errors import InvalidValueError


def flatten_config(config: object, source: PurePath) -> dict[str, bool | int | float | str]:
    """Join nested keys with dots, as Flower hands them to apps.

    Args:
        config: The table ``[tool.flwr.app.config]``.
        source: The file it comes from, for the message.

    Raises:
        InvalidValueError: If a value is neither a scalar nor a table.
    """
    try:
        return dict(flatten_dict(dict(cast("Mapping[str, object]", config))))
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"The configuration in {source} holds a value Flower does not carry: {error}",
            fix="Use booleans, numbers, strings and tables of those only.",
        ) from error
