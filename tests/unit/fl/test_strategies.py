"""Flower's strategies by name: they use every node, and refuse what would hang."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flwr.serverapp.strategy import FedAdam, FedAvg, FedProx, QFedAvg

from flip_lab.core.errors import InvalidValueError, UnknownKeyError
from flip_lab.core.scenario import DataSpec, Scenario, StrategySpec
from flip_lab.fl.strategies import STRATEGIES, build_strategy

SCENARIO = Scenario(name="s", data=DataSpec(dataset="digits", num_partitions=3))


def with_strategy(name: str, **options: float | str) -> Scenario:
    """Give the scenario with another strategy."""
    return replace(SCENARIO, strategy=StrategySpec(name=name, options=options))


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_uses_all_nodes_unless_told_otherwise(name: str) -> None:
    """Nothing has to be set to run a strategy on three nodes."""
    strategy: Any = build_strategy(with_strategy(name))
    assert type(strategy).__name__ == name
    assert strategy.fraction_train == strategy.fraction_evaluate == 1.0
    assert strategy.min_available_nodes == 3
    assert strategy.min_train_nodes <= 3


def test_options_are_the_constructors_arguments() -> None:
    """What a scenario says reaches Flower."""
    assert isinstance(build_strategy(SCENARIO), FedAvg)
    proximal = build_strategy(with_strategy("FedProx", proximal_mu=0.5))
    assert isinstance(proximal, FedProx)
    assert proximal.proximal_mu == 0.5
    adam = build_strategy(with_strategy("FedAdam", eta=1, fraction_train=0.5))
    assert isinstance(adam, FedAdam)
    assert (adam.eta, adam.fraction_train) == (1.0, 0.5)


def test_qfedavg_knows_the_clients_learning_rate() -> None:
    """Its one required argument follows from the scenario."""
    strategy = build_strategy(with_strategy("QFedAvg"))
    assert isinstance(strategy, QFedAvg)
    assert strategy.client_learning_rate == SCENARIO.train.learning_rate


@pytest.mark.parametrize(
    "option", ["fraction_fit", "arrayrecord_key", "train_metrics_aggr_fn"]
)
def test_an_option_that_a_scenario_cannot_set_is_refused(option: str) -> None:
    """Neither unknown names, nor the keys of our records, nor functions."""
    with pytest.raises(UnknownKeyError, match=option):
        build_strategy(with_strategy("FedAvg", **{option: "x"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction_train": 2.0}, "fraction_train is 2.0"),
        ({"fraction_evaluate": -0.1}, "fraction_evaluate is -0.1"),
        ({"min_available_nodes": 4}, "min_available_nodes is 4, and there are 3 nodes"),
        ({"fraction_train": "all"}, "fraction_train is 'all'.*a number"),
    ],
)
def test_what_would_wait_for_ever_is_refused(options: dict[str, Any], message: str) -> None:
    """More nodes than there are would make Flower wait without end."""
    with pytest.raises(InvalidValueError, match=message):
        build_strategy(with_strategy("FedAvg", **options))
