"""Clients called in groups: who would see their messages, and their replies at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.clientapp import ClientApp
from flwr.clientapp import client_app as flower
from numpy.typing import NDArray

from flip_lab.engines.flower.arrays import backed


def answers_alone(app: ClientApp) -> bool:
    """Say whether nothing but the app's own functions sees a message.

    Modifiers and lifespans run around every single one: clients of an app that has any
    must be called one by one.
    """
    inner: dict[str, Any] = vars(app)
    return not inner["_mods"] and inner["_lifespan"] is vars(flower)["_empty_lifespan"]


def arrays_on(values: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Give a record on these very values, which nobody may change from now on.

    They are copied only where ``install_fast_arrays`` was not called.
    """
    record = ArrayRecord()
    inside: dict[str, Array] = vars(record)["_data"]  # the names are known to be texts
    make = backed if _are_fast() else Array
    for name, value in values.items():
        inside[name] = make(value)
    return record


def _are_fast() -> bool:
    """Say whether an array of this process has no bytes until it is asked for them."""
    return "data" not in vars(Array(_PROBE))


_PROBE = np.zeros(1)
