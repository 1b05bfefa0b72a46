"""A side's end of the pipe: it runs rounds when told to, and times each of them."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

import psutil
from engine_training import ReadModel, accuracy
from engine_workloads import Workload

_current: list[Gate] = []


class Gate:
    """Lets rounds pass, a block at a time.

    The first block is the first round; after each block the side reports and sleeps on the
    pipe until the next one, so that it takes no processor time from the other sides.

    Attributes:
        workload: What the side trains.
        is_over: Whether there are no more rounds to run.
        is_recorded: Whether the run's facts are to be recorded in this block.
    """

    def __init__(self, workload: Workload, commands: TextIO, reports: TextIO) -> None:
        """Begin the first block."""
        self.workload = workload
        self.is_over = False
        self.is_recorded = True
        self._commands = commands
        self._reports = reports
        self._begin_block(1)
        _current[:] = [self]

    def _begin_block(self, num_rounds: int) -> None:
        self._left = num_rounds
        self._seconds: list[float] = []
        self._cpu_s = _cpu_s()
        self._start_s = time.perf_counter()

    def round_begins(self, server_round: int, read_model: ReadModel) -> bool:
        """Note the time; between two blocks, report and wait.

        Args:
            server_round: The round that begins, 1-based; it ends the one before.
            read_model: Gives the model as it is after the round before.

        Returns:
            Whether this round is to be run.
        """
        if server_round > 1:
            now_s = time.perf_counter()
            self._seconds.append(now_s - self._start_s)
            self._start_s = now_s
            self._left -= 1
            if self._left == 0:
                self._end_block(server_round - 1, read_model)
        return not self.is_over

    def _end_block(self, rounds_done: int, read_model: ReadModel) -> None:
        ended_s = time.time()  # noqa: TID251  # compared with another process's clock
        self.report(
            ended_s=ended_s,
            seconds=self._seconds,
            cpu_s=(_cpu_s() - self._cpu_s) / len(self._seconds),
            rounds_done=rounds_done,
            accuracy=accuracy(self.workload, read_model()),
        )
        command = self._wait()
        self.is_over = "close" in command
        if not self.is_over:
            self.is_recorded = command["recorded"]
            self._begin_block(command["rounds"])

    def _wait(self) -> dict[str, Any]:
        line = self._commands.readline()
        return json.loads(line) if line else {"close": True}

    def report(self, **facts: object) -> None:
        """Send facts to the process that compares the sides."""
        self._reports.write(json.dumps(facts) + "\n")
        self._reports.flush()


def _cpu_s() -> float:
    """Sum the processor time of this process and all below it."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def current_gate() -> Gate:
    """Give this process's gate: an app cannot be handed one."""
    return _current[0]


def private_pipes() -> tuple[TextIO, TextIO]:
    """Take standard input and output for the gate; libraries get others in their place."""
    commands, reports = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # only its descriptor is used
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdin = None
    return commands, reports
