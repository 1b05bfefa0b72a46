"""One hub with two nodes that all fault tests share, whole again before each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.node.config import NodeLimits
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

PATIENCE_S = 300.0
ORDINARY: dict[str, Any] = {"allow": ("any",), "logs_tail_lines": 20}

Until = Callable[[Callable[[], bool]], None]


class SetUp(Protocol):
    """Sets up a node of the shared hub differently, for a while."""

    def __call__(
        self, index: int, environment: dict[str, str] | None = None, **options: object
    ) -> AbstractContextManager[None]:
        """Restart it with these variables and attributes of its settings."""
        ...


@pytest.fixture(scope="session")
def until() -> Until:
    """Give a way to wait for something; the test fails when patience ends."""

    def wait(is_so: Callable[[], bool]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end_s, f"not within {PATIENCE_S} s"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def shared_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """Start a hub with two nodes that let any app in."""
    directory = tmp_path_factory.mktemp("hub")
    with LoopbackHub(num_nodes=2, node_options=ORDINARY, directory=directory) as hub:
        yield hub


@pytest.fixture
def hub(shared_hub: LoopbackHub) -> LoopbackHub:
    """Give the shared hub, up, with both nodes online."""
    if not shared_hub.is_ready():
        shared_hub.start_hub()
    for index, node in enumerate(shared_hub.nodes[:2]):
        if not node.process_id:
            shared_hub.start_node(index)
    shared_hub.wait_for_nodes()
    return shared_hub


@pytest.fixture
def set_up(hub: LoopbackHub) -> SetUp:
    """Give the way to set up a node differently, for a while."""

    @contextmanager
    def differently(
        index: int, environment: dict[str, str] | None = None, **options: object
    ) -> Iterator[None]:
        hub.stop_node(index)
        hub.change_node(index, **options)
        hub.start_node(index, environment)
        try:
            yield
        finally:
            hub.kill_node(index)
            hub.change_node(index, data=None, limits=NodeLimits(), **ORDINARY)

    return differently


@pytest.fixture
def lab(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Give a lab beside a flip-lab.toml that names the hub ``hospitals``."""
    monkeypatch.chdir(tmp_path)
    hub.write_config(tmp_path / "flip-lab.toml", "hospitals")
    return Lab(tmp_path / "lab")


class Undisturbed(Protocol):
    """Knows how runs end that nothing happens to."""

    def __call__(self, num_rounds: int) -> str:
        """Give the hash of the model of ``hospitals`` after so many rounds on two nodes."""
        ...


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Give what a disturbed run must come to all the same: simulated once, and kept."""
    lab = Lab(tmp_path_factory.mktemp("simulated") / "lab")
    known: dict[int, str] = {}

    def model_after(num_rounds: int) -> str:
        if num_rounds not in known:
            changes = {"train.num_rounds": num_rounds}
            run = lab.launch("hospitals", on="in_process", num_nodes=2, overrides=changes)
            assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
            known[num_rounds] = run.outcome().model_sha256
        return known[num_rounds]

    return model_after


class Launch(Protocol):
    """Launches the scenario that all these tests disturb."""

    def __call__(self, num_rounds: int, **options: object) -> Run:
        """Launch ``hospitals`` on the two nodes of the shared hub."""
        ...


@pytest.fixture
def launch(lab: Lab) -> Launch:
    """Give the way to launch ``hospitals``, with the options of ``Lab.launch``."""

    def begin(num_rounds: int, **options: Any) -> Run:  # noqa: ANN401  # as Lab.launch
        chosen = {"on": "hospitals", "num_nodes": 2, **options}
        return lab.launch("hospitals", overrides={"train.num_rounds": num_rounds}, **chosen)

    return begin


class Held(Protocol):
    """Keeps a run in the middle of a round, for as long as a block takes."""

    def __call__(self, run: Run, at: LoopbackHub) -> AbstractContextManager[None]:
        """Wait until the run breaks, then let it ask a node that stands still."""
        ...


@pytest.fixture
def held(until: Until) -> Held:
    """Give the way to be in mid-round for certain: rounds take less than a look at them.

    The run was launched to break in a round: there its training is over, and both nodes
    are about to evaluate. The second one does not answer before the block ends.
    """

    @contextmanager
    def in_mid_round(run: Run, at: LoopbackHub) -> Iterator[None]:
        assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED, run.error
        before = evaluations_of(run)
        at.freeze_node(1)
        try:
            run.resume()
            until(lambda: evaluations_of(run) > before)
            yield
        finally:
            if at.nodes[1].process_id:
                at.thaw_node(1)

    return in_mid_round


def evaluations_of(run: Run) -> int:
    """Count how often nodes were asked to evaluate."""
    return sum(
        event.kind is EventKind.DISPATCHED and event.body["phase"] == "evaluate"
        for event in run.events()
    )


@pytest.fixture
def notices(lab: Lab) -> Callable[[Run], list[dict[str, Any]]]:
    """Give the way to ask the store what happened beside the replies of a run."""
    question = """
        SELECT body->>'code' AS code, body->>'message' AS message, server_round,
               CAST(body->>'node_id' AS UBIGINT) AS node_id
        FROM events WHERE run_id = ? AND kind = 'warning' ORDER BY sequence"""
    return lambda run: lab.sql(question, [run.run_id], as_="arrow").to_pylist()
