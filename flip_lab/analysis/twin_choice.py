"""What could be otherwise: the question that a digital twin is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flip_lab.core.errors import InvalidValueError
from flip_lab.core.policy import RoundPolicy


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """One way in which rounds could be run; by default as they were.

    Attributes:
        name: What a table and a figure call it.
        cohort_size: Nodes asked in each phase, 1 or more, drawn from all alike; ``None``
            keeps each round's cohort.
        without: Partitions whose nodes take no part.
        slower: How many times longer nodes compute, by partition; below 1 is faster.
        examples_factor: How many times more examples each message works on, above 0.
        bytes_factor: How many times more bytes go each way, above 0: a larger model.
        policy: When a round closes; ``None`` keeps the run's own policy.

    Raises:
        InvalidValueError: If a value is out of its range.
    """

    name: str = "as it was"
    cohort_size: int | None = None
    without: frozenset[int] = frozenset()
    slower: Mapping[int, float] = field(default_factory=dict[int, float])
    examples_factor: float = 1.0
    bytes_factor: float = 1.0
    policy: RoundPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        object.__setattr__(self, "without", frozenset(self.without))  # any iterable will do
        if self.cohort_size is not None and self.cohort_size < 1:
            raise InvalidValueError(
                f"cohort_size is {self.cohort_size!r}.", fix="Ask 1 node or more."
            )
        factors = {
            "examples_factor": self.examples_factor,
            "bytes_factor": self.bytes_factor,
            **{f"slower[{node}]": factor for node, factor in self.slower.items()},
        }
        for name, factor in factors.items():
            if not (0 < factor < math.inf):
                raise InvalidValueError(
                    f"{name} is {factor!r}.", fix="Give a number above 0: 2 means double."
                )
