"""A running federation is paused, changed and taken up again, with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from flip_lab.core.condition import Condition
from flip_lab.core.errors import CommandRefusedError, ConditionError, InvalidValueError
from flip_lab.core.events import EventKind, in_force
from flip_lab.core.state import RunState
from flip_lab.core.stopping import StopRule
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

PATIENCE_S = 240.0
ROUNDS = 8
NODES = 10
ENDLESS = 1_000_000
"""Rounds of a run that is met under way, however late a test comes."""
REST_S = 0.5
APPS = Path(__file__).parents[1] / "apps"
Until = Callable[[Callable[[], bool]], None]
AskedFirst = Callable[[Callable[[Run], object]], AbstractContextManager[None]]


def launch(lab: Lab, on: str, **changes: float) -> Run:
    """Start a short federation; the digits are spread unevenly over ten nodes."""
    overrides = {"num_rounds": ROUNDS, "local_epochs": 1, **changes}
    return lab.launch("digits-dirichlet", on=on, workers=2, overrides=overrides)


def begun(run: Run, until: Until, server_round: int) -> None:
    """Wait until a round has begun."""
    until(
        lambda: any(
            e.kind is EventKind.ROUND_STARTED and e.server_round >= server_round
            for e in run.events()
        )
    )


def clients_so_far(run: Run) -> int:
    """Count the replies."""
    return sum(event.kind is EventKind.CLIENT for event in run.events())


def at_rest(run: Run) -> int:
    """Wait until a paused run stands still, and count its replies since it was paused.

    Those at work when it was paused may take their time.
    """
    end_s = time.monotonic() + PATIENCE_S
    before, now = -1, clients_so_far(run)
    while now > before:
        assert time.monotonic() < end_s, "it goes on and on"
        time.sleep(REST_S)
        before, now = now, clients_so_far(run)
    assert run.state is RunState.PAUSED
    events = run.events()
    paused = max(e.sequence for e in events if e.body.get("state") == "paused")
    late = [e for e in events if e.kind is EventKind.CLIENT and e.sequence > paused]
    return len(late)


def ended_soon(run: Run, until: Until) -> int:
    """Let an endless run come to its end a few rounds from now; count its rounds."""
    here = max(e.server_round for e in run.events())
    begun(run, until, here + 2)
    run.stop_when("eval_accuracy >= 0")
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    return run.outcome().num_rounds


def model_of(run: Run) -> str:
    """Wait for the end and give the model's hash."""
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    return run.outcome().model_sha256


def steer(run: Run, until: Until) -> None:
    """Pause a run in a round, change all that can be changed, leave it paused."""
    begun(run, until, 3)
    run.pause()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.set(learning_rate=0.01)
    run.exclude(4)
    run.stop_when("eval_accuracy >= 2")  # never


def kill(run: Run) -> None:
    """Kill the run's process as the kernel does when memory is short."""
    [told] = [e.body for e in in_force(run.events()) if "process_id" in e.body][-1:]
    os.kill(int(str(told["process_id"])), signal.SIGKILL)
    assert run.wait(PATIENCE_S) is RunState.FAILED


@pytest.mark.parametrize("on", ["in_process", "processes", "vectorised", "auto"])
def test_a_paused_run_stands_still_and_goes_on_to_the_same_bits(
    shared_lab: Lab, until: Until, on: str
) -> None:
    """No client starts while it is paused; time is all that a pause costs."""
    run = shared_lab.launch(
        "digits-dirichlet",
        on=on,
        workers=2,
        overrides={"num_rounds": ROUNDS, "local_epochs": 1},
        break_when=[lambda replies: replies.server_round == ROUNDS],  # not over before
    )
    begun(run, until, 2)
    run.pause()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert at_rest(run) <= NODES
    while run.wait_until_paused(PATIENCE_S) is RunState.PAUSED:
        run.resume()
    plain = launch(shared_lab, "in_process")
    if on == "vectorised":  # who trains together differs in the last bits
        ours, theirs = run.result().arrays, plain.result().arrays
        assert all(np.allclose(ours[name], theirs[name], atol=2e-3) for name in theirs)
    else:
        assert model_of(run) == model_of(plain)


@pytest.mark.ray
def test_a_paused_run_stands_still_on_ray(shared_lab: Lab, until: Until) -> None:
    """The same where actors train."""
    run = launch(shared_lab, "ray", num_rounds=ENDLESS)
    begun(run, until, 2)
    run.pause()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert at_rest(run) <= NODES
    run.set(learning_rate=0.01)
    run.resume()
    ended_soon(run, until)
    assert shared_lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S).ok


def test_edits_are_replayed_when_a_paused_run_is_killed(
    shared_lab: Lab, until: Until
) -> None:
    """The resumed run, and one that does the same uninterrupted, agree in every bit."""
    run = launch(shared_lab, "processes", num_rounds=ENDLESS)
    steer(run, until)
    kill(run)
    run.resume_from_checkpoint()
    num_rounds = ended_soon(run, until)
    model = model_of(run)
    cohorts = run.clients().groupby("server_round")["partition_id"].nunique()
    assert set(cohorts) == {10, 9}
    assert model != model_of(launch(shared_lab, "in_process", num_rounds=num_rounds))
    again = shared_lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S)
    assert again.ok, again
    assert model_of(shared_lab.run(again.repeated)) == model


def test_edits_outlive_a_kill_in_any_later_round(shared_lab: Lab, until: Until) -> None:
    """Also edits whose events stand after the checkpoint that a run is taken up from."""
    checkpoints = Checkpoints(every=4)
    run = shared_lab.launch(
        "digits-dirichlet",
        on="in_process",
        overrides={"num_rounds": ENDLESS, "local_epochs": 1},
        checkpoints=checkpoints,
    )
    steer(run, until)
    run.step(2)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.set(learning_rate=0.003)
    run.include(4)
    kill(run)
    run.resume_from_checkpoint()
    ended_soon(run, until)
    model = model_of(run)
    again = shared_lab.rerun(run.run_id, timeout_s=PATIENCE_S)
    assert again.ok, again
    assert model_of(shared_lab.run(again.repeated)) == model


LEAVES_IT_PAUSED = """
import sys, time
from flip_lab import Lab
lab = Lab()
run = lab.launch("digits-dirichlet", on="processes", workers=2,
                 overrides={"num_rounds": 1_000_000, "local_epochs": 1})
while not [e for e in run.events() if e.server_round >= 3]:
    time.sleep(0.01)
run.pause()
run.wait_until_paused()
run.set(learning_rate=0.01)
run.exclude(4)
run.stop_when("eval_accuracy >= 2")
print(run.run_id, flush=True)
time.sleep(600)
"""


def test_a_kernel_may_die_while_its_run_is_paused(
    shared_lab: Lab,
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    until: Until,
) -> None:
    """Another one finds it paused, with the same settings, and goes on."""
    script = tmp_path / "kernel.py"
    script.write_text(LEAVES_IT_PAUSED)
    with start(str(script), lab=shared_lab.path) as kernel:
        assert kernel.stdout is not None
        run = shared_lab.run(kernel.stdout.readline().strip())
        kernel.kill()
    at_rest(run)
    assert [edit["command"] for edit in run.commands().to_dict("records")] == [
        "pause",
        "set",
        "exclude",
        "stop_when",
    ]
    run.resume()
    ended_soon(run, until)
    model = model_of(run)
    again = shared_lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S)
    assert again.ok, again
    assert model_of(shared_lab.run(again.repeated)) == model


def test_two_kernels_steer_one_run(shared_lab: Lab, until: Until) -> None:
    """Both see the same state, whoever caused it."""
    run = launch(shared_lab, "in_process", num_rounds=ENDLESS)
    other = Lab(shared_lab.path).run(run.run_id)
    begun(run, until, 1)
    run.pause()
    assert other.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    other.set(learning_rate=0.02)
    other.step(2)  # the round under way is the first
    until(lambda: run.settings["learning_rate"] == 0.02)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert run.settings == other.settings
    run.stop()
    assert other.wait(PATIENCE_S) is RunState.STOPPED
    with pytest.raises(CommandRefusedError, match="fork"):
        other.pause()


def test_a_run_is_paused_before_its_first_round(
    shared_lab: Lab, asked_first: AskedFirst
) -> None:
    """As soon as it is launched: nothing has trained then, and settings are known."""
    with asked_first(Run.pause):
        run = launch(shared_lab, "in_process")
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.set(batch_size=8)
    assert clients_so_far(run) == 0
    run.step()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    ended = [e.server_round for e in run.events() if e.kind is EventKind.ROUND_ENDED]
    assert ended == [1]
    assert run.settings["batch_size"] == 8
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED


def test_a_rule_ends_the_run_as_completed(shared_lab: Lab, until: Until) -> None:
    """What it has is a whole result; the reason is on record."""
    run = launch(shared_lab, "in_process", num_rounds=ENDLESS)
    begun(run, until, 2)
    run.stop_when(patience=3, metric="eval_accuracy", goal="min")
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    [end] = [e for e in run.events() if e.body.get("state") == "completed"]
    assert str(end.body["because"]).startswith("eval_accuracy no better for")
    assert run.result().arrays


def test_a_budget_of_bytes_ends_the_run(shared_lab: Lab, asked_first: AskedFirst) -> None:
    """It was set before the first round, and holds from then on."""
    with asked_first(Run.pause):
        run = launch(shared_lab, "processes", num_rounds=ENDLESS)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.stop_when(budget_bytes=2_000_000)
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    moved = run.clients()[["bytes_up", "bytes_down"]].sum().sum()
    per_round = moved / run.clients()["server_round"].max()
    assert 2_000_000 <= moved < 2_000_000 + per_round * 1.01


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("numpy", "learning_rate"),
        ("pytorch", "lr"),
        ("sklearn", "penalty_strength"),
        ("legacy", "learning_rate"),
    ],
)
def test_unmodified_apps_are_steered(
    shared_lab: Lab, asked_first: AskedFirst, app: str, name: str
) -> None:
    """What they send, or read from their configuration, changes from a round on."""
    overrides = {"num-server-rounds": 4}
    with asked_first(Run.pause):
        run = shared_lab.launch(APPS / app, on="in_process", overrides=overrides)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.step(2)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    before = run.settings[name]
    taken = run.set({name: float(before) / 1000})
    assert taken.from_round == 3
    run.resume()
    model = model_of(run)
    plain = shared_lab.launch(APPS / app, on="in_process", overrides=overrides)
    assert model != model_of(plain)
    changed = run.metrics().query("server_round <= 2")["value"].tolist()
    assert changed == plain.metrics().query("server_round <= 2")["value"].tolist()
    assert shared_lab.rerun(run.run_id, timeout_s=PATIENCE_S).ok


def test_rules_and_breaks_hold_from_the_launch(shared_lab: Lab) -> None:
    """From the very first round; a rerun keeps the rule and breaks nowhere."""
    run = shared_lab.launch(
        "digits-dirichlet",
        on="in_process",
        overrides={"local_epochs": 1},
        stop_when=StopRule(condition=Condition.parse("eval_accuracy >= 0.3")),
        break_when=["loss is nan", lambda replies: replies.server_round == 1],
    )
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert run.inspect().server_round == 1
    commands = run.commands()
    assert commands["command"].tolist() == ["stop_when", "break_when", "break_when"]
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    again = shared_lab.rerun(run.run_id, timeout_s=PATIENCE_S)
    assert again.ok, again
    repeated = shared_lab.run(again.repeated)
    assert repeated.commands()["command"].tolist() == ["stop_when"]
    assert repeated.clients()["server_round"].max() == run.clients()["server_round"].max()


def test_a_rule_that_means_nothing_is_refused_before_anything_is_launched(
    shared_lab: Lab,
) -> None:
    """So is a function that cannot travel, and a break where nobody could go on."""
    before = len(shared_lab.runs())
    with pytest.raises(ConditionError):
        shared_lab.launch("digits-dirichlet", stop_when="accuracy is good")
    lock = threading.Lock()
    with pytest.raises(ConditionError, match="cannot be sent"):
        shared_lab.launch("digits-dirichlet", break_when=lambda _: lock.locked())
    with pytest.raises(InvalidValueError, match="breakpoint"):
        shared_lab.launch("digits-dirichlet", break_when="always", debug=True)
    assert len(shared_lab.runs()) == before


def test_a_fork_counts_its_steps_from_where_it_begins(
    shared_lab: Lab, asked_first: AskedFirst
) -> None:
    """So does a run that is taken up, and its edits know their round."""
    run = launch(shared_lab, "in_process")
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    with asked_first(lambda begun: begun.step(2)):
        fork = run.fork(num_rounds=ROUNDS + 6)
    assert fork.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert set(fork.metrics()["server_round"]) == {ROUNDS + 1, ROUNDS + 2}
    kill(fork)
    with asked_first(Run.pause):
        fork.resume_from_checkpoint()
    assert fork.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert fork.set(learning_rate=0.01).from_round == ROUNDS + 3
    fork.resume()
    assert fork.wait(PATIENCE_S) is RunState.COMPLETED
    assert shared_lab.rerun(fork.run_id, timeout_s=PATIENCE_S).ok
