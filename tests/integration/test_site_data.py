"""Sites with files of their own: trained on where they lie, and asked there afterwards.

Scikit-learn's breast cancer data (Wolberg et al., 1995; 569 tumours, 30 measures) lies in
two files, one a hospital, of different size. No scenario knows their rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from flip_lab.core.clock import tick_s
from flip_lab.core.scenario import DataSpec, Scenario
from flip_lab.core.state import RunState
from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.data.site_source import DataSource
from flip_lab.fl.models import build_model
from flip_lab.fl.scenarios import load_scenario
from flip_lab.node.config import ServeSettings
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub
from flip_lab.testing.hub_nodes import HubNode

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0
CLASSES = ("malignant", "benign")  # as scikit-learn numbers them
SIZES = (200, 369)
NUM_ROUNDS = 5


def tumours() -> pd.DataFrame:
    """Give all rows, measures in comparable units, with their class in words."""
    bunch: Any = load_breast_cancer(as_frame=True)
    measures = (bunch.data - bunch.data.mean()) / bunch.data.std()
    named = measures.assign(diagnosis=[CLASSES[label] for label in bunch.target])
    return named.sample(frac=1.0, random_state=7)


def scenario_of_sites() -> Scenario:
    """Say what both hospitals have in common: the shape of a row, and the classes."""
    data = DataSpec(
        dataset="site",
        partitioner="natural",
        num_partitions=len(SIZES),
        test_fraction=0.25,
        options={"shape": [30], "classes": list(CLASSES)},
    )
    return replace(load_scenario("hospitals"), data=data, expect=())


@dataclass(frozen=True)
class Scene:
    """What the tests of this module share.

    Attributes:
        hub: A hub and two hospitals that answer predictions.
        lab: The researcher's lab.
        run: What was trained on their files.
        files: The rows of each hospital.
    """

    hub: LoopbackHub
    lab: Lab
    run: Run
    files: tuple[pd.DataFrame, ...]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give each hospital its own file, and train on both."""
    home = tmp_path_factory.mktemp("hospitals")
    rows = tumours()
    files = rows.iloc[: SIZES[0]], rows.iloc[SIZES[0] :]
    serve = {"serve": ServeSettings(port=0)}
    with (
        LoopbackHub(num_nodes=2, node_options=serve) as hub,
        pytest.MonkeyPatch.context() as patch,
    ):
        for index, (node, mine) in enumerate(zip(hub.nodes, files, strict=True)):
            mine.to_csv(node.directory / "patients.csv", index=False)
            told = {"path": "patients.csv", "label": "diagnosis"}
            hub.stop_node(index)
            hub.change_node(index, data=DataSource(kind="csv", options=told))
            hub.start_node(index)
        hub.wait_for_nodes()
        hub.write_config(home / "flip-lab.toml", "hospitals")
        patch.chdir(home)
        lab = Lab(home / "lab")
        changes = {"train.num_rounds": NUM_ROUNDS}
        run = lab.launch(
            scenario_of_sites(), on="hospitals", num_nodes=2, overrides=changes
        )
        assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.logs(tail=40)
        yield Scene(hub=hub, lab=lab, run=run, files=files)


def test_the_store_says_what_each_hospital_did(scene: Scene) -> None:
    """How many of its own rows it used, each round, and how good the model is there."""
    seen = scene.lab.clients(runs=scene.lab.runs())
    assert (seen["error_code"] == 0).all()
    assert seen.groupby(["server_round", "phase"]).size().eq(2).all()
    used = seen.groupby(["partition_id", "phase"])["num_examples"].unique()
    for partition_id, size in enumerate(SIZES):
        [trained], [tested] = used[partition_id, "train"], used[partition_id, "evaluate"]
        assert trained + tested == size
        assert tested == pytest.approx(0.25 * size, abs=2)
    scores = scene.lab.client_metrics(runs=scene.lab.runs()).query(
        "name == 'eval_accuracy' and server_round == @NUM_ROUNDS"
    )
    assert sorted(scores["partition_id"]) == [0, 1]
    assert (scores["value"] > 0.85).all()
    assert scene.run.result().metrics["eval_accuracy"] > 0.9


def test_the_model_goes_back_and_predicts_there(scene: Scene) -> None:
    """Registered, delivered and asked about a site's own patients: the model's answers."""
    version = scene.lab.models.register(scene.run, "tumours")
    scene.lab.models.promote("tumours", version.version, "production")
    sent = scene.lab.models.deliver("tumours", to="hospitals").wait(PATIENCE_S)
    assert {answer.state for answer in sent.nodes.values()} == {"installed"}
    scenario = scene.run.scenario
    model = build_model(scenario, scenario_dataset(scenario.data))
    arrays = scene.lab.models.arrays("tumours", version.version)
    model.load_state_dict({name: torch.from_numpy(each) for name, each in arrays.items()})
    for node, rows in zip(scene.hub.nodes, scene.files, strict=True):
        inputs = rows.drop(columns="diagnosis").to_numpy(dtype=np.float32)
        predictions = asked(node, inputs)
        found = [each["class"] for each in predictions]
        assert np.mean(found == rows["diagnosis"].to_numpy()) > 0.9
        with torch.inference_mode():
            wanted = torch.softmax(model(torch.tensor(inputs)), dim=1).numpy()
        told = [[each["probabilities"][name] for name in CLASSES] for each in predictions]
        np.testing.assert_array_equal(np.array(told, dtype=np.float32), wanted)


def asked(node: HubNode, inputs: np.ndarray) -> list[dict[str, Any]]:
    """Ask a site's endpoint, once it is there and its model is live."""
    place, end_s = node.directory / "serve.json", tick_s() + PATIENCE_S
    while not place.exists():
        assert tick_s() < end_s, f"{node.name} has no endpoint"
        sleep(0.1)
    told = json.loads(place.read_text())
    token = Path(told["token_file"]).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=told["url"], headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as client:
        while not client.get("/ready").is_success:
            assert tick_s() < end_s, f"{node.name} has no live model"
            sleep(0.1)
        answer = client.post("/predict", json={"inputs": inputs.tolist()})
        return answer.raise_for_status().json()["predictions"]
