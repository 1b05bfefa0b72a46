"""Runs killed at any instant go on where they were, and end with the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvgM
from typer.testing import CliRunner

from flip_lab.boards.run.progress import RunProgress
from flip_lab.cli.main import app
from flip_lab.core.errors import (
    IllegalTransitionError,
    InvalidValueError,
    NoCheckpointError,
)
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.state import RunState
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.inputs import App
from flip_lab.runs.lab import Lab
from flip_lab.runs.round_replies import RoundReplies
from flip_lab.runs.run import Run

NUM_ROUNDS = 8
PATIENCE_S = 240.0
ENDLESS = 1_000_000
SEEDS = range(12)
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def stateful_app() -> Path:
    """Give the directory of an app in which everything remembers something."""
    return Path(__file__).parent / "apps" / "stateful"


@pytest.fixture(scope="module")
def whole(shared_lab: Lab, stateful_app: Path) -> Run:
    """Give a run of it that nobody interrupts, with all its checkpoints."""
    run = shared_lab.launch(stateful_app, checkpoints=Checkpoints(keep_last=NUM_ROUNDS))
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    return run


def held_in(server_round: int) -> list[Callable[[RoundReplies], bool]]:
    """Give what stops a run in a round: however slow a test is, it finds it under way."""
    return [lambda replies: replies.server_round == server_round]


def let_go(run: Run) -> None:
    """Let a run that is held in its last round come to its end."""
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, run.error
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error


def of_newest_process(run: Run) -> list[RunEvent]:
    """Give the events since the run was launched, or taken up last."""
    events = run.events()
    begins = [e.sequence for e in events if e.body.get("state") == "pending"]
    return [event for event in events if event.sequence >= max(begins, default=0)]


def process_id(run: Run) -> int:
    """Give the process of a run; 0 before it has said so."""
    told = [e.body for e in of_newest_process(run) if "process_id" in e.body]
    return int(str(told[-1]["process_id"])) if told else 0


def is_in_round(run: Run, server_round: int) -> bool:
    """Whether the run's newest process is so far; in round 0 it is as soon as it lives."""
    begun = [e for e in of_newest_process(run) if e.kind is EventKind.ROUND_STARTED]
    reached = max((event.server_round for event in begun), default=0)
    return bool(process_id(run)) and reached >= server_round


def rounds_begun(run: Run) -> int:
    """Count the rounds that have begun, also twice."""
    return sum(event.kind is EventKind.ROUND_STARTED for event in run.events())


def killed(run: Run, until: Until, *, in_round: int, after_s: float = 0.0) -> None:
    """Kill a run some time after a round has begun; 0 means as soon as it lives."""
    until(lambda: is_in_round(run, in_round))
    time.sleep(after_s)
    os.kill(process_id(run), signal.SIGKILL)
    assert run.wait(PATIENCE_S) is RunState.FAILED


def numbers(run: Run) -> dict[str, Any]:
    """Wait for a run, and give all that it shares with an equal one."""
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    clients = run.clients().drop(columns=["run_id", "sequence", "time_at", "started_at"])
    clients = clients.drop(columns=["duration_s"])
    order = ["server_round", "phase", "partition_id"]
    metrics = run.metrics()[["server_round", "phase", "scope", "name", "value"]]
    client_metrics = run.client_metrics().drop(columns=["run_id"])
    return {
        "model": run.outcome().model_sha256,
        "num_rounds": run.outcome().num_rounds,
        "metrics": metrics.to_dict("records"),
        "clients": clients.sort_values(order, ignore_index=True).to_dict("records"),
        "client_metrics": client_metrics.to_dict("records"),
    }


def gap_free(run: Run) -> bool:
    """Whether the events are numbered from 0 without a gap."""
    return [e.sequence for e in run.events()] == list(range(len(run.events())))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_was_killed_at_any_instant_ends_as_if_it_were_not(
    shared_lab: Lab, stateful_app: Path, whole: Run, until: Until, seed: int
) -> None:
    """It loses at most the round under way; nothing is counted twice."""
    chance = random.Random(seed)  # noqa: S311  # the instant, not a secret
    run = shared_lab.launch(
        stateful_app, overrides={"nap-s": 0.1}, break_when=held_in(NUM_ROUNDS)
    )
    killed(
        run, until, in_round=chance.randrange(NUM_ROUNDS), after_s=chance.uniform(0, 0.08)
    )
    begun = rounds_begun(run)
    run.resume_from_checkpoint()
    let_go(run)
    assert numbers(run) == numbers(whole)
    assert gap_free(run)
    [resumed] = [e.body for e in run.events() if "resumed_after" in e.body]
    assert int(str(resumed["resumed_from_round"])) >= begun - 1
    [row] = shared_lab.sql(
        "SELECT * FROM runs WHERE run_id = ?", [run.run_id], as_="arrow"
    ).to_pylist()
    assert (row["state"], row["rounds_done"], row["error"]) == ("completed", 8, None)
    assert len(shared_lab.sql("FROM rounds WHERE run_id = ?", [run.run_id])) == NUM_ROUNDS


def test_a_run_may_be_killed_again_and_go_on_elsewhere(
    shared_lab: Lab, stateful_app: Path, whole: Run, until: Until
) -> None:
    """Killed twice, stopped once, moved to worker processes: the same bits."""
    run = shared_lab.launch(
        stateful_app, overrides={"nap-s": 0.05}, break_when=held_in(NUM_ROUNDS)
    )
    killed(run, until, in_round=2)
    run.resume_from_checkpoint()
    assert not run.state.is_final
    until(lambda: is_in_round(run, 4))
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    run.resume_from_checkpoint(on="processes", workers=2)
    assert run.spec.engine == "processes"
    killed(run, until, in_round=6)
    run.resume_from_checkpoint(on="in_process")
    let_go(run)
    assert numbers(run) == numbers(whole)
    assert gap_free(run)
    progress = RunProgress(run_id=run.run_id, name="").apply(run.events())
    assert progress.state is RunState.COMPLETED


@pytest.mark.ray
def test_a_run_goes_on_on_ray(
    shared_lab: Lab, stateful_app: Path, whole: Run, until: Until
) -> None:
    """What one engine began, another ends with the same bits."""
    run = shared_lab.launch(
        stateful_app, overrides={"nap-s": 0.05}, break_when=held_in(NUM_ROUNDS)
    )
    killed(run, until, in_round=4)
    run.resume_from_checkpoint(on="ray", workers=2)
    let_go(run)
    assert numbers(run) == numbers(whole)


server_app, client_app = ServerApp(), ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Train a few rounds with momentum."""
    del context
    start = ArrayRecord([np.zeros(3)])
    FedAvgM(server_momentum=0.9, fraction_evaluate=0.0).start(
        grid=grid, initial_arrays=start, num_rounds=5
    )


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Add a draw, slowly."""
    del context
    time.sleep(0.03)
    [weights] = message.content.array_records["arrays"].to_numpy_ndarrays()
    weights = weights + np.random.random()  # noqa: NPY002  # apps draw from the global one
    metrics = MetricRecord({"num-examples": 1, "train_loss": float(weights.sum())})
    content = RecordDict({"arrays": ArrayRecord([weights]), "metrics": metrics})
    return Message(content, reply_to=message)


def test_apps_from_notebook_cells_resume_and_run_again(
    shared_lab: Lab, until: Until
) -> None:
    """They are kept by value, so nothing of the notebook is needed."""
    cells = App(server_app=server_app, client_app=client_app, num_nodes=3)
    first = shared_lab.launch(cells)
    assert first.wait(PATIENCE_S) is RunState.COMPLETED, first.error
    run = shared_lab.launch(cells, break_when=held_in(5))
    killed(run, until, in_round=3)
    run.resume_from_checkpoint()
    let_go(run)
    assert numbers(run) == numbers(first)
    assert shared_lab.rerun(run.run_id).ok


def test_a_scenario_resumes(shared_lab: Lab, until: Until) -> None:
    """The shipped scenarios as well."""
    changes = {"train.num_rounds": 6, "strategy.name": "FedAdam"}
    first = shared_lab.launch("hospitals", overrides=changes)
    run = shared_lab.launch("hospitals", overrides=changes, break_when=held_in(6))
    killed(run, until, in_round=2)
    run.resume_from_checkpoint()
    let_go(run)
    assert numbers(run) == numbers(first)


def test_a_fork_goes_on_with_what_it_changed(
    shared_lab: Lab, stateful_app: Path, whole: Run
) -> None:
    """Without a change it ends like its parent, with one it differs from there on."""
    same = whole.fork(3)
    other = whole.fork(3, overrides={"learning-rate": 0.7, "num-server-rounds": 5})
    assert same.outcome().model_sha256 == whole.outcome().model_sha256
    ended = other.outcome()
    assert (ended.num_rounds, ended.state) == (2, RunState.COMPLETED)
    rows = shared_lab.sql(
        "SELECT run_id, forked_at_round FROM runs WHERE parent_run_id = ?",
        [whole.run_id],
    )
    assert set(rows["run_id"]) == {same.run_id, other.run_id}
    assert set(rows["forked_at_round"]) == {3}
    by_hand = shared_lab.launch(stateful_app, overrides={"learning-rate": 0.7})
    assert by_hand.outcome().model_sha256 != ended.model_sha256
    assert [each.server_round for each in other.checkpoints] == [3, 4, 5]


def test_only_kept_rounds_can_be_forked(shared_lab: Lab, stateful_app: Path) -> None:
    """The message names those that there are."""
    run = shared_lab.launch(stateful_app, overrides={"nap-s": 0.0})
    run.wait(PATIENCE_S)
    with pytest.raises(NoCheckpointError, match="of round 2") as caught:
        run.fork(2)
    assert "7, 8" in caught.value.fix
    with pytest.raises(InvalidValueError, match="4 clients keep a state after round 8"):
        run.fork(num_nodes=5)


def test_what_cannot_be_resumed_is_refused(
    shared_lab: Lab, stateful_app: Path, until: Until
) -> None:
    """A living run, a completed one, and one whose checkpoints were switched off."""
    run = shared_lab.launch(
        stateful_app,
        overrides={"num-server-rounds": ENDLESS},
        checkpoints=Checkpoints(every=0),
    )
    with pytest.raises(IllegalTransitionError, match="only a run that failed"):
        run.resume_from_checkpoint()
    with pytest.raises(IllegalTransitionError, match="only an ended run"):
        shared_lab.rerun(run.run_id)
    until(lambda: rounds_begun(run) >= 3)
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    with pytest.raises(NoCheckpointError, match="every=0"):
        run.resume_from_checkpoint()
    done = shared_lab.launch(stateful_app, overrides={"nap-s": 0.0})
    done.wait(PATIENCE_S)
    with pytest.raises(IllegalTransitionError, match="is completed"):
        done.resume_from_checkpoint()


def test_a_hand_written_loop_says_that_it_cannot_be_taken_up(
    shared_lab: Lab, until: Until
) -> None:
    """Its rounds are recorded, but nobody can enter such a loop in the middle."""
    server = ServerApp()

    @server.main()
    def loop(grid: Grid, context: Context) -> None:
        del context
        arrays = ArrayRecord([np.zeros(3)])
        for _ in range(ENDLESS):
            content = RecordDict({"arrays": arrays})
            ids = list(grid.get_node_ids())
            replies = grid.send_and_receive(
                [Message(content, each, "train") for each in ids]
            )
            arrays = next(iter(replies)).content.array_records["arrays"]

    run = shared_lab.launch(App(server_app=server, client_app=client_app, num_nodes=2))
    killed(run, until, in_round=3)
    with pytest.raises(NoCheckpointError, match=r"strategy\.start"):
        run.resume_from_checkpoint()


def test_a_rerun_says_whether_every_bit_is_the_same(shared_lab: Lab, whole: Run) -> None:
    """Also of a run with interruptions, and on worker processes."""
    outcome = shared_lab.rerun(whole.run_id, on="processes", workers=2)
    assert outcome.ok, outcome
    assert outcome.num_compared > 100
    assert "are equal" in repr(outcome)


def test_a_rerun_names_the_first_round_and_node_that_differ(
    shared_lab: Lab, stateful_app: Path
) -> None:
    """One client asks the operating system for randomness: it is found."""
    run = shared_lab.launch(
        stateful_app, overrides={"moody-from": 3, "nap-s": 0.0}, num_nodes=4
    )
    run.wait(PATIENCE_S)
    asked = run.clients().query("phase == 'train' and partition_id == 2")
    expected = min(each for each in asked["server_round"] if each >= 3)
    outcome = shared_lab.rerun(run.run_id)
    assert not outcome.ok
    assert outcome.first is not None
    assert (outcome.first.server_round, outcome.first.partition_id) == (expected, 2)
    assert outcome.first.node_id is not None
    assert outcome.first.quantity in {"digest", "metrics"}
    assert f"round {expected}, train, partition 2" in repr(outcome)


def test_the_terminal_resumes_forks_and_verifies(
    shared_lab: Lab, stateful_app: Path, whole: Run, until: Until
) -> None:
    """Three commands, each with its exit status and a line of JSON."""
    run = shared_lab.launch(stateful_app, overrides={"nap-s": 0.05}, break_when=held_in(3))
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.clear()  # from the next round on, so that nothing holds it when it is taken up
    run.step()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    killed(run, until, in_round=3)

    def told(*arguments: str, status: int = 0) -> dict[str, Any]:
        done = CliRunner().invoke(
            app, [*arguments, "--lab", str(shared_lab.path), "--json"]
        )
        assert done.exit_code == status, done.output
        return json.loads(done.stdout.splitlines()[-1])

    resumed = told("resume", run.run_id)
    assert resumed["model_sha256"] == whole.outcome().model_sha256
    forked = told("fork", run.run_id, "--at-round", "7", "--set", "num-server-rounds=9")
    assert (forked["state"], forked["num_rounds"]) == ("completed", 2)
    assert told("rerun", run.run_id)["ok"] is True
    refused = told("resume", run.run_id, status=1)
    assert refused["error"]["code"] == "FLIP-302"
    refused = told("fork", run.run_id, "--at-round", "2", status=1)
    assert refused["error"]["code"] == "FLIP-308"
