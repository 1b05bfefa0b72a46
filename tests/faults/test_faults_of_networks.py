"""Nodes whose lines are slow, lossy or cut: they come back, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub
from flip_lab.testing.network import Host, Link, Network, missing_for_networks

pytestmark = [pytest.mark.hub, pytest.mark.cluster, pytest.mark.slow]

PATIENCE_S = 300.0
BAD = Link(latency_s=0.1, jitter_s=0.02, loss_percent=20)
"""200 ms there and back, a fifth of the packets lost: worse than most mobile networks."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A hub on this machine, a node on each host, and a lab."""

    hub: LoopbackHub
    hosts: tuple[Host, ...]
    lab: Lab

    def launch(self, num_rounds: int) -> Run:
        """Launch ``hospitals`` on both nodes."""
        changes = {"train.num_rounds": num_rounds}
        return self.lab.launch("hospitals", on="far", num_nodes=2, overrides=changes)

    def notices(self, run: Run) -> list[dict[str, Any]]:
        """Give what happened beside the replies, as SQL sees it."""
        question = """
            SELECT body->>'code' AS code, body->>'message' AS message
            FROM events WHERE run_id = ? AND kind = 'warning' ORDER BY sequence"""
        return self.lab.sql(question, [run.run_id], as_="arrow").to_pylist()


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """Give nodes behind the lines that a test names as its parameter."""
    if missing := missing_for_networks():
        pytest.skip(missing)
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        network = stack.enter_context(Network(request.param))
        hub = LoopbackHub(
            num_nodes=len(network.hosts),
            hosts=network.hosts,
            address=network.address,
            directory=tmp_path / "hub",
        )
        stack.enter_context(hub)
        hub.write_config(tmp_path / "flip-lab.toml", "far")
        yield Scene(hub=hub, hosts=network.hosts, lab=Lab(tmp_path / "lab"))


def rounds_of(run: Run) -> list[int]:
    """List the rounds that have ended, in the order of that."""
    return [e.server_round for e in run.events() if e.kind is EventKind.ROUND_ENDED]


@pytest.mark.parametrize("scene", [[Link(), BAD]], indirect=True)
def test_a_line_that_loses_a_fifth_and_is_slow_changes_no_bit(
    scene: Scene, undisturbed: Callable[[int], str]
) -> None:
    """TCP repeats what is lost, and what TCP gives up node and hub repeat."""
    num_rounds = 3
    run = scene.launch(num_rounds)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(num_rounds)
    assert (run.clients()["error_code"] == 0).all()


@pytest.mark.parametrize(
    "away_s", [pytest.param(30, id="30s"), pytest.param(120, id="2min")]
)
@pytest.mark.parametrize("scene", [[Link(), Link()]], indirect=True)
def test_a_node_that_is_cut_off_for_a_while_comes_back_by_itself(
    scene: Scene, until: Callable[[Callable[[], bool]], None], away_s: float
) -> None:
    """No packet says goodbye: the others go on without it, then with it again."""
    run = scene.launch(100_000)
    until(lambda: len(rounds_of(run)) >= 3)
    scene.hosts[1].cut()
    sleep(away_s)
    until(lambda: scene.hub.online_nodes() == {"node-0"})
    until(lambda: [each["code"] for each in scene.notices(run)] == ["node_lost"])
    assert "'node-1'" in scene.notices(run)[0]["message"]
    alone = len(rounds_of(run))
    until(lambda: len(rounds_of(run)) > alone)
    scene.hosts[1].mend()
    until(lambda: scene.hub.online_nodes() == {"node-0", "node-1"})
    until(lambda: scene.notices(run)[-1]["code"] == "node_back")
    together = len(rounds_of(run))
    until(lambda: len(rounds_of(run)) >= together + 3)
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED
    last = run.clients().query("phase == 'train' and error_code == 0")
    assert set(last.tail(4)["partition_id"]) == {0, 1}


@pytest.mark.parametrize("scene", [[Link(), Link(bandwidth_mbit=8)]], indirect=True)
def test_a_thin_line_is_seen_in_the_times_and_in_nothing_else(
    scene: Scene, undisturbed: Callable[[int], str]
) -> None:
    """8 Mbit/s: the small model of a logistic regression does not care."""
    run = scene.launch(3)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.outcome().model_sha256 == undisturbed(3)
