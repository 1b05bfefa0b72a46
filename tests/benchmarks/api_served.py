"""A server of a lab, and a run that trains beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

_SERVE = "from flip_lab.cli.main import app; app()"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that listens.

    Attributes:
        url: Its address, ``/v1`` included.
        token: Its token.
        ready_s: How long it took to listen.
        process: The server.
    """

    url: str
    token: str
    ready_s: float
    process: psutil.Process

    @property
    def cpu_s(self) -> float:
        """Seconds that it has computed so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def memory_mb(self) -> int:
        """Memory that it holds."""
        return round(self.process.memory_info().rss / 1e6)


@contextmanager
def served(lab: Lab) -> Iterator[Served]:
    """Serve a lab by a process of its own.

    Args:
        lab: The lab.

    Yields:
        The server, once it listens.
    """
    begin_s = time.perf_counter()
    command = ["-c", _SERVE, "serve", "--json", "--port", "0", "--lab", str(lab.path)]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None  # it was asked for
    told: dict[str, Any] = json.loads(process.stdout.readline())
    try:
        yield Served(
            url=told["url"],
            token=told["token"],
            ready_s=time.perf_counter() - begin_s,
            process=psutil.Process(process.pid),
        )
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@contextmanager
def training(lab: Lab) -> Iterator[Run]:
    """Let a run train that would take every processor.

    Args:
        lab: The lab.

    Yields:
        The run, once its first round is done.
    """
    run = lab.launch(
        "digits-dirichlet",
        on="processes",
        workers=os.cpu_count(),
        overrides={"train.num_rounds": 100_000},
    )
    try:
        while not any(event.kind == "round_ended" for event in run.events()):
            time.sleep(0.2)
        yield run
    finally:
        run.stop()
        run.wait(120)
        lab.delete(run)


def asked(script: str, *arguments: object) -> dict[str, Any]:
    """Run another script of this directory, and give the JSON that it prints last."""
    path = os.path.join(os.path.dirname(__file__), script)  # noqa: PTH118, PTH120  # one line
    done = subprocess.run(
        [sys.executable, path, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
