"""A model's whole way: trained, promoted, delivered by a hub, and asked at its sites.

One hub with two nodes serves the module: real processes, TLS, signatures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pytest
import torch

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    CohortError,
    DeliveryError,
    ModelNotFoundError,
    NotAllowedError,
)
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.node.config import ServeSettings
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.lab import Lab
from flip_lab.testing.hub import LoopbackHub
from flip_lab.testing.hub_nodes import HubNode

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0
SCENARIO = "digits-iid"


@dataclass(frozen=True)
class Scene:
    """What the tests of this module share.

    Attributes:
        hub: A hub with two nodes that answer predictions.
        lab: A researcher's lab, with three versions of ``digits``.
    """

    hub: LoopbackHub
    lab: Lab

    def endpoint(self, node: int) -> httpx.Client:
        """Give a client of a node's endpoint; the caller closes it."""
        told = place_of(self.hub.nodes[node])
        token = Path(told["token_file"]).read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(
            base_url=told["url"], headers=headers, timeout=PATIENCE_S, trust_env=False
        )


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end_s = tick_s() + PATIENCE_S
    while not is_so():
        assert tick_s() < end_s, what
        time.sleep(0.1)


def place_of(node: HubNode, *, but: int = 0) -> dict[str, Any]:
    """Say where a node's endpoint listens, once it does and is not process ``but``."""
    found: dict[str, Any] = {}

    def is_there() -> bool:
        # Where an endpoint has just ended, the file goes between two looks.
        with suppress(FileNotFoundError):
            found.update(json.loads((node.directory / "serve.json").read_text()))
        return found.get("process_id", but) != but

    until(is_there, f"{node.name} has no endpoint")
    return found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Train, register three versions, and start a hub whose nodes serve."""
    home = tmp_path_factory.mktemp("deliveries")
    lab = Lab(home / "lab")
    run = lab.launch(
        SCENARIO,
        on="in_process",
        overrides={"train.num_rounds": 3},
        checkpoints=Checkpoints(keep_every=1),
    )
    run.wait(PATIENCE_S)
    for at_round in (1, 2, 3):
        lab.models.register(run, "digits", at_round=at_round)
    lab.models.promote("digits", 1, "production")
    serve = {"serve": ServeSettings(port=0)}
    with (
        LoopbackHub(num_nodes=2, node_options=serve) as hub,
        pytest.MonkeyPatch.context() as m,
    ):
        hub.write_config(home / "flip-lab.toml", "hospitals")
        hub.write_config(home / "flip-lab.toml", "guests", token=hub.token("viewer"))
        m.chdir(home)
        yield Scene(hub=hub, lab=lab)


def own_answers(lab: Lab, version: int, rows: np.ndarray) -> np.ndarray:
    """Give what the model itself says, built here from the registry's file."""
    scenario = lab.run(lab.models.version("digits", version).lineage.run_id or "").scenario
    model = build_model(scenario, load_dataset(scenario.data.dataset))
    arrays = lab.models.arrays("digits", version)
    model.load_state_dict({name: torch.from_numpy(each) for name, each in arrays.items()})
    with torch.inference_mode():
        return torch.softmax(model.eval()(torch.from_numpy(rows)), dim=1).numpy()


def answers(client: httpx.Client, rows: np.ndarray) -> tuple[int, np.ndarray]:
    """Ask an endpoint; give the version that answered, and its probabilities."""
    told = client.post("/predict", json={"inputs": rows.tolist()}).raise_for_status().json()
    found = [list(each["probabilities"].values()) for each in told["predictions"]]
    return told["model"]["version"], np.array(found, dtype=np.float32)


def live_version(client: httpx.Client) -> int | None:
    """Give the version that answers, if one does."""
    shown = client.get("/models").raise_for_status().json()["models"]
    return next((each["version"] for each in shown if each["is_live"]), None)


def deliver_and_wait(
    scene: Scene, version: int | Literal["production"] = "production"
) -> None:
    """Deliver, and wait until both endpoints answer with it."""
    sent = scene.lab.models.deliver("digits", version, to="hospitals")
    assert {a.state for a in sent.wait(PATIENCE_S).nodes.values()} == {"installed"}
    for node in range(2):
        with scene.endpoint(node) as client:
            until(lambda c=client: live_version(c) == sent.version, "not live")


def test_predictions_at_each_site_are_the_model_s_own(scene: Scene) -> None:
    """From the notebook to HTTP, to the last bit; with lineage to the run."""
    deliver_and_wait(scene)
    rows = load_dataset("digits").features[:25]
    wanted = own_answers(scene.lab, 1, rows)
    for node in range(2):
        with scene.endpoint(node) as client:
            assert client.get("/ready").json() == {"is_ready": True}
            version, found = answers(client, rows)
            assert version == 1
            np.testing.assert_array_equal(found, wanted)
            listed = client.get("/models").json()["models"]
            (shown,) = [each for each in listed if each["is_live"]]
            lineage = scene.lab.models.version("digits", 1).lineage
            assert shown["lineage"]["run_id"] == lineage.run_id
            assert shown["lineage"]["server_round"] == 1
            assert shown["delivered_by"] == "loopback-researcher"


def test_a_new_version_is_swapped_in_under_load(scene: Scene) -> None:
    """No request fails, none gets an answer of neither version; then rolled back."""
    deliver_and_wait(scene, 1)
    rows = load_dataset("digits").features[:4]
    wanted = {version: own_answers(scene.lab, version, rows) for version in (1, 2)}
    is_over, seen = threading.Event(), list[int]()

    def ask_on() -> None:
        with scene.endpoint(0) as client:
            while not is_over.is_set():
                version, found = answers(client, rows)
                np.testing.assert_array_equal(found, wanted[version])
                seen.append(version)

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask_on) for _ in range(3)]
        try:
            until(lambda: len(seen) > 10, "nobody answers")
            scene.lab.models.promote("digits", 2, "production")
            deliver_and_wait(scene)
            scene.lab.models.roll_back("digits")
            until(lambda: seen[-1] == 2, "not swapped")
            deliver_and_wait(scene)
            until(lambda: seen[-1] == 1, "not rolled back")
        finally:
            is_over.set()
        for each in asked:
            each.result(PATIENCE_S)
    assert {1, 2} == set(seen)
    told = scene.lab.models.deliveries("digits", to="hospitals")
    last = told[told["delivery"] == told["delivery"].max()]
    assert set(last["state"]) == {"installed"}
    assert told["version"].tolist()[:2] == [1, 1]


def test_a_site_rolls_back_by_itself(scene: Scene) -> None:
    """At its own endpoint, with its own token; other sites go on."""
    deliver_and_wait(scene, 1)
    deliver_and_wait(scene, 2)
    with scene.endpoint(0) as mine, scene.endpoint(1) as other:
        assert mine.post("/models/1/live").json()["model"]["version"] == 1
        assert live_version(mine) == 1
        assert live_version(other) == 2


def test_staging_waits_and_withdrawn_goes(scene: Scene) -> None:
    """What is staged answers nobody; what is withdrawn gives way to what was before."""
    deliver_and_wait(scene, 1)
    staged = scene.lab.models.deliver(
        "digits", 3, to="hospitals", nodes=["node-0"], stage="staging"
    )
    assert staged.wait(PATIENCE_S).nodes.keys() == {"node-0"}
    with scene.endpoint(0) as client:
        assert live_version(client) == 1
        client.post("/models/3/live").raise_for_status()
        scene.lab.models.withdraw("digits", 3, to="hospitals").wait(PATIENCE_S)
        until(lambda: live_version(client) == 1, "not withdrawn")
        assert 3 not in [e["version"] for e in client.get("/models").json()["models"]]


def test_a_tampered_file_is_refused(scene: Scene) -> None:
    """At the hub after it was signed, and on the site's own disk: the old version stays."""
    deliver_and_wait(scene, 3)  # so the hub has the file, whatever came before
    deliver_and_wait(scene, 1)
    scene.lab.models.withdraw("digits", 3, to="hospitals").wait(PATIENCE_S)
    sha256 = scene.lab.models.version("digits", 3).sha256
    scene.hub.freeze_node(1)
    sent = scene.lab.models.deliver("digits", 3, to="hospitals", nodes="name:node-1")
    kept = scene.hub.place.lab / "blobs" / sha256[:2] / sha256
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    scene.hub.thaw_node(1)
    told = sent.wait(PATIENCE_S).nodes["node-1"]
    assert told.state == "refused"
    assert "no longer matches its hash" in told.why
    # Delivered again, the file is uploaded again: that heals the hub's.
    sent = scene.lab.models.deliver(
        "digits", 3, to="hospitals", nodes="name:node-1", stage="staging"
    )
    assert sent.wait(PATIENCE_S).nodes["node-1"].state == "installed"
    installed = scene.hub.nodes[1].directory / "models" / f"{sha256}.safetensors"
    installed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with scene.endpoint(1) as client:
        refused = client.post("/models/3/live")
        assert (refused.status_code, refused.json()["code"]) == (409, "FLIP-814")
        assert live_version(client) == 1


def test_what_cannot_be_delivered_is_told_at_once(scene: Scene) -> None:
    """A viewer's token, a choice that nobody meets, a model without a scenario."""
    models = scene.lab.models
    with pytest.raises(NotAllowedError, match="may not"):
        models.deliver("digits", 1, to="guests")
    with pytest.raises(CohortError, match="No enrolled node is meant"):
        models.deliver("digits", 1, to="hospitals", nodes="mars")
    path = models.path("digits", 1)
    stray = path.parent / "stray.safetensors"
    stray.write_bytes(path.read_bytes())
    models.register_file(stray, "stray")
    with pytest.raises(DeliveryError, match="scenario='digits-iid'"):
        models.deliver("stray", 1, to="hospitals")
    with pytest.raises(ModelNotFoundError, match="not delivered"):
        models.withdraw("digits", 99, to="hospitals")


def test_a_site_answers_while_its_hub_is_away(scene: Scene, tmp_path: Path) -> None:
    """``flip-lab node serve`` needs the node's directory, nothing else."""
    deliver_and_wait(scene, 1)
    rows = load_dataset("digits").features[:2]
    node = scene.hub.nodes[0]
    command = "from flip_lab.cli.main import app; app()"
    arguments = ["node", "serve", str(node.directory), "--port", "0", "--json"]
    scene.hub.stop_hub()
    log = (tmp_path / "serve.log").open("w")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-c", command, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as alone,
    ):
        try:
            assert alone.stdout is not None
            told = json.loads(alone.stdout.readline())
            token = Path(told["token_file"]).read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(
                base_url=told["url"], headers=headers, timeout=PATIENCE_S, trust_env=False
            ) as c:
                np.testing.assert_array_equal(
                    answers(c, rows)[1], own_answers(scene.lab, 1, rows)
                )
        finally:
            os.kill(alone.pid, signal.SIGTERM)
            assert alone.wait(PATIENCE_S) == 0
            scene.hub.start_hub()


def test_an_endpoint_comes_back_when_it_dies(scene: Scene) -> None:
    """With the model that was live; and it ends with its node."""
    deliver_and_wait(scene, 2)
    before = place_of(scene.hub.nodes[1])
    os.kill(before["process_id"], signal.SIGKILL)
    process_id = place_of(scene.hub.nodes[1], but=before["process_id"])["process_id"]
    with scene.endpoint(1) as client:
        until(lambda: live_version(client) == 2, "nothing is live")
    scene.hub.kill_node(1)
    until(lambda: not Path(f"/proc/{process_id}").exists(), "it outlives its node")
    scene.hub.start_node(1)
    place_of(scene.hub.nodes[1], but=process_id)


def test_a_site_that_comes_later_answers_with_what_the_others_do(scene: Scene) -> None:
    """It enrols after the delivery, fetches the version, and a new one like all others."""
    deliver_and_wait(scene, 1)
    number = len(scene.hub.nodes)
    late = scene.hub.add_node()
    scene.hub.start_node(number)
    try:
        scene.hub.wait_for_nodes()
        with scene.endpoint(number) as client:
            until(lambda: live_version(client) == 1, "the version did not come")
            sent = scene.lab.models.deliver("digits", 2, to="hospitals").wait(PATIENCE_S)
            assert sent.nodes[late.name].state == "installed"
            until(lambda: live_version(client) == 2, "the next version did not come")
    finally:
        scene.hub.stop_node(number)
        with scene.hub.client() as admin:
            admin.delete(f"/flip/v1/hub/nodes/{late.name}").raise_for_status()
