"""The run process as the driver of a real hub with our own nodes, over TLS.

What happens when machines and networks fail is in ``tests/faults``; here is what the driver
itself promises.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

import numpy as np
import pandas as pd
import pytest

from flip_lab import Lab
from flip_lab.core.clock import tick_s
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.engines.flower.control import ControlClient, SuperLink
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

pytestmark = [pytest.mark.hub, pytest.mark.slow]

APP = Path(__file__).parents[1] / "apps" / "numpy"
PATIENCE_S = 240.0
ENDLESS = {"train.num_rounds": 1_000_000}
WHEN_AND_WHERE = ["run_id", "sequence", "time_at", "started_at", "duration_s", "node_id"]


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    """Give a hub with two warm nodes that let any app run."""
    with LoopbackHub(num_nodes=2, node_options={"allow": ("any",)}) as running:
        yield running


@pytest.fixture
def lab(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Give a lab beside a ``flip-lab.toml`` that names the hub."""
    monkeypatch.chdir(tmp_path)
    hub.write_config(tmp_path / "flip-lab.toml", "loopback")
    return Lab(tmp_path / "lab")


def wait_until(is_so: Callable[[], bool], run: Run) -> None:
    """Wait for something that a run does."""
    end_s = tick_s() + PATIENCE_S
    while not is_so():
        assert tick_s() < end_s, run.logs(tail=40)
        sleep(0.05)


def rounds_of(lab: Lab, run: Run) -> int:
    """Count the rounds that have ended."""
    rows = lab.sql(f"SELECT * FROM rounds WHERE run_id = '{run.run_id}'")  # noqa: S608  # our id
    return len(rows)


def warnings_of(lab: Lab, run: Run) -> list[str]:
    """Name what was told beside replies, in order."""
    rows = lab.sql(
        "SELECT body ->> 'code' AS code FROM events WHERE kind = 'warning' "  # noqa: S608  # our id
        f"AND run_id = '{run.run_id}' ORDER BY sequence"
    )
    return rows["code"].tolist()


def app_with(tmp_path: Path, client: str, *, num_rounds: int = 2) -> Path:
    """Copy the NumPy app, with another ClientApp."""
    app = tmp_path / "app"
    shutil.copytree(APP, app)
    (app / "numpyexample" / "client_app.py").write_text(client)
    manifest = app / "pyproject.toml"
    settings = manifest.read_text().replace("rounds = 3", f"rounds = {num_rounds}")
    manifest.write_text(settings.replace("evaluate = 1.0", "evaluate = 0.0"))
    return app


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep what must not depend on where a run happens: no times, no node ids."""
    kept = frame.drop(columns=WHEN_AND_WHERE, errors="ignore")
    return kept.sort_values(list(kept.columns[:4]), ignore_index=True)


def test_a_hub_that_is_killed_in_mid_run_costs_no_round_and_no_bit(
    hub: LoopbackHub, lab: Lab
) -> None:
    """All of Flower's state is gone; the run ends with the model of the simulation."""
    real = lab.launch("hospitals", on="loopback", num_nodes=2, overrides=ENDLESS)
    wait_until(lambda: rounds_of(lab, real) >= 4, real)
    hub.kill_hub()
    hub.start_hub()
    wait_until(lambda: "hub_back" in warnings_of(lab, real), real)
    num_rounds = rounds_of(lab, real)
    wait_until(lambda: rounds_of(lab, real) >= num_rounds + 4, real)
    real.stop_when("eval_accuracy >= 0")

    assert real.wait(PATIENCE_S) is RunState.COMPLETED, real.logs(tail=40)
    num_rounds = real.outcome().num_rounds
    changes = {"train.num_rounds": num_rounds}
    simulated = lab.launch("hospitals", num_nodes=2, overrides=changes)
    assert simulated.wait(PATIENCE_S) is RunState.COMPLETED
    assert real.outcome().model_sha256 == simulated.outcome().model_sha256 != ""
    for table in ("metrics", "client_metrics", "clients"):
        left, right = (measured(getattr(run, table)()) for run in (simulated, real))
        assert len(left), table
        pd.testing.assert_frame_equal(left, right)
    assert rounds_of(lab, real) == num_rounds
    assert warnings_of(lab, real) == ["hub_lost", "hub_back"]


def test_a_run_can_be_stopped_while_it_waits_for_nodes(hub: LoopbackHub, lab: Lab) -> None:
    """The third node never comes; nobody has to wait for that."""
    with hub.client() as client:
        num_before = len(client.get("/flip/v1/hub/runs").json())
        run = lab.launch("hospitals", on="loopback", num_nodes=3)
        wait_until(lambda: len(client.get("/flip/v1/hub/runs").json()) > num_before, run)
    assert run.state is RunState.STARTING
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED, run.logs(tail=40)


def test_a_run_can_be_stopped_while_it_waits_for_the_hub(
    hub: LoopbackHub, lab: Lab
) -> None:
    """It keeps the model that it has."""
    run = lab.launch("hospitals", on="loopback", num_nodes=2, overrides=ENDLESS)
    wait_until(lambda: rounds_of(lab, run) >= 2, run)
    hub.stop_hub()
    try:
        wait_until(lambda: "hub_lost" in warnings_of(lab, run), run)
        run.stop()
        assert run.wait(PATIENCE_S) is RunState.STOPPED, run.logs(tail=40)
        assert run.outcome().model_sha256
    finally:
        hub.start_hub()
        hub.wait_for_nodes()


def test_a_run_that_somebody_stops_on_the_hub_says_who(hub: LoopbackHub, lab: Lab) -> None:
    """It has stopped, is not started there again behind their back, and keeps its model."""
    run = lab.launch("hospitals", on="loopback", num_nodes=2, overrides=ENDLESS)
    wait_until(lambda: rounds_of(lab, run) >= 2, run)  # the evaluation before, and a round
    with hub.client() as client:
        newest = client.get("/flip/v1/hub/runs").json()[0]
    assert newest["run_id"] == run.run_id
    superlink = SuperLink(
        address=hub.address,
        root_certificates=hub.root_certificates.read_bytes(),
        token=hub.token("admin"),
    )
    with ControlClient(superlink) as control:
        control.stop_run(int(newest["flower_run_id"]))
    assert run.wait(PATIENCE_S) is RunState.STOPPED, run.logs(tail=40)
    [stop] = [event.body for event in run.events() if event.kind is EventKind.CONTROL]
    assert (stop["command"], stop["author"]) == ("stop", "loopback-admin")
    assert stop["at"] == hub.address
    assert "hub_lost" not in warnings_of(lab, run)
    assert run.outcome().model_sha256


MALICIOUS = """
import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(msg: Message, context: Context) -> Message:
    [weights] = msg.content["arrays"].to_numpy_ndarrays()
    num_examples, server_round = 10, msg.content["config"]["server-round"]
    weights = weights + 1.0
    if context.node_config["partition-id"] == 1:
        weights, num_examples = {
            1: (weights[:2], 10),
            2: (weights * np.nan, 10),
            3: (weights * 1e6, -9),
        }[server_round]
    content = RecordDict({
        "arrays": ArrayRecord([weights]),
        "metrics": MetricRecord({"num-examples": num_examples}),
    })
    return Message(content, reply_to=msg)
"""


def test_malicious_replies_reach_no_strategy(lab: Lab, tmp_path: Path) -> None:
    """Another shape, NaN, a weight below zero: each is on record, and rounds go on."""
    app = app_with(tmp_path, MALICIOUS, num_rounds=3)
    run = lab.launch(app, on="loopback", num_nodes=2)
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.logs(tail=40)
    [model] = run.result().arrays.values()
    np.testing.assert_array_equal(model, np.full(5, 3.0))
    clients = run.clients()
    refused = clients[clients["error_code"] > 0].sort_values("server_round")
    assert refused["partition_id"].tolist() == [1, 1, 1]
    for text, why in zip(
        refused["error"],
        ["float64[2]", "NaN or infinite", "num-examples is -9"],
        strict=True,
    ):
        assert why in text
        assert "FLIP-807" in text
        assert "node-1" in text
    assert warnings_of(lab, run) == ["reply_refused"] * 3
