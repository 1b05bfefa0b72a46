"""The apps of a scenario: plain Flower apps, the same bits wherever they run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message

from flip_lab.core.errors import PartitionError
from flip_lab.core.listening import Notes, listening
from flip_lab.core.scenario import Expectation, Scenario
from flip_lab.fl.baselines import local_only, pooled, weighted_mean
from flip_lab.fl.expectations import check
from flip_lab.fl.partition import holding_of
from flip_lab.fl.scenarios import load_scenario, scenario_names
from flip_lab.fl.strategies import STRATEGIES
from flip_lab.fl.training import LocalTraining

HOSPITALS = load_scenario("hospitals", {"num_rounds": 3})

Ask = Callable[..., Message]
Federate = Callable[[Scenario], dict[str, float]]


def numbers(message: Message) -> dict[str, Any]:
    """Give the metrics of a reply."""
    return dict(message.content.metric_records["metrics"])


def test_the_client_gives_the_same_bytes_whatever_else_is_drawn(ask: Ask) -> None:
    """A reply depends on the message and the node; not on the process."""
    first = ask(HOSPITALS, "train", partition_id=1, server_round=2)
    torch.rand(7)
    np.random.default_rng().random()
    again = ask(HOSPITALS, "train", partition_id=1, server_round=2)
    arrays = first.content.array_records["arrays"]
    assert [a.data for a in arrays.values()] == [
        a.data for a in again.content.array_records["arrays"].values()
    ]
    assert numbers(first) == numbers(again)
    later = ask(HOSPITALS, "train", partition_id=1, server_round=3)
    assert numbers(first)["train_loss"] != numbers(later)["train_loss"]


def test_the_client_reports_what_the_contract_says(ask: Ask) -> None:
    """Names and weights are those that the store and the views rely on."""
    trained = numbers(ask(HOSPITALS, "train", partition_id=2))
    tested = numbers(ask(HOSPITALS, "evaluate", partition_id=2))
    assert set(trained) == {"train_loss", "num-examples"}
    assert set(tested) == {"eval_loss", "eval_accuracy", "num-examples"}
    assert trained["num-examples"] + tested["num-examples"] == 123
    assert numbers(ask(HOSPITALS, "query.describe", partition_id=2)) == {
        "partition-id": 2,
        "num-partitions": 4,
        "num-examples": 123,
    }


@pytest.mark.parametrize("kind", ["train", "evaluate", "query.describe"])
def test_the_client_says_what_it_holds_where_that_is_asked(ask: Ask, kind: str) -> None:
    """On devices; in a simulation nobody looks for it."""
    asked, unasked = Notes(wants_holding=True), Notes()
    for notes in (asked, unasked):
        with listening(notes):
            ask(HOSPITALS, kind, partition_id=2)
    assert asked.holding == holding_of(HOSPITALS, 2)
    assert unasked.holding is None


def test_the_client_takes_its_settings_from_the_message(ask: Ask) -> None:
    """A learning rate that is edited during a run reaches the clients."""
    usual = numbers(ask(HOSPITALS, "train", partition_id=0))
    slower = LocalTraining.from_spec(replace(HOSPITALS.train, learning_rate=1e-6))
    edited = numbers(ask(HOSPITALS, "train", partition_id=0, settings=slower))
    assert edited["train_loss"] > usual["train_loss"]


def test_a_node_without_a_partition_says_how_to_start_it(ask: Ask) -> None:
    """A SuperNode without --node-config is a mistake that everybody makes once."""
    with pytest.raises(PartitionError, match="--node-config"):
        ask(HOSPITALS, "query.describe", partition_id=None)


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_runs_with_our_apps(name: str, federate: Federate) -> None:
    """Three rounds on four hospitals give finite metrics."""
    options = {"proximal_mu": 0.1} if name == "FedProx" else {}
    changed = HOSPITALS.override({"strategy": name, "strategy.options": options})
    metrics = federate(changed)
    assert np.isfinite(metrics["eval_loss"])
    assert metrics["eval_accuracy"] > 0.3


def test_a_run_is_repeatable_and_fedprox_without_pull_is_fedavg(federate: Federate) -> None:
    """The same scenario gives the same numbers; a proximal term changes them."""
    plain = federate(HOSPITALS)
    assert federate(HOSPITALS) == plain
    prox = HOSPITALS.override({"strategy": "FedProx"})
    assert federate(prox.override({"strategy.options.proximal_mu": 0.0})) == plain
    assert federate(prox.override({"strategy.options.proximal_mu": 1.0})) != plain
    assert federate(HOSPITALS.override({"seed": 5})) != plain


def test_baselines_are_repeatable_and_tested_where_the_federation_is() -> None:
    """Alone or pooled, each site's own test part is the yardstick."""
    alone, together = local_only(HOSPITALS), pooled(HOSPITALS)
    assert alone == local_only(HOSPITALS)
    assert list(alone) == list(together) == [0, 1, 2, 3]
    for partition_id in alone:
        assert alone[partition_id]["num-examples"] == together[partition_id]["num-examples"]
    assert alone[0]["eval_loss"] != together[0]["eval_loss"]


def test_one_node_alone_is_its_own_federation(federate: Federate) -> None:
    """With one node and one round, pooled and federated tests weigh the same examples."""
    one = HOSPITALS.override({"num_partitions": 1, "num_rounds": 1})
    mean = weighted_mean(local_only(one))
    assert mean == weighted_mean({0: local_only(one)[0]})
    assert federate(one)["eval_accuracy"] == pytest.approx(mean["eval_accuracy"], abs=0.1)


def test_the_weighted_mean_weighs_by_examples() -> None:
    """By hand: (1 * 3 + 0 * 1) / 4."""
    nodes = {0: {"m": 1.0, "num-examples": 3.0}, 1: {"m": 0.0, "num-examples": 1.0}}
    assert weighted_mean(nodes) == {"m": 0.75}


def test_expectations_compare_with_numbers_baselines_and_other_scenarios() -> None:
    """Each kind of reference is looked up, and its margin added."""
    alone = weighted_mean(local_only(HOSPITALS))["eval_accuracy"]
    expect = (
        Expectation(says="number", at_least=0.8),
        Expectation(says="alone", at_least="local_only", margin=0.01),
        Expectation(says="pooled", at_least="pooled", margin=-0.5),
        Expectation(says="other", at_least="scenario:digits-iid", margin=0.04),
        Expectation(says="unknown", at_least=0.1, metric="eval_f1"),
    )
    asked: list[str] = []

    def other(name: str) -> dict[str, float]:
        asked.append(name)
        return {"eval_accuracy": 0.7}

    outcomes = check(
        replace(HOSPITALS, expect=expect), {"eval_accuracy": 0.75}, other=other
    )
    assert asked == ["digits-iid"]
    assert [outcome.holds for outcome in outcomes] == [False, False, True, True, False]
    assert outcomes[1].needed == pytest.approx(alone + 0.01)
    assert outcomes[3].needed == pytest.approx(0.74)
    assert outcomes[0].observed == 0.75
    assert np.isnan(outcomes[4].observed)


@pytest.mark.slow
def test_federated_beats_local_only_over_seeds(federate: Federate) -> None:
    """On average over the hospitals and over six seeds, taking part pays."""
    gains: list[float] = []
    for seed in range(6):
        scenario = load_scenario("hospitals", {"seed": seed})
        alone = weighted_mean(local_only(scenario))
        gains.append(federate(scenario)["eval_accuracy"] - alone["eval_accuracy"])
    assert np.mean(gains) > 0.003
    assert min(gains) > -0.02


def test_the_hospitals_show_what_they_promise(federate: Federate) -> None:
    """The expectations of the first scenario that anybody runs hold."""
    scenario = load_scenario("hospitals")
    outcomes = check(scenario, federate(scenario), other=lambda _: {})
    assert len(outcomes) == 3
    assert [outcome for outcome in outcomes if not outcome.holds] == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["digits", "mnist"])
def test_the_other_scenarios_show_what_they_promise(
    family: str, federate: Federate
) -> None:
    """Every shipped expectation holds, those between scenarios among them."""
    names = [name for name in scenario_names() if name.startswith(family)]
    metrics = {name: federate(load_scenario(name)) for name in names}
    outcomes = [
        outcome
        for name in names
        for outcome in check(load_scenario(name), metrics[name], other=metrics.__getitem__)
    ]
    assert len(outcomes) > len(names)
    assert [outcome for outcome in outcomes if not outcome.holds] == []


def test_the_client_app_is_light() -> None:
    """A device needs no Ray, store, figures or notebook, nor pandas to import the app."""
    heavy = {
        "ray",
        "duckdb",
        "pandas",
        "plotly",
        "jupyter_client",
        "IPython",
        "sklearn",
        "datasets",
        "flwr_datasets",
        "pyarrow",
        "mlxtend",
    }
    code = (
        f"import sys, flip_lab.fl.client_app; print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_checking_a_scenario_does_not_wait_for_torch() -> None:
    """Listing and launching stay quick: a model is built only where it is trained."""
    code = (
        "import sys; from flip_lab.fl.scenarios import load_scenario;"
        "load_scenario('hospitals'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
