"""Those who may not take part, or cannot: they are told why, and the others go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.clock import now_s
from flip_lab.core.events import EventKind
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.scenario import DataSpec
from flip_lab.core.state import RunState
from flip_lab.fl.scenarios import load_scenario
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.nodes import revoke_node
from flip_lab.node.config import DataSource
from flip_lab.node.status import read_status
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

APPS = Path(__file__).parent / "apps"
PATIENCE_S = 300.0
Until = Callable[[Callable[[], bool]], None]
Notices = Callable[[Run], list[dict[str, Any]]]
SetUp = Callable[..., AbstractContextManager[None]]
Launch = Callable[..., Run]


def made_token(hub: LoopbackHub, kind: str) -> str:
    """Make a token that opens nothing, or not this."""
    if kind == "wrong":
        return f"flip_{'a' * 8}_{'b' * 43}"
    with HubDatabase(hub.place) as database:
        role = "viewer" if kind == "viewer" else "researcher"
        expires_s = now_s() - 1 if kind == "expired" else None
        record, token = database.tokens.create(
            role=role, person="somebody", expires_s=expires_s
        )
        if kind == "revoked":
            database.tokens.revoke(record.id)
    return token


@pytest.mark.parametrize(
    ("kind", "status"),
    [("wrong", 401), ("expired", 401), ("revoked", 401), ("viewer", 403)],
)
def test_a_token_that_does_not_open_the_hub(
    hub: LoopbackHub, lab: Lab, tmp_path: Path, kind: str, status: int
) -> None:
    """The run fails at once and says what to do; the nodes never hear of it."""
    hub.write_config(tmp_path / "flip-lab.toml", "closed", token=made_token(hub, kind))
    run = lab.launch("hospitals", on="closed", num_nodes=2)
    assert run.wait(PATIENCE_S) is RunState.FAILED
    [row] = lab.sql("SELECT error_code, error FROM runs", as_="arrow").to_pylist()
    assert row["error_code"] == "FLIP-503"
    assert f"HTTP {status}" in row["error"]
    assert run.error is not None
    assert "token" in run.error.fix


def problem_of(hub: LoopbackHub, index: int) -> str:
    """Say what keeps a node from being online, in its own words."""
    status = read_status(hub.nodes[index].directory / "status.json")
    return status.problem if status else ""


def says_all(text: str, *parts: str) -> bool:
    """Whether one and the same text says several things."""
    return all(part in text for part in parts)


def rounds_of(run: Run) -> int:
    """Count the rounds that have ended."""
    return sum(event.kind is EventKind.ROUND_ENDED for event in run.events())


def test_a_revoked_node_is_turned_away_while_the_other_trains(
    hub: LoopbackHub, launch: Launch, until: Until, notices: Notices
) -> None:
    """It leaves a run that is under way; hub, node and run each say so."""
    node = hub.add_node()
    index = len(hub.nodes) - 1
    hub.start_node(index)
    try:
        hub.wait_for_nodes()
        run = launch(100_000)  # it goes on until it is stopped
        until(lambda: rounds_of(run) >= 3)
        with HubDatabase(hub.place) as database:
            revoke_node(database, node.name)
        until(lambda: says_all(problem_of(hub, index), "FLIP-802", "revoked"))
        until(lambda: any(each["code"] == "node_lost" for each in notices(run)))
        seen = rounds_of(run)
        until(lambda: rounds_of(run) >= seen + 2)
        until(lambda: hub.online_nodes() == {"node-0", "node-1"})
        run.stop()
        assert run.wait(PATIENCE_S) is RunState.STOPPED, run.error
    finally:
        hub.kill_node(index)
    [lost] = [each for each in notices(run) if each["code"] == "node_lost"]
    assert lost["node_id"] == node.node_id


def faked(kind: str, tmp_path: Path) -> Mapping[str, str]:
    """Give what makes a process believe in another time, or in another Flower."""
    if kind == "clock":
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if library is None:
            pytest.skip("needs Debian's libfaketime: apt-get install libfaketime")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME": "+10m",
            "DONT_FAKE_MONOTONIC": "1",
        }
    old = tmp_path / "flwr-1.17.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: flwr\nVersion: 1.17.0\n")
    here = os.environ.get("PYTHONPATH", "")
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [str(tmp_path), source, here]))
    return {"PYTHONPATH": path}


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [("clock", "FLIP-803", "clock"), ("version", "FLIP-804", "1.17.0")],
)
def test_a_node_that_does_not_fit_says_why_and_joins_once_it_does(
    hub: LoopbackHub,
    set_up: SetUp,
    launch: Launch,
    until: Until,
    tmp_path: Path,
    kind: str,
    code: str,
    says: str,
) -> None:
    """Its clock is ten minutes off, or its Flower is another one; the other node trains."""
    with set_up(1, faked(kind, tmp_path)):
        until(lambda: says_all(problem_of(hub, 1), code, says, "Fix: "))
        until(lambda: hub.online_nodes() == {"node-0"})
        alone = launch(2, num_nodes=1)
        assert alone.wait(PATIENCE_S) is RunState.COMPLETED, alone.error
        assert len(alone.clients()["node_id"].unique()) == 1
    hub.start_node(1)
    hub.wait_for_nodes()
    until(lambda: not problem_of(hub, 1))


def failures_of(lab: Lab, run: Run) -> list[dict[str, Any]]:
    """Give what failed clients said, as SQL sees it."""
    question = """
        SELECT DISTINCT partition_id, node_id, error FROM clients
        WHERE run_id = ? AND error_code != 0"""
    return lab.sql(question, [run.run_id], as_="arrow").to_pylist()


def test_an_app_that_one_site_does_not_allow_runs_at_the_others(
    hub: LoopbackHub, set_up: SetUp, lab: Lab, notices: Notices
) -> None:
    """The site's refusal names it, the app's hash, and the command that would allow it."""
    with set_up(1, allow=("scenarios",)):
        hub.wait_for_nodes()
        run = lab.launch(APPS / "rogue", on="hospitals", num_nodes=2)
        assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    [failure] = failures_of(lab, run)
    assert failure["node_id"] == hub.nodes[1].node_id
    assert "FLIP-805" in failure["error"]
    assert "'node-1'" in failure["error"]
    assert "flip-lab node allow sha256:" in failure["error"]
    assert {each["code"] for each in notices(run)} == {"app_refused"}
    assert run.clients().query("error_code == 0")["server_round"].nunique() == 3


def test_a_site_whose_data_is_missing_fails_alone(
    hub: LoopbackHub, set_up: SetUp, lab: Lab, tmp_path: Path
) -> None:
    """Its error names the file and the fix; the other site's rows train the model."""
    rows = "\n".join(f"{number % 7},{number % 3},{number % 2}" for number in range(60))
    (tmp_path / "there.csv").write_text(f"age,dose,ill\n{rows}\n")
    scenario = replace(
        load_scenario("hospitals"),
        data=DataSpec(
            dataset="site",
            partitioner="natural",
            num_partitions=2,
            options={"shape": [2], "classes": ["well", "ill"]},
        ),
        expect=(),
    )

    def source(name: str) -> DataSource:
        return DataSource(
            kind="csv", options={"path": str(tmp_path / name), "label": "ill"}
        )

    with set_up(0, data=source("there.csv")), set_up(1, data=source("missing.csv")):
        hub.wait_for_nodes()
        changes = {"train.num_rounds": 2}
        run = lab.launch(scenario, on="hospitals", num_nodes=2, overrides=changes)
        assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    failures = failures_of(lab, run)
    assert {failure["partition_id"] for failure in failures} <= {1, -1}
    assert {failure["node_id"] for failure in failures} == {hub.nodes[1].node_id}
    assert "FLIP-806" in failures[0]["error"]
    assert "missing.csv" in failures[0]["error"]
    assert "Fix: " in failures[0]["error"]
    assert run.outcome().model_sha256


def test_a_round_below_its_quorum_ends_the_run_with_a_reason(
    hub: LoopbackHub, set_up: SetUp, lab: Lab, notices: Notices
) -> None:
    """Somebody who needs both sites is told which one was missing, and why."""
    with set_up(1, allow=("scenarios",)):
        hub.wait_for_nodes()
        policy = RoundPolicy(quorum=2)
        run = lab.launch(APPS / "rogue", on="hospitals", num_nodes=2, policy=policy)
        assert run.wait(PATIENCE_S) is RunState.FAILED
    assert run.error is not None
    assert run.error.code == "FLIP-810"
    assert str(hub.nodes[1].node_id) in run.error.what
    assert [each["code"] for each in notices(run)] == ["app_refused"]
