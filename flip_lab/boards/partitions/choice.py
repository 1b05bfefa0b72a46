"""What is chosen in the partition explorer, and how that is said to a launch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from flip_lab.analysis.distances import DISTANCES, Distance
from flip_lab.core.errors import InvalidValueError, nearest
from flip_lab.core.scenario import Scenario

Order: TypeAlias = Literal["auto", "number", "label", "size", "distance"]
"""How nodes are put in order; ``"auto"``: by number while each has its own column."""

ORDERS: tuple[Order, ...] = get_args(Order)
_LINE = 88


@dataclass(frozen=True, kw_only=True)
class Split:
    """How data lies on nodes, and how that is looked at.

    Attributes:
        dataset: Name of the data set.
        partitioner: Name of the partitioner.
        num_partitions: Nodes.
        seed: The run's seed.
        options: Options of the partitioner that are set; others have their defaults.
        distance: How label distributions are compared.
        order: How nodes are put in order.
    """

    dataset: str
    partitioner: str
    num_partitions: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    distance: Distance = "total_variation"
    order: Order = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn; the scenario's own values are checked with it.

        Raises:
            InvalidValueError: If there is no such distance or order.
        """
        for name, value, known in (
            ("distance", self.distance, DISTANCES),
            ("order", self.order, ORDERS),
        ):
            if value not in known:
                raise InvalidValueError(
                    f"{name} is {value!r}.", fix=nearest(str(value), known)
                )

    @classmethod
    def of(cls, scenario: Scenario, *, distance: Distance, order: Order) -> Split:
        """Give a scenario's own split."""
        return cls(
            dataset=scenario.data.dataset,
            partitioner=scenario.data.partitioner,
            num_partitions=scenario.data.num_partitions,
            seed=scenario.seed,
            options=dict(scenario.data.options),
            distance=distance,
            order=order,
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Split:
        """Read what the browser set.

        Raises:
            InvalidValueError: If it is no split.
        """
        try:
            return cls(**told)
        except TypeError as error:
            raise InvalidValueError(
                f"The settings are {dict(told)!r}.", fix="Make the explorer anew."
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Give it as the browser reads it."""
        return asdict(self)

    def overrides(self, scenario: Scenario) -> dict[str, Any]:
        """Say what differs from a scenario, as ``Lab.launch`` takes it; empty for nothing.

        Args:
            scenario: The scenario that will be launched.
        """
        data = scenario.data
        plain = {
            "data.dataset": (self.dataset, data.dataset),
            "data.partitioner": (self.partitioner, data.partitioner),
            "data.num_partitions": (self.num_partitions, data.num_partitions),
            "seed": (self.seed, scenario.seed),
        }
        changes: dict[str, Any] = {
            key: mine for key, (mine, given) in plain.items() if mine != given
        }
        options = dict(self.options)
        if self.partitioner != data.partitioner or {*data.options} - {*options}:
            changes["data.options"] = options  # single values could take none away
        else:
            changes |= {
                f"data.options.{name}": value
                for name, value in options.items()
                if name not in data.options or data.options[name] != value
            }
        return changes

    def scenario(self, start: Scenario) -> Scenario:
        """Give a scenario with this split; nothing is checked yet.

        Args:
            start: The scenario to change.
        """
        return start.override(self.overrides(start))


def launch_text(what: str | Path | Scenario, overrides: Mapping[str, Any]) -> str:
    """Write the launch of a scenario with other values, as Python.

    Args:
        what: A scenario, its name or its file.
        overrides: What differs.

    Returns:
        One call; on one line where that is short enough.
    """
    named = "scenario" if isinstance(what, Scenario) else json.dumps(str(what))
    if not overrides:
        return f"lab.launch({named})"
    line = f"lab.launch({named}, overrides={_literal(overrides)})"
    if len(line) <= _LINE:
        return line
    rows = "".join(
        f"        {json.dumps(key)}: {_literal(value)},\n"
        for key, value in overrides.items()
    )
    return f"lab.launch(\n    {named},\n    overrides={{\n{rows}    }},\n)"


def _literal(value: object) -> str:
    """Write a value as Python, with the quotes of our style."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return "{" + ", ".join(f"{json.dumps(k)}: {_literal(v)}" for k, v in pairs) + "}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
