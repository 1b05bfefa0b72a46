"""1xx: what is wrong with a scenario or with data."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class ScenarioError(FlipLabError):
    """A scenario cannot be run as written."""

    code = "FLIP-100"


class UnknownNameError(ScenarioError):
    """A scenario, data set, partitioner, model or strategy of this name does not exist."""

    code = "FLIP-101"


class UnknownKeyError(ScenarioError):
    """A scenario or configuration holds a key that means nothing."""

    code = "FLIP-102"


class InvalidValueError(ScenarioError):
    """A value has the wrong type or lies outside its range."""

    code = "FLIP-103"


class PartitionError(ScenarioError):
    """The data cannot be split over the nodes as the scenario asks."""

    code = "FLIP-110"
