"""Comparing two runs: the first number that differs, and what stood behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flip_lab.core.events import ClientFact, EventKind, RunEvent
from flip_lab.runs.rerun import Told, compare
from flip_lab.runs.spec import RunSpec

SPEC = RunSpec(
    run_id="a",
    name="test",
    kind="app",
    created_s=0.0,
    seed=0,
    num_rounds=None,
    num_nodes=2,
    engine="in_process",
    federation=None,
    workers=1,
    run_config={},
    overrides={},
    lineage={"flwr": "1.41.0"},
)


def told(
    run_id: str = "a", *, rounds: int = 2, digest: str = "", flwr: str = "1.41.0"
) -> Told:
    """Tell a run; ``digest`` is that of partition 1 in round 2, if not the usual one."""
    facts: list[tuple[EventKind, int, dict[str, Any]]] = []
    for at in range(1, rounds + 1):
        for partition in (1, 0):  # replies come in any order
            usual = f"{at}{partition}"
            fact = ClientFact(
                phase="train",
                node_id=100 + partition,
                partition_id=partition,
                num_examples=1,
                started_s=at,
                duration_s=at / 7,
                bytes_down=1,
                bytes_up=1,
                metrics={"train_loss": float("nan")},
                digest=digest if digest and (at, partition) == (2, 1) else usual,
            )
            facts.append((EventKind.CLIENT, at, fact.body()))
        loss = {"phase": "train", "scope": "federated", "name": "loss", "value": 0.5}
        facts.append((EventKind.METRIC, at, loss))
        facts.append((EventKind.ROUND_ENDED, at, {"duration_s": 1.0}))
        facts.append((EventKind.CHECKPOINT, at, {"model_digest": digest or "m"}))
    events = [
        RunEvent(run_id=run_id, sequence=i, time_s=i, server_round=at, kind=kind, body=body)
        for i, (kind, at, body) in enumerate(facts)
    ]
    return Told(spec=replace(SPEC, run_id=run_id, lineage={"flwr": flwr}), events=events)


def test_equal_runs_are_ok() -> None:
    """NaN is equal to itself here, and times do not count."""
    outcome = compare(told(), told("b"))
    assert outcome.ok
    assert outcome.first is None
    assert repr(outcome) == "<Rerun of a as b: all 28 numbers and hashes are equal.>"


def test_the_first_difference_is_the_first_in_the_course_of_a_round() -> None:
    """A client's reply comes before the model that it changed."""
    outcome = compare(told(), told("b", digest="x"))
    assert not outcome.ok
    assert outcome.first is not None
    first = outcome.first
    assert (first.server_round, first.phase, first.quantity) == (1, "model", "model_digest")
    other = compare(told(rounds=2), told("b", rounds=1))
    assert other.first is not None
    assert (other.first.server_round, other.first.partition_id) == (2, 0)
    assert other.first.node_id == 100
    assert other.first.repeated is None


def test_a_client_is_named_with_its_node() -> None:
    """Partition for the data, node for the engine."""
    original, repeated = told(), told("b", digest="x")
    without_models = replace(
        repeated, events=[e for e in repeated.events if e.kind is not EventKind.CHECKPOINT]
    )
    outcome = compare(original, without_models)
    assert outcome.num_differences == 1
    assert str(outcome.first) == (
        "round 2, train, partition 1 (node 101): digest was '21', now 'x'"
    )


def test_only_finished_rounds_of_the_first_run_are_compared() -> None:
    """A run that was stopped can be verified as far as it came."""
    assert compare(told(rounds=1), told("b", rounds=2)).ok


def test_another_lineage_is_said_first() -> None:
    """Then a difference is no surprise."""
    outcome = compare(told(), told("b", flwr="1.42.0"))
    assert outcome.lineage == ("the version of Flower (1.41.0 → 1.42.0)",)
    assert "Behind them differ: the version of Flower" in repr(outcome)


def test_runs_without_a_round_prove_nothing() -> None:
    """Nothing compared is not ok."""
    outcome = compare(told(rounds=0), told("b"))
    assert not outcome.ok
    assert "nothing to compare" in repr(outcome)
