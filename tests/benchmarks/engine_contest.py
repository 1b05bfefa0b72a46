"""The sides' processes, and the turns that they take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TextIO, cast

import psutil

_SIDE = Path(__file__).with_name("engine_side.py")
_LAUNCH = _SIDE.with_name("engine_launch.py")
_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's +15 would starve whoever has other neighbours
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_BUSY_WHILE_IDLE = ("flwr",)  # its threads poll without end


class SideUnavailableError(Exception):
    """The side cannot run here."""


@dataclass(kw_only=True)
class Figures:
    """What was measured of one side.

    Attributes:
        round_s: Median seconds of a round, turn by turn.
        recorded_s: The same with recording, where the side records.
        cpu_s: Processor seconds of a round, over all processes, turn by turn.
        accuracy: On held-out images, by the number of rounds done.
        first_round_s: From the start of its process to the end of its first round.
        launch_s: From a launch to the end of its first round, for the first run in a lab
            and for the second one, which finds warm processes.
        pss_mib: The largest proportional set size of all its processes together.
        skipped: Why it was not measured; empty when it was.
    """

    round_s: list[float] = field(default_factory=list)
    recorded_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    accuracy: dict[int, float] = field(default_factory=dict)
    first_round_s: float = 0.0
    launch_s: tuple[float, float] | None = None
    pss_mib: float = 0.0
    skipped: str = ""


class SideProcess:
    """One side's process: warm, and asleep between its turns.

    Args:
        side: Which side.
        workload: The workload's name.
        log: Where its standard error goes.
    """

    def __init__(self, side: str, workload: str, log: TextIO) -> None:
        """Start it, and wait for the end of its first round.

        Raises:
            SideUnavailableError: If it cannot run here.
        """
        self.side = side
        self.figures = Figures()
        self._log = log
        start_s = time.time()  # noqa: TID251  # compared with another process's clock
        self._process = subprocess.Popen(
            [sys.executable, str(_SIDE), side, workload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | _QUIET,
            text=True,
        )
        first = self._read()
        self.figures.first_round_s = first["ended_s"] - start_s
        self._weigh()
        self._sleep()

    def _read(self) -> dict[str, Any]:
        line = cast("TextIO", self._process.stdout).readline()
        if not line:
            raise SideUnavailableError(f"ended with an error: {self._last_words()}")
        report = json.loads(line)
        if "skipped" in report:
            raise SideUnavailableError(report["skipped"])
        return report

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def _tell(self, **command: object) -> None:
        pipe = cast("TextIO", self._process.stdin)
        pipe.write(json.dumps(command) + "\n")
        pipe.flush()

    def run_block(self, num_rounds: int, *, is_recorded: bool) -> list[float]:
        """Run rounds, and give the seconds that each took."""
        self._process.send_signal(signal.SIGCONT)
        self._tell(rounds=num_rounds, recorded=is_recorded)
        report = self._read()
        if not is_recorded:
            self.figures.cpu_s.append(report["cpu_s"])
        self.figures.accuracy[report["rounds_done"]] = report["accuracy"]
        self._weigh()
        self._sleep()
        return report["seconds"]

    def _sleep(self) -> None:
        if self.side in _BUSY_WHILE_IDLE:
            self._process.send_signal(signal.SIGSTOP)

    def _weigh(self) -> None:
        """Note the memory of the process and all below it; shared pages count once."""
        total = 0
        me = psutil.Process(self._process.pid)
        for process in (me, *me.children(recursive=True)):
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue  # it has just ended
        self.figures.pss_mib = max(self.figures.pss_mib, total / 2**20)

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGCONT)
        for pipe in (self._process.stdin, self._process.stdout):
            cast("TextIO", pipe).close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to measure.

    Attributes:
        turns: Turns of each side.
        rounds: Rounds in a turn.
        few_turns: Turns of the sides that take very long.
        slow: The sides that take very long.
        launches: Whether runs are launched, too.
        seconds: No turn begins later than this after the first one.
    """

    turns: int
    rounds: int
    few_turns: int
    slow: Sequence[str]
    launches: bool
    seconds: float


def compete(
    contestants: Sequence[tuple[str, str]], plan: Plan, *, engines: Sequence[str]
) -> dict[tuple[str, str], Figures]:
    """Start all sides, let them run in turn, and give what was measured.

    Args:
        contestants: Sides, each with the name of its workload.
        plan: How long to measure.
        engines: The sides that are measured with recording, too, and launched.
    """
    found: dict[tuple[str, str], Figures] = {}
    running: list[SideProcess] = []
    with ExitStack() as stack:
        for side, workload in contestants:
            log = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            try:
                process = SideProcess(side, workload, log)
            except SideUnavailableError as reason:
                found[side, workload] = Figures(skipped=str(reason))
                continue
            stack.callback(process.close)
            running.append(process)
            found[side, workload] = process.figures
        start_s = time.perf_counter()
        for turn in range(plan.turns):
            if turn and time.perf_counter() - start_s > plan.seconds:
                break
            for process in _awake(running, turn, plan):
                _take_turn(process, plan.rounds, is_recording=process.side in engines)
    for (side, workload), figures in found.items():
        if plan.launches and side in engines and not figures.skipped:
            figures.launch_s = launch(side, workload)
    return found


def launch(engine: str, workload: str) -> tuple[float, float] | None:
    """Launch two runs; give the seconds to the first round of each, if they have one."""
    done = subprocess.run(
        [sys.executable, str(_LAUNCH), engine, workload],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | _QUIET,
    )
    if done.returncode:
        return None
    report = json.loads(done.stdout.splitlines()[-1])
    return report["first_s"], report["second_s"]


def _awake(running: list[SideProcess], turn: int, plan: Plan) -> list[SideProcess]:
    over = plan.slow if turn >= plan.few_turns else ()
    return [process for process in running if process.side not in over]


def _take_turn(process: SideProcess, rounds: int, *, is_recording: bool) -> None:
    figures = process.figures
    seconds = process.run_block(rounds, is_recorded=False)
    figures.round_s.append(median(seconds))
    if is_recording:
        seconds = process.run_block(rounds, is_recorded=True)
        figures.recorded_s.append(median(seconds))
