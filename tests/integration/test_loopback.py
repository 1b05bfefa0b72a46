"""A loopback hub ends with the process that started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from flip_lab.core.clock import tick_s

pytestmark = [pytest.mark.hub, pytest.mark.slow]

OWNER = """
import sys
from pathlib import Path
from flip_lab.testing.hub import LoopbackHub

with LoopbackHub(1, directory=Path(sys.argv[1])) as hub:
    print(hub.hub_process_id, hub.nodes[0].process_id, flush=True)
    sys.stdin.readline()
"""


def lives(process_id: str) -> bool:
    """Say whether a process lives; one that nobody has reaped yet does not."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_killed_test_leaves_no_hub_and_no_nodes(tmp_path: Path) -> None:
    """Nobody says goodbye after SIGKILL: hub and node are gone all the same."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        started = owner.stdout.readline().split()
        assert len(started) == 2
        assert all(map(lives, started))
        owner.kill()
    end_s = tick_s() + 240
    while any(map(lives, started)):
        assert tick_s() < end_s, "they are still there"
        sleep(0.05)
