"""A node, the hub or the driver ends without a word: the run goes on, to the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.clock import tick_s
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 120.0
NUM_ROUNDS = 20
Until = Callable[[Callable[[], bool]], None]
Notices = Callable[[Run], list[dict[str, Any]]]
Launch = Callable[..., Run]
Undisturbed = Callable[[int], str]


def rounds_of(run: Run, kind: EventKind = EventKind.ROUND_ENDED) -> list[int]:
    """List the rounds that have ended, or begun, in the order of that."""
    return [event.server_round for event in run.events() if event.kind is kind]


def done_once_and_in_order(run: Run) -> bool:
    """Whether every round ended once; none was repeated, none was left out."""
    return rounds_of(run) == list(range(1, NUM_ROUNDS + 1))


def test_a_node_killed_in_mid_round_is_missed_once_and_taken_back(
    hub: LoopbackHub, launch: Launch, lab: Lab, until: Until, notices: Notices
) -> None:
    """It stands still until it has been asked, is killed over it, and is started again."""
    run = launch(NUM_ROUNDS)
    until(lambda: len(rounds_of(run)) >= 3)
    hub.freeze_node(1)
    done = len(rounds_of(run))
    until(lambda: len(rounds_of(run, EventKind.ROUND_STARTED)) > done)
    hub.kill_node(1)
    until(lambda: [each["code"] for each in notices(run)] == ["node_lost"])
    hub.start_node(1)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert done_once_and_in_order(run)
    lost, back = notices(run)
    assert (lost["code"], back["code"]) == ("node_lost", "node_back")
    assert {lost["node_id"], back["node_id"]} == {hub.nodes[1].node_id}
    assert "'node-1' (partition 1)" in lost["message"]
    rows = lab.sql("FROM clients ORDER BY sequence", as_="arrow").to_pylist()
    failures = [row for row in rows if row["error_code"] != 0]
    assert len(failures) <= 1, "back in time it is asked again, and nothing failed"
    assert all(row["partition_id"] == 1 and "node-1" in row["error"] for row in failures)
    assert {row["partition_id"] for row in rows if row["server_round"] == NUM_ROUNDS} == {
        0,
        1,
    }


@pytest.mark.parametrize("ending", ["killed", "restarted"])
def test_a_hub_that_goes_and_comes_back_repeats_no_round_and_changes_no_bit(
    hub: LoopbackHub,
    launch: Launch,
    until: Until,
    notices: Notices,
    undisturbed: Undisturbed,
    ending: str,
) -> None:
    """Run and nodes find it again by themselves, and go on where they were."""
    run = launch(NUM_ROUNDS)
    until(lambda: len(rounds_of(run)) >= 3)
    if ending == "killed":
        hub.kill_hub()
        hub.start_hub()
    else:
        hub.restart_hub()
    back_s, done = tick_s(), len(rounds_of(run))
    until(lambda: len(rounds_of(run)) > done)
    took_s = tick_s() - back_s
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert done_once_and_in_order(run)
    assert [each["code"] for each in notices(run)][:2] == ["hub_lost", "hub_back"]
    assert took_s < 30, "the promise of the documents"


def process_of(run: Run) -> int:
    """Give the process that drives a run."""
    told = [
        event.body["process_id"] for event in run.events() if "process_id" in event.body
    ]
    return int(str(told[-1]))


def test_a_driver_that_is_killed_is_resumed_from_its_checkpoint(
    launch: Launch, until: Until, undisturbed: Undisturbed
) -> None:
    """The nodes notice nothing but another run at their hub; its bits are the same."""
    run = launch(NUM_ROUNDS)
    until(lambda: len(rounds_of(run)) >= 3)
    os.kill(process_of(run), signal.SIGKILL)
    assert run.wait(PATIENCE_S) is RunState.FAILED
    done = len(rounds_of(run))
    run.resume_from_checkpoint()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert rounds_of(run)[:done] == list(range(1, done + 1))
    assert rounds_of(run)[-1] == NUM_ROUNDS
    assert len(rounds_of(run)) - NUM_ROUNDS <= 1, "at most the round under way is repeated"


@pytest.fixture
def twin_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """Start two hubs of one directory behind a load balancer, and two nodes."""
    with LoopbackHub(num_nodes=2, with_standby=True, directory=tmp_path / "twin") as hub:
        monkeypatch.chdir(tmp_path)
        hub.write_config(tmp_path / "flip-lab.toml", "hospitals")
        yield hub


def test_a_standby_takes_over_behind_a_load_balancer(
    twin_hub: LoopbackHub,
    tmp_path: Path,
    until: Until,
    undisturbed: Undisturbed,
) -> None:
    """The active hub is killed; nodes and run go on with the other, to the same bits."""
    lab = Lab(tmp_path / "lab")
    changes = {"train.num_rounds": NUM_ROUNDS}
    run = lab.launch("hospitals", on="hospitals", num_nodes=2, overrides=changes)
    until(lambda: len(rounds_of(run)) >= 3)
    first = twin_hub.hub_process_id
    twin_hub.kill_hub()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert twin_hub.hub_process_id not in {0, first}
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert done_once_and_in_order(run)
    question = "SELECT body->>'code' AS code FROM events WHERE kind = 'warning'"
    codes = [row["code"] for row in lab.sql(question, as_="arrow").to_pylist()]
    assert codes[:2] == ["hub_lost", "hub_back"]
