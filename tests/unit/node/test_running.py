"""The process that runs nodes: when it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What serves here leaves a client behind that does not come to an end.
LATE = """
import sys
from pathlib import Path
from threading import Event
from flip_lab.node import running
from flip_lab.node.config import NodeConfig

class Runner:
    def __init__(self, config, around):
        self.threads = around.threads

    async def serve(self, stop, *, drain_s):
        begun, end = Event(), Event()
        if sys.argv[2] == "in time":
            end.set()
        self.threads.submit(lambda: (begun.set(), end.wait()))
        begun.wait()
        print("the client has begun")

running.NodeRunner = Runner
running.run_nodes([NodeConfig(name="a", hub="hub.test:1", directory=Path(sys.argv[1]))])
print("all is closed")
"""


def test_a_client_that_had_its_time_keeps_no_ended_node_alive(tmp_path: Path) -> None:
    """In the node's own process nobody can stop it but the process."""
    told: dict[str, str] = {}
    for how in ("late", "in time"):
        done = subprocess.run(
            [sys.executable, "-c", LATE, str(tmp_path), how],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        told[how] = done.stdout
    assert told["late"] == "the client has begun\n"
    assert told["in time"] == "the client has begun\nall is closed\n"
