"""Labs, processes and patience that the integration tests share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from flip_lab.core.servers import bound_socket
from flip_lab.runs import launch, resume
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0


class Start(Protocol):
    """Starts a Python program."""

    def __call__(self, *arguments: str, lab: Path) -> subprocess.Popen[str]:
        """Start ``python ARGUMENTS`` with this lab as its default one."""
        ...


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give one lab to all tests of a module, in a directory with an awkward name."""
    return Lab(tmp_path_factory.mktemp("ein läb") / ".flip-lab")


@pytest.fixture(scope="module", autouse=True)
def _no_run_outlives_its_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End what a failed test left under way: many runs here have no end of their own."""
    yield
    home = str(tmp_path_factory.getbasetemp())
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "flip_lab.runs.process" in command and command[-1].startswith(home):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="session")
def slow_app() -> Path:
    """Give the directory of an app that takes its time."""
    return Path(__file__).parent / "apps" / "slow"


@pytest.fixture(scope="session")
def environment() -> Mapping[str, str]:
    """Give the environment of a user's process, with FLIP Lab installed."""
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [str(ROOT), inherited]))
    return {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def start(environment: Mapping[str, str]) -> Start:
    """Give the way to start a Python program."""

    def begin(*arguments: str, lab: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**environment, "FLIP_LAB_HOME": str(lab)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=lab.parent,
            start_new_session=True,
        )

    return begin


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """Give a way to wait for something; the test fails when patience ends."""

    def wait(is_so: Callable[[], bool]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end_s, f"not within {PATIENCE_S} s"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def asked_first() -> Callable[[Callable[[Run], object]], AbstractContextManager[None]]:
    """Give a way to ask runs for something before their processes begin.

    Asked after a launch, a run may be anywhere by then, or over: nobody waits for a test.
    """

    @contextmanager
    def asking(wish: Callable[[Run], object]) -> Iterator[None]:
        begin = launch.start_process

        def start(lab: LabDir, spec: RunSpec, lock: int) -> None:
            wish(Run(lab, spec.run_id))
            begin(lab, spec, lock)

        with pytest.MonkeyPatch.context() as patch:
            for module in (launch, resume):
                patch.setattr(module, "start_process", start)
            yield

    return asking


@pytest.fixture(scope="module")
def kept_port() -> Iterator[int]:
    """Give a port that nobody else on this machine is given while a server is down."""
    with bound_socket("127.0.0.1", 0) as holder:  # a server may listen there all the same
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def process_of() -> Callable[[Run], psutil.Process]:
    """Give a way to find the process of a living run, which may be about to begin."""

    def found(run: Run) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if "flip_lab.runs.process" in (process.info["cmdline"] or [])
            and process.info["cmdline"][-1].endswith(run.run_id)
            and leads_a_session(process.pid)  # the copies that it made do not
        ]

    def leads_a_session(process_id: int) -> bool:
        try:
            return os.getsid(process_id) == process_id
        except ProcessLookupError:  # a copy that has just ended
            return False

    def find(run: Run) -> psutil.Process:
        end_s = time.monotonic() + PATIENCE_S
        while not (processes := found(run)) and time.monotonic() < end_s:
            time.sleep(0.05)
        [process] = processes
        return process

    return find
