"""2xx: what is wrong with a Flower App."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class AppError(FlipLabError):
    """A Flower App cannot be loaded."""

    code = "FLIP-200"


class AppPartMissingError(AppError):
    """A Flower App directory lacks a part that Flower requires."""

    code = "FLIP-201"


class AppImportError(AppError):
    """The module of a ServerApp or ClientApp raises while it is imported."""

    code = "FLIP-202"
