"""What a killed run left running is ended; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import psutil

from flip_lab.core.clock import now_s
from flip_lab.runs.leftovers import Home, end_leftovers

LEADER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def start_session() -> tuple[subprocess.Popen[str], int, Home]:
    """Start a process that leads a session and has a child; give both and its home."""
    since_s = now_s() - 1
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    leader.stdout.close()
    home = replace(Home.here(), process_id=leader.pid, since_s=since_s)
    return leader, child, home


def test_a_child_of_a_killed_session_leader_is_ended() -> None:
    """The child outlives its parent's SIGKILL, and not the clean-up after it."""
    leader, child, home = start_session()
    leader.kill()
    leader.wait()
    survivor = psutil.Process(child)
    assert end_leftovers(home) == 1
    assert survivor.wait(timeout=120) is None or not psutil.pid_exists(child)


def test_a_living_leader_and_another_host_are_left_alone() -> None:
    """As long as the run process lives, or lived elsewhere, nothing is touched."""
    leader, child, home = start_session()
    try:
        assert end_leftovers(home) == 0
        leader.kill()
        leader.wait()
        assert end_leftovers(replace(home, host="another-host")) == 0
        assert end_leftovers(replace(home, since_s=now_s() + 3600)) == 0
        assert psutil.pid_exists(child)
    finally:
        os.kill(child, 9)
