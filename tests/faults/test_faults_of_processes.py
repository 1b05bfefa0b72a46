"""A node, the hub or the driver ends without a word: the run goes on, to the same bits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.hub.database import HubDatabase
from flip_lab.node.outages import pause_s
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 300.0
NUM_ROUNDS = 20
FAULT, LATER = 4, 6
"""The rounds in which runs break: one is disturbed there, and one is looked at."""
Until = Callable[[Callable[[], bool]], None]
Notices = Callable[[Run], list[dict[str, Any]]]
Launch = Callable[..., Run]
Held = Callable[[Run, LoopbackHub], AbstractContextManager[None]]
Undisturbed = Callable[[int], str]


def rounds_of(run: Run, kind: EventKind = EventKind.ROUND_ENDED) -> list[int]:
    """List the rounds that have ended, or begun, in the order of that."""
    return [event.server_round for event in run.events() if event.kind is kind]


def done_once_and_in_order(run: Run) -> bool:
    """Whether every round ended once; none was repeated, none was left out."""
    return rounds_of(run) == list(range(1, NUM_ROUNDS + 1))


def test_a_node_killed_in_mid_round_is_missed_once_and_taken_back(
    hub: LoopbackHub,
    launch: Launch,
    held: Held,
    lab: Lab,
    until: Until,
    notices: Notices,
) -> None:
    """It stands still until it has been asked, is killed over it, and is started again."""
    breaks = {FAULT, LATER}
    run = launch(NUM_ROUNDS, break_when=lambda replies: replies.server_round in breaks)
    with held(run, hub):
        hub.kill_node(1)
        assert len(rounds_of(run)) == FAULT - 1
        until(lambda: [each["code"] for each in notices(run)] == ["node_lost"])
        hub.start_node(1)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, run.error
    hub.wait_for_nodes()  # whose process may take longer to start than a round waits
    run.resume()
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
    held: Held,
    notices: Notices,
    undisturbed: Undisturbed,
    ending: str,
) -> None:
    """Run and nodes find it again by themselves, and go on where they were."""
    run = launch(NUM_ROUNDS, break_when=lambda replies: replies.server_round == FAULT)
    with held(run, hub):
        if ending == "killed":
            hub.kill_hub()
        else:
            hub.stop_hub()
        assert len(rounds_of(run)) == FAULT - 1
    hub.start_hub()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert done_once_and_in_order(run)
    assert hubs_in(notices(run)) == ["hub_lost", "hub_back"]


def hubs_in(told: list[dict[str, Any]]) -> list[str]:
    """List how the hub came and went; nodes may be missed on their way back to it."""
    return [each["code"] for each in told if each["code"].startswith("hub")]


def test_nodes_look_for_a_hub_often_enough_to_be_back_within_half_a_minute() -> None:
    """That is what the documents promise, however long the hub was away."""
    assert max(pause_s(failures) for failures in range(1, 100)) < 30


def process_of(run: Run) -> int:
    """Give the process that drives a run."""
    told = [
        event.body["process_id"] for event in run.events() if "process_id" in event.body
    ]
    return int(str(told[-1]))


def test_a_driver_that_is_killed_is_resumed_from_its_checkpoint(
    hub: LoopbackHub, launch: Launch, held: Held, undisturbed: Undisturbed
) -> None:
    """The nodes notice nothing but another run at their hub; its bits are the same."""
    run = launch(NUM_ROUNDS, break_when=lambda replies: replies.server_round == FAULT)
    with held(run, hub):
        os.kill(process_of(run), signal.SIGKILL)
        assert run.wait(PATIENCE_S) is RunState.FAILED
    assert rounds_of(run) == list(range(1, FAULT))
    hub.wait_for_nodes()
    run.resume_from_checkpoint()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, "it breaks there again"
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert rounds_of(run, EventKind.ROUND_STARTED).count(FAULT) == 2
    assert done_once_and_in_order(run), "only the round under way is repeated"


def test_a_driver_that_slept_starts_its_run_again_at_the_hub(
    hub: LoopbackHub,
    launch: Launch,
    until: Until,
    notices: Notices,
    undisturbed: Undisturbed,
) -> None:
    """A closed laptop: the hub gives its run up after a minute, and serves others on."""
    run = launch(NUM_ROUNDS, break_when=lambda replies: replies.server_round == FAULT)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, run.error
    with HubDatabase(hub.place) as database:
        os.kill(process_of(run), signal.SIGSTOP)
        try:
            until(lambda: database.runs.list(limit=1)[0].outcome == "failed")
            assert hub.is_ready()
        finally:
            os.kill(process_of(run), signal.SIGCONT)
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert done_once_and_in_order(run)
    assert hubs_in(notices(run)) == ["hub_lost", "hub_back"]


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
    held: Held,
    undisturbed: Undisturbed,
) -> None:
    """The active hub is killed; nodes and run go on with the other, to the same bits."""
    lab = Lab(tmp_path / "lab")
    changes = {"train.num_rounds": NUM_ROUNDS}
    run = lab.launch(
        "hospitals",
        on="hospitals",
        num_nodes=2,
        overrides=changes,
        break_when=lambda replies: replies.server_round == FAULT,
    )
    with held(run, twin_hub):
        first = twin_hub.hub_process_id
        twin_hub.kill_hub()
        assert len(rounds_of(run)) == FAULT - 1
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert twin_hub.hub_process_id not in {0, first}
    assert run.outcome().model_sha256 == undisturbed(NUM_ROUNDS)
    assert done_once_and_in_order(run)
    question = """
        SELECT body->>'code' AS code FROM events WHERE kind = 'warning' ORDER BY sequence"""
    told = lab.sql(question, as_="arrow").to_pylist()
    assert hubs_in(told)[:2] == ["hub_lost", "hub_back"]
