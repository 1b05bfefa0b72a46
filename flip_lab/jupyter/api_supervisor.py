"""Keeps the process that serves the lab: starts it, again after a death, and ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import orjson

from flip_lab.jupyter.problems import ProblemError, cannot_start

_PROGRAM = (sys.executable, "-P", "-m", "flip_lab.jupyter.api_process")
"""``-P``: a file of the user's called like a library must not be taken for it."""

_START_S = 120.0
"""Longest start; a busy machine imports slowly."""

_END_S = 10.0
"""How long the process may take to end by itself."""

_REST_S = 5.0
"""How long a failed start counts: a page that asks on and on must not start on and on."""


class ApiSupervisor:
    """Supervises the API's process.

    The process reads its standard input, a pipe that nobody else writes to: its end is the
    end of this process, however it came (also by SIGKILL), and the process ends, too.

    Args:
        lab: The lab's directory.
        root: The directory that the process works in.
        log: Jupyter's log.
        program: What to start; it takes the arguments of ``api_process``.
    """

    def __init__(
        self,
        *,
        lab: Path,
        root: Path,
        log: logging.Logger,
        program: Sequence[str] = _PROGRAM,
    ) -> None:
        """Start nothing yet."""
        self._program = program
        self._lab = lab
        self._root = root
        self._log = log
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._directory: Path | None = None
        self._path: Path | None = None
        self._starts = 0
        self._starting: asyncio.Task[None] | None = None
        self._failed: tuple[float, ProblemError] | None = None

    @property
    def pid(self) -> int | None:
        """The process; ``None`` while there is none."""
        return self._process.pid if self._is_alive() and self._process else None

    async def socket(self) -> str:
        """Give the path of the socket on which the API answers, and start it if it must be.

        Raises:
            ProblemError: If it does not start.
        """
        async with self._lock:
            if not self._is_alive():
                await self._started()
            return str(self._path)

    async def another_socket(self, silent: str) -> str:
        """Give where the API answers now: nobody listens at ``silent``.

        The process has died, is about to, or a cleaner of temporary files has taken its
        socket away: it is replaced.

        Raises:
            ProblemError: If it does not start.
        """
        async with self._lock:
            if self._process is not None and str(self._path) == silent:
                await _end(self._process)
        return await self.socket()

    async def stop(self) -> None:
        """End the process, if there is one, and take its directory away."""
        async with self._lock:
            if self._starting is not None:
                self._starting.cancel()  # nobody waits for it: else the lock were taken
                await asyncio.wait([self._starting])
            if self._process is not None:
                await _end(self._process)
                self._process = None
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)
                self._directory = None

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _new_path(self) -> Path:
        if self._directory is None or not self._directory.is_dir():
            # private to us (0700), and short: a socket's name has 107 bytes
            self._directory = Path(tempfile.mkdtemp(prefix="flip-lab-"))
        self._starts += 1  # a name of its own tells the dead from their successor
        return self._directory / f"{self._starts}.sock"

    async def _started(self) -> None:
        """Wait for the start under way, or begin one.

        Who asked may go away meanwhile, as a page that is loaded again does: the start goes
        on, and the next one who asks waits for it.
        """
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        if self._failed is not None and time.monotonic() - self._failed[0] < _REST_S:
            raise self._failed[1]
        path = self._new_path()
        place = ["--socket", str(path), "--lab", str(self._lab)]
        process = await asyncio.create_subprocess_exec(
            *self._program,
            *place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._root,
            start_new_session=True,  # Ctrl-C in Jupyter's terminal is Jupyter's to hear
        )
        try:
            async with asyncio.timeout(_START_S):
                told = await cast("asyncio.StreamReader", process.stdout).readline()
        except TimeoutError:
            told = b""
        except asyncio.CancelledError:
            process.kill()  # it has nothing to tidy up yet
            await process.wait()
            raise
        problem = _problem_told(told)
        if problem is not None:
            await _end(process)
            self._failed = time.monotonic(), problem
            raise problem
        self._process, self._path = process, path
        self._log.info("FLIP Lab serves %s (process %d).", self._lab, process.pid)


def _problem_told(line: bytes) -> ProblemError | None:
    """Read the process's first line: ready, or why not."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return cannot_start("It ended, or said nothing.")
    return None if told.get("is_ready") else ProblemError(told)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        os.kill(process.pid, 9)
        await process.wait()
