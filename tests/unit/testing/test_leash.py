"""The leash: what a test starts does not outlive it, however the test ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from flip_lab.core.clock import tick_s
from flip_lab.testing.leash import Leash

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
OWNER = """
import os, subprocess, sys, threading
from flip_lab.testing.leash import Leash

def start():
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, **leash.environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    print(child.pid, flush=True)

with Leash() as leash:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    sys.stdin.readline()
    start()
    sys.stdin.readline()
"""


def is_there(process_id: int) -> bool:
    """Say whether a process lives; a zombie does not."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_for_end(process_id: int) -> None:
    """Wait until a process is gone."""
    end_s = tick_s() + 120
    while is_there(process_id):
        assert tick_s() < end_s, "it is still there"
        sleep(0.02)


@pytest.mark.parametrize("is_killed", [True, False])
def test_it_ends_with_its_owner(*, is_killed: bool) -> None:
    """Killed without a word, or at the end of the block: what was started is gone.

    The thread that started it may end before: that is no reason.
    """
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        first = int(owner.stdout.readline())
        owner.stdin.write("\n")
        owner.stdin.flush()
        second = int(owner.stdout.readline())
        assert is_there(first)
        if is_killed:
            owner.kill()
        else:
            owner.stdin.write("\n")
            owner.stdin.flush()
    for each in (first, second):
        wait_for_end(each)


def test_it_ends_nothing_else() -> None:
    """What carries no mark, or another one, goes on."""
    with Leash() as other:
        child = subprocess.Popen(SLEEPS, env=dict(other.environment))
        with Leash():
            pass
        assert child.poll() is None
    assert child.wait(120) < 0
