"""The lab's starter: warm runs are cold ones, only sooner; come what may, runs run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs import life_sign, starter
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.runs.starter import Order, start_warm

Until = Callable[[Callable[[], bool]], None]
Start = Callable[..., subprocess.Popen[str]]

PATIENCE_S = 240.0

LAUNCH = """
import os, sys
os.environ |= {"FLIP_LAB_STARTER": "1", "FLIP_LAB_STARTER_GRACE_S": "1"}
from flip_lab import Lab
run = Lab().launch(sys.argv[1], overrides={"nap-s": float(sys.argv[2])})
print(run.run_id, flush=True)
print(run.wait(), flush=True)
sys.stdin.read()
"""

OWN_FACTS = {  # of one run, however it was started
    *("argv", "command", "directory", "environ", "environment", "files", "orig_argv"),
    *("parent", "path"),
}


def starters_of(lab: Lab) -> list[psutil.Process]:
    """Find the lab's starters."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "flip_lab.runs.starter_process" in (process.info["cmdline"] or [])
        and str(lab.path) in process.info["cmdline"]
    ]


def starter_of(lab: Lab) -> psutil.Process:
    """Find the lab's only starter."""
    [found] = starters_of(lab)
    return found


def nursery_of(lab: Lab) -> psutil.Process:
    """Find the nursery of the lab's starter."""
    [found] = starter_of(lab).children()
    return found


def is_warm(lab: Lab) -> bool:
    """Try to have a run started that does not exist; it fails by itself."""
    nowhere = lab.path / "runs" / "nothing"
    order = Order(lab=lab.path, run_dir=nowhere, engine="in_process", workers=1)
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as lock:
        return start_warm(order, lock=lock.fileno(), log=log.fileno())


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let runs start warm, and starters end soon; we are nobody's user afterwards.

    Launches wait for a starter that has no processor for a while: what comes cold here
    does so for a reason.
    """
    monkeypatch.setenv(starter.SWITCH, "1")
    monkeypatch.setenv(starter.GRACE, "1")
    monkeypatch.setattr(starter, "_PATIENCE_S", PATIENCE_S)
    yield
    starter.forget()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Give a lab in a directory that is too long for a socket's path."""
    return Lab(tmp_path / ("ein sehr langer näme " * 5) / ".flip-lab")


@pytest.fixture(scope="module")
def mirror() -> Path:
    """Give the directory of an app that describes its process."""
    return Path(__file__).parent / "apps" / "mirror"


@pytest.fixture(scope="module")
def kept_lab(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Iterator[Lab]:
    """Give one lab with a starter to all tests that do it no harm."""
    lab = Lab(tmp_path_factory.mktemp("a läb") / ".flip-lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(starter.SWITCH, "1")
        patch.setenv(starter.GRACE, "600")
        assert lab.launch(mirror).wait(PATIENCE_S) is RunState.COMPLETED
    yield lab
    starter_of(lab).terminate()


@pytest.fixture
def warm_lab(kept_lab: Lab, until: Until) -> Lab:
    """Give a lab that starts runs warm."""
    until(lambda: is_warm(kept_lab))
    return kept_lab


@pytest.fixture
def doomed_lab(lab: Lab, mirror: Path, until: Until) -> Lab:
    """Give a lab that starts runs warm, and may be harmed."""
    assert lab.launch(mirror).wait(PATIENCE_S) is RunState.COMPLETED
    until(lambda: is_warm(lab))
    return lab


def told_by(kernel: subprocess.Popen[str]) -> str:
    """Give the line that a kernel prints next."""
    assert kernel.stdout is not None
    return kernel.stdout.readline().strip()


def facts(run: Run) -> dict[str, Any]:
    """Wait for a mirror's run and give what it wrote."""
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.logs()
    return json.loads((run.working_dir / "mirror.json").read_text())


def came_warm(run: Run, lab: Lab) -> bool:
    """Whether the run came from the lab's nursery."""
    return facts(run)["parent"] == nursery_of(lab).pid


def test_a_warm_process_looks_like_a_cold_one(
    warm_lab: Lab,
    mirror: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Until,
    tmp_path: Path,
) -> None:
    """To the app and to ``ps``; variables, directory and umask are the launcher's."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("A_VARIABLE", "of the löuncher")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.delenv("DO_NOT_TRACK")
    old_umask = os.umask(0o027)
    try:
        warm = warm_lab.launch(mirror)
        monkeypatch.setenv(starter.SWITCH, "0")
        cold = warm_lab.launch(mirror)
    finally:
        os.umask(old_umask)
    assert came_warm(warm, warm_lab)
    assert not came_warm(cold, warm_lab)
    of_warm, of_cold = facts(warm), facts(cold)
    for name in of_cold.keys() - OWN_FACTS:
        assert of_warm[name] == of_cold[name], name
    assert of_warm["umask"] == "27"
    for name in ("argv", "command", "directory", "files", "orig_argv", "path"):
        here = json.dumps(of_warm[name]).replace(warm.run_id, cold.run_id)
        assert json.loads(here) == of_cold[name], name
    for name in ("environ", "environment"):
        here = json.dumps(of_warm[name])
        for sign in ('": "', "="):  # what differs is how this test switches it off
            here = here.replace(f"{starter.SWITCH}{sign}1", f"{starter.SWITCH}{sign}0")
        assert json.loads(here) == of_cold[name], name
    assert of_warm["environment"]["A_VARIABLE"] == "of the löuncher"
    assert "DO_NOT_TRACK" not in of_warm["environment"]
    until(lambda: not life_sign.is_alive(warm_lab.path / "runs" / warm.run_id))
    assert "a word from the mirror" in warm.logs()
    assert (warm.working_dir / "left.txt").read_text() == "in good order"


@pytest.mark.parametrize("scenario", ["hospitals", "digits-iid"])
def test_a_warm_run_gives_the_bits_of_a_cold_one(
    warm_lab: Lab, scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model, the metrics and what the clients said."""
    overrides = {"train.num_rounds": 2}
    warm = warm_lab.launch(scenario, overrides=overrides)
    assert warm.wait(PATIENCE_S) is RunState.COMPLETED
    monkeypatch.setenv(starter.SWITCH, "0")
    cold = warm_lab.launch(scenario, overrides=overrides)
    assert cold.wait(PATIENCE_S) is RunState.COMPLETED
    of_warm, of_cold = warm.outcome(), cold.outcome()
    assert of_warm.model_sha256 == of_cold.model_sha256 != ""
    assert of_warm.metrics == of_cold.metrics
    left, right = (run.client_metrics().drop(columns="run_id") for run in (warm, cold))
    assert left.equals(right)


def test_a_starter_may_be_killed_at_any_time(
    doomed_lab: Lab, mirror: Path, until: Until
) -> None:
    """Runs go on, the next one starts cold, and soon there is warmth again."""
    going_on = doomed_lab.launch(mirror, overrides={"nap-s": 8.0})
    for victim in (starter_of(doomed_lab), None):
        process = victim or nursery_of(doomed_lab)
        process.kill()
        until(lambda gone=process: not gone.is_running())
        run = doomed_lab.launch(mirror)
        assert run.wait(PATIENCE_S) is RunState.COMPLETED
        until(lambda: is_warm(doomed_lab))
    assert going_on.wait(PATIENCE_S) is RunState.COMPLETED


def test_a_starter_that_hangs_delays_a_run_and_does_not_double_it(
    warm_lab: Lab, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it wakes up, the run is somebody else's."""
    hanging = starter_of(warm_lab)
    hanging.suspend()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(starter, "_PATIENCE_S", 0.3)  # as anybody's
            run = warm_lab.launch(mirror)
        assert facts(run)["parent"] == os.getpid()
    finally:
        hanging.resume()
    after = warm_lab.launch(mirror)
    assert after.wait(PATIENCE_S) is RunState.COMPLETED
    for one in (run, after):
        states = [e.body["state"] for e in one.events() if e.kind is EventKind.STATE]
        assert states == ["starting", "running", "completed"]


def test_a_starter_ends_after_its_last_user(
    lab: Lab, mirror: Path, start: Start, until: Until
) -> None:
    """Users are kernels that launched, and their runs; also kernels that are killed."""
    kernels = [start("-c", LAUNCH, str(mirror), nap, lab=lab.path) for nap in ("0", "4")]
    runs = [lab.run(told_by(kernel)) for kernel in kernels]
    left: list[psutil.Process] = []

    def is_one_left() -> bool:
        left[:] = starters_of(lab)
        return len(left) == 1

    until(is_one_left)  # two kernels at once: one of two stays
    for kernel in kernels:
        kernel.kill()
        kernel.communicate()
    [only] = left
    is_there = only.is_running()
    while not all(run.state.is_final for run in runs):
        assert is_there
        is_there = only.is_running()  # asked before the runs are: it goes after them
    until(lambda: not starters_of(lab))
    assert {run.state for run in runs} == {RunState.COMPLETED}


def test_a_starter_goes_with_its_lab(doomed_lab: Lab, until: Until) -> None:
    """Nobody can launch there any more."""
    doomed_lab.path.rename(doomed_lab.path.with_name("away"))
    until(lambda: not starters_of(doomed_lab))


def test_changed_code_is_never_run_stale(
    lab: Lab,
    mirror: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Until,
    tmp_path: Path,
) -> None:
    """Whatever the warm process has imported: an edit brings a cold run, then warmth."""
    stamp = tmp_path / "packages" / "sitecustomize.py"  # each Python imports it
    stamp.parent.mkdir()
    stamp.write_text("STAMP = 'one'\n")
    path = os.pathsep.join([str(stamp.parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    overrides = {"stamp-module": "sitecustomize"}
    assert facts(lab.launch(mirror, overrides=overrides))["stamp"] == "one"
    until(lambda: is_warm(lab))
    first = lab.launch(mirror, overrides=overrides)
    assert came_warm(first, lab)
    old = starter_of(lab)
    stamp.write_text("STAMP = 'the other'\n")
    second = lab.launch(mirror, overrides=overrides)
    assert facts(second)["stamp"] == "the other"
    until(lambda: not old.is_running())  # its own process had imported the file as well
    until(lambda: is_warm(lab))
    third = lab.launch(mirror, overrides=overrides)
    assert facts(third)["stamp"] == "the other"
    assert came_warm(third, lab)


def test_variables_that_are_read_early_bring_new_warmth(
    doomed_lab: Lab, mirror: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """A warm process has acted on the old ones already."""
    before = nursery_of(doomed_lab).pid
    monkeypatch.setenv("OMP_SCHEDULE", "static")
    run = doomed_lab.launch(mirror)
    assert facts(run)["parent"] == os.getpid()
    until(lambda: is_warm(doomed_lab))
    assert nursery_of(doomed_lab).pid != before
    assert came_warm(doomed_lab.launch(mirror), doomed_lab)


def test_other_limits_than_the_starter_has_are_respected(
    warm_lab: Lab, mirror: Path
) -> None:
    """A copy would have the starter's processors, not the launcher's."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        if len(processors) > 1:
            assert facts(warm_lab.launch(mirror))["parent"] == os.getpid()
    finally:
        os.sched_setaffinity(0, processors)


def test_it_can_be_switched_off(
    lab: Lab, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is no further process."""
    monkeypatch.setenv(starter.SWITCH, "0")
    run = lab.launch(mirror)
    assert facts(run)["parent"] == os.getpid()
    assert starters_of(lab) == []


def test_many_launches_leave_nothing_behind(
    warm_lab: Lab, mirror: Path, until: Until
) -> None:
    """No descriptor, no zombie, no thread: thirty runs, six at a time."""
    watched = [psutil.Process(), starter_of(warm_lab), nursery_of(warm_lab)]
    before = [process.num_fds() for process in watched]
    for _ in range(5):
        runs = [warm_lab.launch(mirror) for _ in range(6)]
        assert all(came_warm(run, warm_lab) for run in runs)
    until(lambda: not watched[2].children())
    # Whatever they open for a moment, as at a look at who is there, they close.
    until(
        lambda: all(
            each.num_fds() <= most for each, most in zip(watched, before, strict=True)
        )
    )
    assert watched[2].num_threads() == 1


def test_interrupts_do_not_reach_it(warm_lab: Lab) -> None:
    """It has a session of its own, as runs have."""
    process = starter_of(warm_lab)
    assert os.getsid(process.pid) == process.pid
    process.send_signal(signal.SIGINT)
    assert is_warm(warm_lab)
