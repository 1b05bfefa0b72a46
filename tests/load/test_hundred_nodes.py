"""A hundred nodes with TLS and keys of their own at one hub: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.hub, pytest.mark.load, pytest.mark.slow]

SCRIPT = Path(__file__).parent / "hundred_nodes.py"
NUM_ROUNDS = 3


def test_a_hundred_nodes_lose_nothing_and_the_hub_stays_small(tmp_path: Path) -> None:
    """All reply in every round while the API is read; the hub needs less than 1 GB."""
    done = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--rounds",
            str(NUM_ROUNDS),
            "--folder",
            tmp_path,
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["rounds_done"] == NUM_ROUNDS
    assert figures["lost"] == 0
    assert figures["replies"] == 2 * 100 * NUM_ROUNDS  # train and evaluate
    assert figures["reads_failed"] == 0
    assert figures["reads"] > 0
    assert figures["hub_memory_mb"] < 1000
