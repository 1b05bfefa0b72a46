"""What people write to change a fork, read against its parent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flip_lab.core.errors import InvalidValueError, UnknownKeyError, UnknownNameError
from flip_lab.core.scenario import DataSpec, Scenario, StrategySpec
from flip_lab.fl.scenarios import scenario_to_dict
from flip_lab.runs.fork_changes import changed_names, read_changes, with_fitting_options
from flip_lab.runs.spec import RunSpec

SCENARIO = Scenario(
    name="s",
    data=DataSpec(
        dataset="heart-disease",
        partitioner="dirichlet",
        num_partitions=6,
        options={"alpha": 0.5},
    ),
    strategy=StrategySpec(
        name="FedAdam", options={"eta": 0.1, "fraction_train": 0.5, "tau": 0.01}
    ),
)
PARENT = RunSpec(
    run_id="a",
    name="s",
    kind="scenario",
    created_s=1.0,
    seed=0,
    num_rounds=10,
    num_nodes=6,
    engine="in_process",
    federation=None,
    workers=1,
    run_config={},
    overrides={"strategy.options.eta": 0.1, "num_rounds": 10},
    scenario=scenario_to_dict(SCENARIO),
)
APP = replace(
    PARENT,
    kind="app",
    name="an-app",
    scenario=None,
    run_config={"num-server-rounds": 3, "learning-rate": 0.1, "local_epochs": 1},
)


@pytest.mark.parametrize(
    ("named", "path", "value"),
    [
        ({"learning_rate": 0.01}, "train.learning_rate", 0.01),
        ({"num_rounds": 40}, "train.num_rounds", 40),
        ({"strategy": "FedProx"}, "strategy.name", "FedProx"),
        ({"eta": 0.5}, "strategy.options.eta", 0.5),
        ({"alpha": 5.0}, "data.options.alpha", 5.0),
    ],
)
def test_a_short_name_stands_for_a_whole_path(
    named: dict[str, Any], path: str, value: object
) -> None:
    """Fields, the strategy, its options and the partitioner's are known by their name."""
    assert read_changes(PARENT, named).overrides == {path: value}


def test_an_option_belongs_to_the_forks_own_strategy() -> None:
    """Whatever order they are given in; the old one's are no options any more."""
    named = {"proximal_mu": 0.1, "strategy": "FedProx"}
    assert read_changes(PARENT, named).overrides == {
        "strategy.name": "FedProx",
        "strategy.options.proximal_mu": 0.1,
    }
    with pytest.raises(UnknownKeyError, match="proximal_mu"):
        read_changes(PARENT, {"eta": 0.1, "strategy": "FedProx"})


def test_nodes_and_seed_are_taken_from_wherever_they_stand() -> None:
    """They mean the same by path and by argument; the argument wins."""
    changes = read_changes(PARENT, {}, overrides={"data.num_partitions": 9, "seed": 4})
    assert (changes.num_nodes, changes.seed, dict(changes.overrides)) == (9, 4, {})
    changes = read_changes(PARENT, {"num_partitions": 9}, num_nodes=3, seed=1)
    assert (changes.num_nodes, changes.seed) == (3, 1)


def test_what_is_given_by_key_wins() -> None:
    """A whole path is more exact than a short name."""
    changes = read_changes(
        PARENT, {"learning_rate": 0.1}, overrides={"train.learning_rate": 0.2}
    )
    assert changes.overrides == {"train.learning_rate": 0.2}


@pytest.mark.parametrize(
    ("name", "meant"), [("learnin_rate", "learning_rate"), ("fraction_trian", "fraction_")]
)
def test_a_wrong_name_is_told_with_the_nearest(name: str, meant: str) -> None:
    """Fields of the scenario and options of the strategy are both looked at."""
    with pytest.raises(UnknownKeyError, match=f"Did you mean '{meant}"):
        read_changes(PARENT, {name: 1})


@pytest.mark.parametrize("name", ["model.name", "hidden", "dataset"])
def test_the_model_and_its_data_stay(name: str) -> None:
    """The parent's arrays would not fit another model."""
    overrides = {"model.options.hidden" if name == "hidden" else name: "x"}
    with pytest.raises(InvalidValueError, match="would not fit"):
        read_changes(PARENT, {}, overrides=overrides)


def test_another_strategy_keeps_the_options_that_it_has_too() -> None:
    """The others are dropped, also from what the launch changed."""
    changes = read_changes(PARENT, {"strategy": "FedAvg"})
    fitting = with_fitting_options(PARENT, changes)
    assert fitting.scenario is not None
    assert fitting.scenario["strategy"]["options"] == {"fraction_train": 0.5}
    assert fitting.overrides == {"num_rounds": 10}
    assert changed_names(PARENT, changes) == {"name", "eta", "tau"}
    same = read_changes(PARENT, {"strategy": "FedAdam"})
    assert with_fitting_options(PARENT, same) == PARENT
    with pytest.raises(UnknownNameError, match="FedAvg"):
        read_changes(PARENT, {"strategy": "FedAvgg"})


def test_an_apps_keys_are_its_run_configuration() -> None:
    """Dashes may be written as a keyword has them; the usual names of rounds are known."""
    named = {"learning_rate": 0.2, "local_epochs": 2, "num_rounds": 9}
    assert read_changes(APP, named).overrides == {
        "learning-rate": 0.2,
        "local_epochs": 2,
        "num-server-rounds": 9,
    }
    with pytest.raises(UnknownKeyError, match="Did you mean 'learning-rate'"):
        read_changes(APP, {"learnin_rate": 0.2})
    assert with_fitting_options(APP, read_changes(APP, {})) == APP
