"""6xx: what is not installed."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class MissingExtraError(FlipLabError):
    """A part of FLIP Lab that was not installed is needed."""

    code = "FLIP-600"
