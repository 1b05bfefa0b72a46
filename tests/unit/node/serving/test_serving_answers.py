"""The endpoint: its answers are the model's own, and what it says of itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.partition import load_partition, split_indices
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.node.serving import site_rows
from flip_lab.node.serving.app import LOOK_EVERY_S
from flip_lab.node.serving.input_schema import read_input_schema
from flip_lab.node.serving.predictor import AS_IT_COMES
from flip_lab.testing.serving_site import ServingSite

Ask = Callable[..., Any]


def own_answers(model: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    """Give the probabilities that the model itself gives."""
    with torch.inference_mode():
        return torch.softmax(model(torch.from_numpy(rows)), dim=1).numpy()


def told_answers(predictions: list[dict[str, Any]], names: tuple[str, ...]) -> np.ndarray:
    """Give the probabilities of an answer, in the order of the classes."""
    rows = [[each["probabilities"][name] for name in names] for each in predictions]
    return np.array(rows, dtype=np.float32)


def test_a_batch_gets_the_model_s_own_answers(site: ServingSite, ask: Ask) -> None:
    """To the last bit; with the version that gave them."""
    manifest = site.deliver(3)
    data = load_dataset("digits")
    rows = data.features[:17]
    told = ask().post("/predict", json={"inputs": rows.tolist()}).json()
    assert told["model"] == {"name": "model", "version": 3, "sha256": manifest.sha256}
    wanted = own_answers(site.model(3), rows)
    np.testing.assert_array_equal(
        told_answers(told["predictions"], data.class_names), wanted
    )
    labels = [each["label"] for each in told["predictions"]]
    assert labels == wanted.argmax(axis=1).tolist()
    assert [each["class"] for each in told["predictions"]] == [
        data.class_names[label] for label in labels
    ]


def test_one_example_gets_one_prediction(site: ServingSite, ask: Ask) -> None:
    """The same as in a batch of one."""
    site.deliver(1)
    client, row = ask(), load_dataset("digits").features[0].tolist()
    one = client.post("/predict", json={"input": row}).json()
    several = client.post("/predict", json={"inputs": [row]}).json()
    assert [one["prediction"]] == several["predictions"]


def test_gaps_are_filled_as_in_training(site: ServingSite, ask: Ask) -> None:
    """A site's own medians: test rows get the answers that training evaluated."""
    site.deliver(1, of="hospitals")
    scenario = load_scenario("hospitals")
    data, partition = load_dataset("heart-disease"), load_partition(scenario, 0)
    raw = data.features[split_indices(scenario, 0)[1]]
    assert np.isnan(raw).any()
    rows = [[None if np.isnan(x) else float(x) for x in row] for row in raw]
    told = ask().post("/predict", json={"inputs": rows}).json()
    wanted = own_answers(site.model(1, of="hospitals"), partition.test_features)
    np.testing.assert_array_equal(
        told_answers(told["predictions"], data.class_names), wanted
    )


def test_features_may_be_named(site: ServingSite, ask: Ask) -> None:
    """In any order; a table is the same as a list in the schema's order."""
    site.deliver(1, of="hospitals")
    client, data = ask(), load_dataset("heart-disease")
    row = [0.0 if np.isnan(x) else float(x) for x in data.features[0]]
    named = dict(reversed(list(zip(data.feature_names, row, strict=True))))
    by_list = client.post("/predict", json={"input": row}).json()
    assert client.post("/predict", json={"input": named}).json() == by_list


def test_the_schema_says_what_is_taken(site: ServingSite, ask: Ask) -> None:
    """Shapes, names and classes; and examples that fit it are taken."""
    site.deliver(1, of="hospitals")
    client, data = ask(), load_dataset("heart-disease")
    told = client.get("/schema").json()
    assert told["x-classes"] == list(data.class_names)
    as_table, as_list = told["oneOf"][0]["properties"]["input"]["oneOf"]
    assert as_table["required"] == list(data.feature_names)
    assert as_list["minItems"] == as_list["maxItems"] == len(data.feature_names)
    assert "null" in as_table["properties"]["age"]["type"]
    assert "as in training" in told["description"]


def test_images_have_nested_lists(site: ServingSite, ask: Ask) -> None:
    """One level for each side."""
    site.deliver(1)
    told = ask().get("/schema").json()["oneOf"][1]["properties"]["inputs"]["items"]
    sides = []
    while told.get("type") == "array":
        sides.append(told["minItems"])
        told = told["items"]
    assert tuple(sides) == load_dataset("digits").shape
    assert told["type"] == ["number", "boolean"]


def test_a_new_version_answers_without_a_restart(site: ServingSite, ask: Ask) -> None:
    """What the node installs is live at the next look; the site rolls back by itself."""
    site.deliver(1)
    client, row = ask(), load_dataset("digits").features[0].tolist()
    assert client.post("/predict", json={"input": row}).json()["model"]["version"] == 1
    site.deliver(2)
    found = 1
    for _ in range(200):
        found = client.post("/predict", json={"input": row}).json()["model"]["version"]
        if found == 2:
            break
        time.sleep(LOOK_EVERY_S / 4)
    assert found == 2
    assert client.post("/models/1/live").json()["model"]["version"] == 1
    assert client.post("/predict", json={"input": row}).json()["model"]["version"] == 1
    shown = client.get("/models").json()["models"]
    assert {each["version"]: each["is_live"] for each in shown} == {1: True, 2: False}


def test_two_models_are_asked_by_name(site: ServingSite, ask: Ask) -> None:
    """Without a name the answer says which there are."""
    site.deliver(1)
    site.deliver(1, of="hospitals", name="heart")
    client, row = ask(), load_dataset("digits").features[0].tolist()
    refused = client.post("/predict", json={"input": row})
    assert refused.status_code == 422
    assert "heart, model" in refused.json()["detail"]
    told = client.post("/predict?model=model", json={"input": row}).json()
    assert told["model"]["name"] == "model"
    assert client.get("/schema?model=nope").status_code == 404
    assert client.post("/models/1/live").status_code == 422


def test_nothing_is_ready_before_a_model_came(ask: Ask) -> None:
    """503 with the code and what to do; it is up all the same."""
    client = ask()
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 503
    refused = client.post("/predict", json={"input": [1]})
    assert (refused.status_code, refused.json()["code"]) == (503, "FLIP-815")
    assert refused.headers["retry-after"]
    assert client.get("/models").json() == {"models": []}


@pytest.mark.parametrize("token", [None, "", "wrong", "a-token-of-one-test "])
def test_strangers_learn_nothing(site: ServingSite, ask: Ask, token: str | None) -> None:
    """Without the token only health and readiness answer."""
    site.deliver(1)
    client = ask(token=token)
    if token == "a-token-of-one-test ":  # noqa: S105  # spaces around are nobody's
        assert client.get("/models").status_code == 200
        return
    for place in ("/models", "/schema", "/metrics", "/openapi.json", "/nowhere"):
        answer = client.get(place)
        assert (answer.status_code, answer.json()["code"]) == (401, "FLIP-701")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.post("/predict", content=b"x" * 10**7).status_code == 401
    assert client.get("/ready").json() == {"is_ready": True}  # and not which model


def test_strangers_send_nothing(ask: Ask) -> None:
    """Who has no token asks whether it is up; bodies would fill its memory."""
    client = ask(token=None)
    for place in ("/health", "/ready"):
        refused = client.request("GET", place, content=b"x" * 1000)
        assert refused.status_code == 422
        assert "more than 0 bytes" in refused.json()["detail"]
    assert client.get("/health").status_code == 200


def test_metrics_count_what_was_asked(site: ServingSite, ask: Ask) -> None:
    """Requests by status, latency and examples by version, and which version is live."""
    manifest = site.deliver(4)
    client, rows = ask(), load_dataset("digits").features[:3].tolist()
    client.post("/predict", json={"inputs": rows})
    client.post("/predict", content=b"nothing")
    text = client.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["flip_predicted_examples_total", "4", "model"] == 3
    assert found["flip_predict_duration_seconds_count", "4", "model"] == 1
    assert found["flip_predict_duration_seconds_bucket", "0.005", "4", "model"] in {0, 1}
    assert found["flip_requests_total", "/predict", "200"] == 1
    assert found["flip_requests_total", "/predict", "422"] == 1
    assert found[("flip_model_info", *sorted(["model", "4", manifest.sha256]))] == 1


def test_the_reference_lists_every_place(ask: Ask) -> None:
    """What the endpoint answers is in its OpenAPI document."""
    paths = json.loads(ask().get("/openapi.json").text)["paths"]
    wanted = {"/predict", "/schema", "/models", "/models/{version}/live", "/metrics"}
    assert paths.keys() == wanted | {"/health", "/ready"}


def test_a_delivered_scenario_reads_no_folder_of_the_site(
    site: ServingSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it fetch data: what it names was prepared by nobody here."""
    chosen = load_scenario("hospitals")
    data = replace(chosen.data, dataset=f"hf:{tmp_path}")
    told = scenario_to_json(replace(chosen, data=data))
    manifest = site.manifest(b"", of="hospitals", scenario=told)
    schema = read_input_schema(manifest.input_schema)
    assert schema.is_prepared_per_site
    monkeypatch.setattr(site_rows, "load_dataset", lambda _: pytest.fail("it was read"))
    assert site_rows.site_rows(site.config, manifest, schema) == AS_IT_COMES
