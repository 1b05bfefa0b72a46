"""Where a run's process lives, read from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flip_lab.runs.leftovers import Home


def home_in(body: Mapping[str, Any]) -> Home | None:
    """Read where the run process lives; ``None`` in events that do not say."""
    names = [item.name for item in fields(Home)]
    if not all(name in body for name in names):
        return None
    return Home(**{name: body[name] for name in names})
