"""The process of an endpoint: what the node hears of it, and that it is started again."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import Any

import pytest

from flip_lab.node.serving import process, server
from flip_lab.testing.serving_site import ServingSite

TOLD = """
from flip_lab.node.serving.process import line_to_the_node
node = line_to_the_node()
print("A model that somebody added says hello.", flush=True)
print("told", file=node, flush=True)
"""


def test_what_models_print_is_not_what_the_node_is_told() -> None:
    """The node reads one line, and would never empty the pipe; nor is it for the log."""
    done = subprocess.run(
        [sys.executable, "-c", TOLD], capture_output=True, text=True, check=True
    )
    assert done.stdout == "told\n"
    assert "says hello" not in done.stderr


def test_an_endpoint_that_could_not_be_started_is_tried_again(
    site: ServingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory for a process now may mean room for one later."""
    tries: list[float] = []

    def start(self: server.Beside) -> int:
        tries.append(0.0)
        if len(tries) == 1:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self._error = "as told"
        return process.REFUSED

    monkeypatch.setattr(server.Beside, "_run", start)
    pauses: Any = (0.0,)
    monkeypatch.setattr(server, "_PAUSES_S", pauses)
    with server.serve_beside(site.config) as beside:
        beside._thread.join(120)
        assert not beside._thread.is_alive()
    assert len(tries) == 2
