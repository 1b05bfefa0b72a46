"""What a running run can be asked to change: checked before it goes on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from flip_lab.core.condition import Condition
from flip_lab.core.edits import InForce
from flip_lab.core.errors import CommandRefusedError
from flip_lab.core.events import Json
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.stopping import StopRule
from flip_lab.runs.commands import Command

if TYPE_CHECKING:
    from flip_lab.engines.run_grid import RunGrid  # loads Flower; a launch must not

_LEAST = ("min_train_nodes", "min_evaluate_nodes", "min_fit_clients")
_MOST_LISTED = 20


def checked(command: Command, grid: RunGrid, soon: InForce) -> dict[str, Json]:
    """Check an edit against the run as it is now.

    Args:
        command: One of ``flip_lab.core.edits.EDITS``.
        grid: The run's Grid.
        soon: What is in force from the next round on, without it.

    Returns:
        The edit's arguments, completed.

    Raises:
        CommandRefusedError: If it cannot be done.
        ConditionError: If its condition cannot be understood.
        InvalidValueError: If a value of a policy is out of its range.
    """
    if command.command == "set_policy":
        return _set_policy(command.arguments, soon.policy or grid.policy.launched)
    arguments = _CHECKS[command.command](command.arguments, grid)
    if command.command == "exclude":
        excluded = grid.found(soon.excluded)
        _check_enough(cast("list[int]", arguments["node_ids"]), grid, excluded)
    return arguments


def _set_policy(arguments: Mapping[str, Json], now: RoundPolicy | None) -> dict[str, Json]:
    changes = cast("dict[str, Any]", arguments.get("changes") or {})
    if not changes:
        raise CommandRefusedError(
            "There is nothing to set.",
            fix="Name a part of the policy: run.set_policy(deadline_s=60).",
        )
    return {"policy": (now or RoundPolicy()).changed(changes).to_json()}


def _set(arguments: Mapping[str, Json], grid: RunGrid) -> dict[str, Json]:
    values = cast("dict[str, Any]", arguments.get("values") or {})
    if not values:
        raise CommandRefusedError(
            "There is nothing to set.", fix="Name a setting: run.set(learning_rate=0.01)."
        )
    grid.settings.check(values)
    return {"values": values}


def _check_enough(nodes: list[int], grid: RunGrid, excluded: frozenset[int]) -> None:
    """Refuse to leave out so many that a strategy would wait for ever.

    Raises:
        CommandRefusedError: If too few nodes would be left.
    """
    left = len(list(grid.all_node_ids())) - len(excluded | set(nodes))
    least = max(1, *(int(grid.settings.number(name)) for name in _LEAST))
    if left < least:
        raise CommandRefusedError(
            f"Without {len(nodes)} more nodes {left} would be left, and the strategy waits "
            f"for {least}.",
            fix="Leave out fewer, or set a smaller min_train_nodes first.",
        )


def _named(arguments: Mapping[str, Json], grid: RunGrid) -> dict[str, Json]:
    nodes = _nodes(arguments, grid)
    partitions = [grid.partition_of(node_id) for node_id in nodes]
    return {"node_ids": [*nodes], "partition_ids": [*partitions]}


def _nodes(arguments: Mapping[str, Json], grid: RunGrid) -> list[int]:
    """Give the ids of the nodes that were named by their ids or by their partitions."""
    named = cast("list[int]", arguments.get("nodes") or [])
    node_ids = list(grid.all_node_ids())
    known = set(node_ids)
    by_partition = {grid.partition_of(node_id): node_id for node_id in node_ids}
    found: list[int] = []
    for name in named:
        node_id = name if name in known else by_partition.get(name)
        if node_id is None:
            listed = sorted(by_partition)[:_MOST_LISTED]
            raise CommandRefusedError(
                f"There is no node or partition {name!r}.",
                fix=f"Name a node id, or one of the partitions {listed}"
                f"{'…' if len(by_partition) > _MOST_LISTED else ''}.",
            )
        found.append(node_id)
    if not found:
        raise CommandRefusedError(
            "No node was named.", fix="Name nodes or partitions: run.exclude(7)."
        )
    return found


def _stop_when(arguments: Mapping[str, Json], grid: RunGrid) -> dict[str, Json]:
    del grid
    return {"rule": StopRule.from_json(cast("dict[str, Any]", arguments["rule"])).to_json()}


def _break_when(arguments: Mapping[str, Json], grid: RunGrid) -> dict[str, Json]:
    del grid
    if "function" in arguments:  # a pickle, made by the user's own kernel
        return dict(arguments)
    return {"condition": str(Condition.parse(str(arguments["condition"])))}


def _clear(arguments: Mapping[str, Json], grid: RunGrid) -> dict[str, Json]:
    del grid
    return {"ids": arguments.get("ids", [])}


_CHECKS: Mapping[str, Callable[..., dict[str, Json]]] = MappingProxyType(
    {
        "set": _set,
        "exclude": _named,
        "include": _named,
        "stop_when": _stop_when,
        "break_when": _break_when,
        "clear": _clear,
    }
)
