"""Flower's own strategies by name; a scenario's options are their constructor arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from flwr.serverapp.strategy import (
    Bulyan,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
    QFedAvg,
    Strategy,
)

from flip_lab.core.errors import InvalidValueError, UnknownKeyError, nearest
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import Scenario
from flip_lab.fl.validation import options_type, read_options

STRATEGIES: Registry[Callable[..., Strategy]] = Registry("strategy", "flip_lab.strategies")
for _strategy in (
    Bulyan,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
    MultiKrum,
    QFedAvg,
):
    STRATEGIES.add(_strategy.__name__)(_strategy)


def build_strategy(scenario: Scenario) -> Strategy:
    """Build the scenario's strategy; what it does not say is chosen to use every node.

    Raises:
        UnknownNameError: If there is no such strategy.
        UnknownKeyError: If it has no such option; the message names the nearest one.
        InvalidValueError: If an option has the wrong type or lies outside its range.
    """
    return STRATEGIES.get(scenario.strategy.name)(**check_strategy(scenario))


def check_strategy(scenario: Scenario) -> dict[str, Any]:
    """Check a scenario's strategy and give all arguments of its constructor.

    Raises:
        UnknownNameError: If there is no such strategy.
        UnknownKeyError: If it has no such option; the message names the nearest one.
        InvalidValueError: If an option has the wrong type, or would make the run wait for
            nodes that do not exist.
    """
    builder = STRATEGIES.get(scenario.strategy.name)
    # The keys of the records are settled between our ServerApp and our ClientApp.
    every = (item.name for item in fields(options_type(builder)))
    known = {name for name in every if not name.endswith("_key")}
    given = scenario.strategy.options
    for name in given:
        if name not in known:
            raise UnknownKeyError(
                f"The strategy {scenario.strategy.name} has no option {name!r}.",
                fix=nearest(name, known),
            )
    wanted = {
        key: value for key, value in strategy_defaults(scenario).items() if key in known
    }
    arguments = read_options(builder, {**wanted, **given}, prefix="strategy.options.")
    for name, value in arguments.items():
        _check_range(name, value, scenario.data.num_partitions)
    return arguments


def strategy_defaults(scenario: Scenario) -> dict[str, Any]:
    """Give the options that we choose in Flower's stead: every node in every round.

    Returns:
        Values by name; a strategy takes those that it knows.
    """
    return {
        "fraction_train": 1.0,
        "fraction_evaluate": 1.0,
        "min_train_nodes": 1,
        "min_evaluate_nodes": 1,
        "min_available_nodes": scenario.data.num_partitions,
        "client_learning_rate": scenario.train.learning_rate,  # of QFedAvg
    }


def strategy_range(name: str, num_nodes: int) -> tuple[int, int] | None:
    """Say between which numbers an option must lie so that the run does not wait for ever.

    Args:
        name: The option's name.
        num_nodes: Nodes of the federation.

    Returns:
        The least and the greatest; ``None`` for an option of any other kind.
    """
    if name.startswith("fraction_"):
        return 0, 1
    if name.startswith("min_") and name.endswith("_nodes"):
        return 0, num_nodes
    return None


def _check_range(name: str, value: Any, num_nodes: int) -> None:  # noqa: ANN401  # any
    """Refuse what Flower would accept and then wait for, for ever.

    Raises:
        InvalidValueError: If the value lies outside its range.
    """
    limits = strategy_range(name, num_nodes)
    if limits is None or limits[0] <= value <= limits[1]:
        return
    if name.startswith("fraction_"):
        raise InvalidValueError(
            f"strategy.options.{name} is {value}.", fix="Set it to a number ≥ 0 and ≤ 1."
        )
    raise InvalidValueError(
        f"strategy.options.{name} is {value}, and there are {num_nodes} nodes.",
        fix=f"Set it to a whole number from 0 to {num_nodes}.",
    )
