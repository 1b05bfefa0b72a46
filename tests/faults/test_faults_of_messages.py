"""What comes over the wire is too large, broken or malicious: the model stays good."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.state import RunState
from flip_lab.node.config import NodeLimits
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

APP = Path(__file__).parent / "apps" / "rogue"
PATIENCE_S = 300.0
Notices = Callable[[Run], list[dict[str, Any]]]
SetUp = Callable[..., Any]
Until = Callable[[Callable[[], bool]], None]


def clients_of(lab: Lab, run: Run) -> list[dict[str, Any]]:
    """Give what the clients did, as SQL sees it."""
    question = "FROM clients WHERE run_id = ? ORDER BY server_round, partition_id"
    return lab.sql(question, [run.run_id], as_="arrow").to_pylist()


@pytest.mark.parametrize(
    ("mischief", "says"),
    [("shapes", "float32[9]"), ("nan", "NaN"), ("huge", "float32[50000000]")],
)
def test_a_malicious_reply_is_kept_out_of_the_model(
    hub: LoopbackHub, lab: Lab, notices: Notices, mischief: str, says: str
) -> None:
    """Wrong shapes, NaN, 200 MB: refused in its round, with node, cause and fix."""
    changes = {"mischief": mischief, "rogue-partition": 1}
    run = lab.launch(APP, on="hospitals", num_nodes=2, overrides=changes)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    rows = clients_of(lab, run)
    [refused] = [row for row in rows if row["error_code"] != 0]
    assert (refused["server_round"], refused["node_id"]) == (2, hub.nodes[1].node_id)
    assert "FLIP-807" in refused["error"]
    assert "'node-1' (partition 1)" in refused["error"]
    assert says in refused["error"]
    assert "Fix: " in refused["error"]
    [notice] = notices(run)
    assert (notice["code"], notice["node_id"]) == ("reply_refused", refused["node_id"])
    # Every other reply added one to what all had: the model was never spoilt.
    good = [row for row in rows if row["error_code"] == 0]
    firsts = [(row["server_round"], dict(row["metrics"])["first"]) for row in good]
    assert firsts == [(1, 1.0), (1, 1.0), (2, 2.0), (3, 3.0), (3, 3.0)]
    assert all(math.isfinite(value) for _, value in firsts)


def test_a_model_of_100_megabytes_travels_both_ways(
    hub: LoopbackHub, lab: Lab, until: Until
) -> None:
    """Two nodes train it for two rounds; nothing is lost, no byte is another one."""
    changes = {"num-values": 25_000_000, "num-server-rounds": 2}
    run = lab.launch(APP, on="hospitals", num_nodes=2, overrides=changes)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    rows = clients_of(lab, run)
    assert [(row["server_round"], row["error_code"]) for row in rows] == [
        (1, 0),
        (1, 0),
        (2, 0),
        (2, 0),
    ]
    assert all(row["bytes_up"] > 100_000_000 for row in rows)
    assert len({row["digest"] for row in rows if row["server_round"] == 2}) == 1
    until(lambda: hub.online_nodes() >= {"node-0", "node-1"})


def test_a_site_keeps_in_what_is_larger_than_it_allows(
    hub: LoopbackHub, set_up: SetUp, lab: Lab
) -> None:
    """The message does not reach the client; the error says which limit it was."""
    with set_up(1, limits=NodeLimits(message_mb=1)):
        hub.wait_for_nodes()
        changes = {"num-values": 1_000_000, "num-server-rounds": 1}
        run = lab.launch(APP, on="hospitals", num_nodes=2, overrides=changes)
        assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    good, bad = clients_of(lab, run)
    if good["error_code"]:
        good, bad = bad, good
    assert (good["error_code"], bad["node_id"]) == (0, hub.nodes[1].node_id)
    assert "FLIP-813" in bad["error"]
    assert "message-mb" in bad["error"]
