"""Runs on a hub with real nodes: chosen by tags, under a policy, without this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import CohortError, InvalidValueError, RunNotFoundError
from flip_lab.core.events import EventKind
from flip_lab.core.policy import LATE, RoundPolicy
from flip_lab.core.state import RunState
from flip_lab.runs.inputs import App
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0
SHORT: dict[str, Any] = {"train.num_rounds": 2}
UNEVEN = Path(__file__).parent / "apps" / "uneven"


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    """Give a hub with two nodes that are tagged, and take any app."""
    with LoopbackHub(2, node_options={"allow": ("any",)}) as running:
        with running.client() as client:
            for node, tags in zip(running.nodes, (["eu"], ["eu", "slow"]), strict=True):
                place = f"/flip/v1/hub/nodes/{node.name}"
                client.patch(place, json={"add": tags}).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def lab(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give a lab here that knows the hub; the working directory does not."""
    home = Lab(tmp_path_factory.mktemp("laptop") / ".flip-lab")
    hub.write_config(home.path / "flip-lab.toml", "hospitals")
    return home


def partitions(lab: Lab, run: Run) -> dict[tuple[int, int], int]:
    """Give the error code of each client row, by round and partition."""
    rows = lab.clients(runs=run, phase="train", as_="rows")
    return {(r["server_round"], r["partition_id"]): r["error_code"] for r in rows}


def test_nodes_are_chosen_by_their_tags(lab: Lab) -> None:
    """Who is slow is in no cohort."""
    run = lab.launch(
        "hospitals",
        on="hospitals",
        num_nodes=2,
        nodes="eu and not slow",
        overrides=SHORT,
    )
    run.result(PATIENCE_S)
    assert {partition for _, partition in partitions(lab, run)} == {0}
    again = lab.rerun(run.run_id, on="in_process", timeout_s=PATIENCE_S)
    assert again.ok, again
    assert lab.run(again.repeated).spec.nodes == "0"


def test_a_choice_that_nobody_meets_names_what_there_is(lab: Lab) -> None:
    """FLIP-811, with all tags and names."""
    run = lab.launch("hospitals", on="hospitals", num_nodes=2, nodes="us")
    with pytest.raises(CohortError, match="tags: eu, slow"):
        run.result(PATIENCE_S)


def test_a_slow_node_is_late_and_the_round_goes_on_without_it(lab: Lab) -> None:
    """The model is that of the other node; who was late is on record."""
    run = lab.launch(
        UNEVEN,
        on="hospitals",
        num_nodes=2,
        policy=RoundPolicy(deadline_s=20.0),
        overrides={"naps-s": "0,30", "num-server-rounds": 1},
    )
    [array] = run.result(PATIENCE_S).arrays.values()
    assert sorted(partitions(lab, run).values()) == [0, LATE]
    np.testing.assert_allclose(array, 0.1)


def test_a_run_goes_on_without_this_machine_and_comes_home(lab: Lab) -> None:
    """Another kernel finds it again, waits, and has all of it under the same id."""
    away = lab.launch(
        "hospitals", on="hospitals", num_nodes=2, overrides=SHORT, detach="hub", tags=["x"]
    )
    with pytest.raises(RunNotFoundError):
        lab.run(away.run_id)
    [found] = Lab(lab.path).detached()
    assert found.run_id == away.run_id
    assert found.wait(PATIENCE_S) is RunState.COMPLETED
    run = lab.run(away.run_id)
    assert run.state is RunState.COMPLETED
    assert run.spec.federation == "hospitals"
    assert run.result().arrays
    assert run.checkpoints
    assert not lab.detached()
    local = lab.launch("hospitals", on="hospitals", num_nodes=2, overrides=SHORT)
    for name, array in local.result(PATIENCE_S).arrays.items():
        assert (run.result().arrays[name] == array).all()


def test_a_detached_run_outlives_its_hub_s_process(hub: LoopbackHub, lab: Lab) -> None:
    """The hub is started anew in mid-run; no round is lost, and the run comes home."""
    away: Any = lab.launch(
        UNEVEN,
        on="hospitals",
        num_nodes=2,
        overrides={"naps-s": "1,1", "num-server-rounds": 12},  # so that it is in mid-run
        detach="hub",
    )
    for event in away.follow():
        if event.kind is EventKind.ROUND_ENDED and event.server_round == 2:
            break
    hub.restart_hub()
    assert away.wait(PATIENCE_S) is RunState.COMPLETED
    run = lab.run(away.run_id)
    ended = [e.server_round for e in run.events() if e.kind is EventKind.ROUND_ENDED]
    assert ended == [*range(1, 13)]


def test_what_cannot_travel_is_refused_before_anything_is_sent(lab: Lab) -> None:
    """Python objects of a kernel stay there."""
    with pytest.raises(InvalidValueError, match="callbacks"):
        lab.launch("hospitals", on="hospitals", detach="hub", callbacks=[object()])  # pyright: ignore[reportArgumentType]  # never called
    with pytest.raises(InvalidValueError, match="notebook cells"):
        lab.launch(
            App(server_app=ServerApp(), client_app=ClientApp()),
            on="hospitals",
            detach="hub",
        )
    with pytest.raises(InvalidValueError, match="cannot go on with a hub"):
        lab.launch("hospitals", on="in_process", detach="hub")
    with pytest.raises(InvalidValueError, match="moon"):
        lab.launch("hospitals", on="hospitals", detach="moon")
