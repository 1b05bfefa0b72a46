"""What somebody wants to see: which metrics, against what, in which groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

from flip_lab.core.errors import InvalidValueError, nearest

XAxis: TypeAlias = Literal["round", "seconds", "bytes"]
"""What metrics are drawn against; seconds and bytes are summed up to each round."""

Draw: TypeAlias = Literal["mean", "lines"]
"""Each group's mean with its band, or each run by itself."""

LONGEST_SPAN = 50
MOST_METRICS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to look at some runs.

    Attributes:
        metrics: Keys of metrics, ``phase/scope/name``; a panel for each, at most 6.
        x: What they are drawn against.
        by: Keys that make the groups: columns of ``runs``, or parameters. At most two.
        draw: Means with bands, or single runs.
        span: Points that the moving average looks at, 1 (none) to 50.
        is_log: Whether the vertical axis is logarithmic.
    """

    metrics: tuple[str, ...] = ()
    x: XAxis = "round"
    by: tuple[str, ...] = ()
    draw: Draw = "mean"
    span: int = 1
    is_log: bool = False

    def __post_init__(self) -> None:
        """Refuse what means nothing.

        Raises:
            InvalidValueError: If a value is none of those that would do.
        """
        _among(self.x, get_args(XAxis), "x")
        _among(self.draw, get_args(Draw), "draw")
        whole = isinstance(self.span, int) and not isinstance(self.span, bool)  # pyright: ignore[reportUnnecessaryIsInstance]  # the browser sends anything
        if not whole or not 1 <= self.span <= LONGEST_SPAN:
            raise InvalidValueError(
                f"smoothing is {self.span!r}, no whole number from 1 to {LONGEST_SPAN}.",
                fix="Leave it out for none, or pass the points to average over.",
            )
        _at_most(self.metrics, MOST_METRICS, "metrics")
        _at_most(self.by, 2, "keys to group by")

    def to_json(self) -> dict[str, Any]:
        """Give the choice as the browser keeps it."""
        return {
            "metrics": list(self.metrics),
            "x": self.x,
            "by": list(self.by),
            "draw": self.draw,
            "span": self.span,
            "log": self.is_log,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Choice:
        """Read what the browser sent.

        Raises:
            InvalidValueError: If a value is none of those that would do.
        """
        return cls(
            metrics=_texts(told.get("metrics")),
            x=told.get("x", "round"),
            by=_texts(told.get("by")),
            draw=told.get("draw", "mean"),
            span=told.get("span", 1),
            is_log=told.get("log") is True,
        )


def _texts(told: object) -> tuple[str, ...]:
    several = cast("list[object]", told) if isinstance(told, list) else []
    return tuple(dict.fromkeys(str(each) for each in several))


def _among(value: str, valid: Sequence[str], name: str) -> None:
    if value not in valid:
        raise InvalidValueError(f"{name} is {value!r}.", fix=nearest(str(value), valid))


def _at_most(values: Sequence[str], most: int, what: str) -> None:
    if len(values) > most:
        raise InvalidValueError(
            f"{len(values)} {what} are too many to see apart.", fix=f"Choose up to {most}."
        )
