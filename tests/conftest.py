"""What every test relies on: no telemetry, steady Hypothesis, reasons for skipping."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Before anything imports Flower, Ray or a hub client; the Makefile says the same.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# Each run starts cold: a warm starter for each test's lab would cost more than it saves.
# Tests of the starter switch it on for themselves.
os.environ.setdefault("FLIP_LAB_STARTER", "0")

# Shared machines are slow at times, and a test must say the same thing twice.
settings.register_profile(
    "flip",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],  # it looks at the clock
)
settings.load_profile("flip")


def chromium() -> str | None:
    """Give the path of Debian's chromium, where it is installed."""
    return shutil.which("chromium")


def _missing(marker: str) -> str:
    """Say why tests with this marker cannot run here; empty when they can."""
    if marker == "browser" and chromium() is None:
        return "needs Debian's chromium: apt-get install chromium"
    if marker == "ray" and find_spec("ray") is None:
        return "needs Ray: pip install flip-lab[sim]"
    if marker == "cluster" and (os.geteuid() != 0 or shutil.which("ip") is None):
        return "needs root and Debian's iproute2: apt-get install iproute2"
    return ""


class _Shares(LoadScopeScheduling):
    """Shares the tests out: unit tests file by file, the others folder by folder.

    What starts servers, clusters and browsers is one worker's work, and unit tests are the
    others', until either has nothing left of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _is_unit(file) else file.rpartition("/")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        is_first = node is self.nodes[0]
        own = (scope for scope in self.workqueue if _is_unit(scope) is not is_first)
        self.workqueue.move_to_end(next(own, next(iter(self.workqueue))), last=False)
        super()._assign_work_unit(node)


def _is_unit(scope: str) -> bool:
    return scope.startswith("tests/unit/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Shares:
    """Share the tests out, where there are several workers."""
    return _Shares(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    for item in items:
        for marker in ("browser", "ray", "cluster"):
            if item.get_closest_marker(marker) and (reason := _missing(marker)):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also when pytest runs in a shell's background.

    There SIGINT is ignored, and every process that a test starts would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_loop_of_another_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test run a loop of its own, also after one that drove a browser.

    Playwright's loop counts as running in this thread for as long as its browser is open.
    """
    if request.node.get_closest_marker("browser"):
        yield
        return
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture
def chromium_path() -> str:
    """Give the browser that tests marked ``browser`` drive."""
    path = chromium()
    if path is None:
        pytest.skip(_missing("browser"))
    return path


@pytest.fixture
def lab_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty lab directory that is the default one for this test.

    Its name holds a space and an umlaut, because users' directories do.
    """
    path = tmp_path / "ein läb" / ".flip-lab"
    path.parent.mkdir()
    monkeypatch.setenv("FLIP_LAB_HOME", str(path))
    return path
