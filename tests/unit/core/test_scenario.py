"""Scenarios: what changes their fingerprint, and how single values are changed."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import UnknownKeyError
from flip_lab.core.scenario import (
    DataSpec,
    Expectation,
    ModelSpec,
    Scenario,
    StrategySpec,
    TrainSpec,
)

SCENARIO = Scenario(
    name="digits",
    title="Digits, skewed",
    seed=7,
    data=DataSpec(
        dataset="digits", partitioner="dirichlet", num_partitions=8, options={"alpha": 0.3}
    ),
    model=ModelSpec(name="mlp", options={"hidden": 32}),
    strategy=StrategySpec(name="FedAvg", options={"fraction_train": 0.5}),
    train=TrainSpec(num_rounds=3),
    expect=(Expectation(says="It learns.", at_least=0.8),),
)


def test_the_fingerprint_never_changes() -> None:
    """Golden value: runs recorded by an older version still compare as equal."""
    assert (
        SCENARIO.fingerprint
        == "fd735e511090c8b5e81a7a15ed159d5d54dc34cab385edb5572f822f1e008fc5"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "other"), ("title", "New"), ("description", "Long"), ("expect", ())],
)
def test_prose_does_not_count(field: str, value: object) -> None:
    """Words about a scenario leave its numbers, and its fingerprint, alone."""
    assert replace(SCENARIO, **{field: value}).fingerprint == SCENARIO.fingerprint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 8),
        ("dataset", "wine"),
        ("partitioner", "iid"),
        ("num_partitions", 9),
        ("test_fraction", 0.3),
        ("data.options.alpha", 0.31),
        ("model", "logistic"),
        ("model.options.hidden", 33),
        ("strategy", "FedProx"),
        ("strategy.options.fraction_train", 0.6),
        ("num_rounds", 4),
        ("local_epochs", 2),
        ("batch_size", 33),
        ("learning_rate", 0.06),
        ("momentum", 0.9),
        ("weight_decay", 0.1),
    ],
)
def test_every_number_counts(key: str, value: object) -> None:
    """Whatever can change a run's results changes the fingerprint."""
    assert SCENARIO.override({key: value}).fingerprint != SCENARIO.fingerprint


def test_the_order_of_options_does_not_count() -> None:
    """Two files that say the same in another order describe the same run."""
    one = SCENARIO.override({"data.options": {"alpha": 0.3, "min_size": 2}})
    other = SCENARIO.override({"data.options": {"min_size": 2, "alpha": 0.3}})
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("key", ["train.num_rounds", "num_rounds"])
def test_a_value_is_found_by_path_or_by_its_unique_name(key: str) -> None:
    """Short names work where only one part has them."""
    assert SCENARIO.override({key: 12}).train.num_rounds == 12


@pytest.mark.parametrize("part", ["strategy", "model"])
def test_a_part_stands_for_its_name(part: str) -> None:
    """``strategy=FedAdam`` is what people type."""
    assert getattr(SCENARIO.override({part: "other"}), part).name == "other"


def test_an_option_can_be_added() -> None:
    """Options are free: the registry's function, not the scenario, knows them."""
    changed = SCENARIO.override({"data.options.min_size": 4})
    assert changed.data.options == {"alpha": 0.3, "min_size": 4}


def test_several_changes_apply_together() -> None:
    """An override is one step, whatever its number of values."""
    changed = SCENARIO.override({"seed": 1, "batch_size": 8})
    assert (changed.seed, changed.train.batch_size) == (1, 8)


@given(seed=st.integers(0, 2**32 - 1), num_rounds=st.integers(1, 10**6))
def test_an_override_leaves_the_original_and_can_be_undone(
    seed: int, num_rounds: int
) -> None:
    """Scenarios are values: changing one makes another."""
    changed = SCENARIO.override({"seed": seed, "num_rounds": num_rounds})
    assert (changed.seed, changed.train.num_rounds) == (seed, num_rounds)
    assert changed.override({"seed": 7, "num_rounds": 3}) == SCENARIO


@pytest.mark.parametrize(
    ("key", "meant"),
    [("num_round", "train.num_rounds"), ("train.num_round", "train.num_rounds")],
)
def test_a_misspelt_key_is_answered_with_the_nearest_one(key: str, meant: str) -> None:
    """The message names the value, what was meant, and all that would work."""
    with pytest.raises(UnknownKeyError, match=key) as caught:
        SCENARIO.override({key: 1})
    assert caught.value.fix.startswith(f"Did you mean '{meant}'?")


@pytest.mark.parametrize("key", ["options.alpha", "nothing.options.alpha", "options", ""])
def test_a_key_that_could_mean_two_things_or_none_is_refused(key: str) -> None:
    """Guessing which part was meant would change the wrong numbers."""
    with pytest.raises(UnknownKeyError):
        SCENARIO.override({key: 1})


def test_a_scenario_cannot_be_changed_in_place() -> None:
    """A recorded scenario is what was run."""
    with pytest.raises(FrozenInstanceError):
        SCENARIO.seed = 8  # pyright: ignore[reportAttributeAccessIssue]  # the point of the test
