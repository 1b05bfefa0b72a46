"""The lock that says whether a run's process lives: freed by any death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flip_lab.runs.life_sign import held_lock, is_alive, mark_ended

PATIENCE_S = 120.0  # what it started lives for ten minutes

HOLD = """
import os, sys, time
from flip_lab.runs.life_sign import keep
keep(int(sys.argv[1]))
child = os.fork() if sys.argv[2] != "alone" else None
if child == 0 and sys.argv[2] == "start":
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
if child != 0:
    print(child or 0, flush=True)
time.sleep(600)
"""


def start_holder(run_dir: Path, mode: str) -> subprocess.Popen[str]:
    """Start a process that inherits the lock, as a launch does."""
    with held_lock(run_dir) as lock:
        return subprocess.Popen(
            [sys.executable, "-c", HOLD, str(lock), mode],
            pass_fds=[lock],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )


def test_a_run_without_a_lock_is_dead(tmp_path: Path) -> None:
    """It was never started, or somebody removed the file."""
    assert not is_alive(tmp_path)


def test_there_is_no_moment_without_a_life_sign(tmp_path: Path) -> None:
    """The launcher holds the lock before the process does."""
    with held_lock(tmp_path):
        assert is_alive(tmp_path)
    assert not is_alive(tmp_path)


def test_looking_does_not_take_the_lock(tmp_path: Path) -> None:
    """Many kernels may look while a run starts."""
    with held_lock(tmp_path):
        pass
    assert not is_alive(tmp_path)
    with held_lock(tmp_path):
        assert is_alive(tmp_path)


def test_a_child_forked_while_a_run_is_launched_is_not_that_run(tmp_path: Path) -> None:
    """A kernel's data loader outlives the run by hours: the run is dead all the same."""
    hearing, telling = os.pipe()
    with held_lock(tmp_path):
        child = os.fork()
        if not child:
            os.write(telling, b"x")
            time.sleep(600)
            os._exit(0)
    try:
        os.read(hearing, 1)  # it has had its first turn
        assert not is_alive(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(hearing)
        os.close(telling)


def test_nobody_goes_on_while_an_end_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that is resumed just now were marked as ended, and no one would look."""
    with held_lock(tmp_path):
        pass
    tried: list[bool] = []

    def touch(path: Path) -> None:
        del path
        with pytest.raises(BlockingIOError), held_lock(tmp_path):
            pass
        tried.append(True)

    monkeypatch.setattr(Path, "touch", touch)
    mark_ended(tmp_path)
    assert tried == [True]
    with held_lock(tmp_path):
        mark_ended(tmp_path)
    assert tried == [True]


@pytest.mark.parametrize("mode", ["alone", "start", "fork"])
def test_kill_9_frees_the_lock(tmp_path: Path, mode: str) -> None:
    """Also when a program or a fork of the process (a data loader) lives on."""
    holder = start_holder(tmp_path, mode)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        assert is_alive(tmp_path)
        holder.kill()
        assert holder.wait() == -signal.SIGKILL
        end_s = time.monotonic() + PATIENCE_S  # a fork lets go when it has its first turn
        while is_alive(tmp_path) and time.monotonic() < end_s:
            time.sleep(0.01)
        assert not is_alive(tmp_path)
    finally:
        holder.kill()
        holder.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)
