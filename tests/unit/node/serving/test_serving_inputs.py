"""Wrong inputs are refused with the place and a fix; nothing makes the endpoint fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flip_lab.core.errors import PredictionError
from flip_lab.fl.data.dataset import Features
from flip_lab.node.serving.guard import ServingLimits
from flip_lab.node.serving.input_schema import InputSchema
from flip_lab.node.serving.inputs import read_body, read_rows
from flip_lab.testing.serving_site import ServingSite

if TYPE_CHECKING:
    from starlette.testclient import TestClient

Ask = Callable[..., Any]

PLAIN = InputSchema(
    dataset="toys", shape=(2,), feature_names=("age", "dose"), class_names=("no", "yes")
)
IMAGES = InputSchema(dataset="toys", shape=(1, 2, 2), class_names=("no", "yes"))


def rows_of(
    body: str, schema: InputSchema = PLAIN, *, takes_gaps: bool = False
) -> Features:
    """Read a body as the endpoint does."""
    examples, _ = read_body(body.encode())
    return read_rows(examples, schema, most=3, takes_gaps=takes_gaps)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"inputs": [[1, 2], [3]]}', "inputs[1] is a list of 1"),
        ('{"inputs": [[1, 2], [3, "4"]]}', r"inputs[1][1] (dose) is '4'"),
        ('{"inputs": [[1, null]]}', r"inputs[0][1] (dose) is null"),
        ('{"inputs": [[1, [2]]]}', "inputs[0][1] (dose) is [2]"),
        ('{"inputs": [[1, {}]]}', "inputs[0][1] (dose) is {}"),
        ('{"inputs": [[1, 1e400]]}', "inputs[0][1] (dose) is inf"),
        ('{"inputs": [[1, -1e39]]}', "inputs[0][1] (dose) is -1e+39"),
        ('{"inputs": [[1, 1' + "0" * 400 + "]]}", "inputs[0][1] (dose) is inf"),
        ('{"inputs": [[1, NaN]]}', "NaN is no number in JSON"),
        ('{"inputs": [[1, -Infinity]]}', "-Infinity is no number"),
        ('{"inputs": [[1,2],[1,2],[1,2],[1,2]]}', "inputs holds 4 examples"),
        ('{"inputs": []}', "inputs holds 0 examples"),
        ('{"inputs": [1, 2]}', "inputs[0] is 1; the model takes a list of 2"),
        ('{"inputs": [{"age": 1}]}', "inputs[0] lacks 'dose'"),
        ('{"inputs": [{"age": 1, "dose": 2, "x": 3}]}', "has the unknown 'x'"),
        ('{"inputs": [{"age": 1, "dose": "much"}]}', "inputs[0][1] (dose) is 'much'"),
        ('{"inputs": {"age": 1}}', "neither inputs, a list"),
        ('{"inputs": [[1, 2]], "more": 1}', "neither inputs, a list"),
        ('{"input": "abc"}', "inputs[0] is 'abc'"),
        ("[]", "neither inputs"),
        ("", "no JSON"),
        ("[" * 10**5, "no JSON"),
        ('{"input": [1' + "0" * 5000 + ", 2]}", "no JSON"),
    ],
)
def test_what_is_wrong_is_named(body: str, place: str) -> None:
    """The place as the sender wrote it, and what is there."""
    with pytest.raises(PredictionError) as caught:
        rows_of(body)
    assert place in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"input": [[[1, 2], [3]]]}', "inputs[0][0][1] is a list of 1"),
        ('{"input": [[1, 2], [3, 4]]}', "inputs[0] is a list of 2"),
        ('{"input": [[[1, 2], [3, null]]]}', "inputs[0][0][1][1] is null"),
        ('{"input": {"age": 1}}', "have no names"),
        ('{"input": ' + "[" * 80 + "1" + "]" * 80 + "}", "inputs[0]"),
    ],
)
def test_images_are_checked_side_by_side(body: str, place: str) -> None:
    """Each level has its length."""
    with pytest.raises(PredictionError) as caught:
        rows_of(body, IMAGES)
    assert place in caught.value.what


def test_gaps_are_nan_where_they_may_be() -> None:
    """A list and a table alike; booleans are 0 and 1."""
    rows = rows_of('{"inputs": [[null, 2], {"dose": true, "age": 7}]}', takes_gaps=True)
    np.testing.assert_array_equal(rows, np.array([[np.nan, 2], [7, 1]], dtype=np.float32))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["age", "dose", "input", "inputs"]), inner, max_size=3
        )
    ),
    max_leaves=20,
)


@given(value=VALUES, takes_gaps=st.booleans())
@settings(max_examples=300)
def test_whatever_comes_is_rows_or_refused(value: object, *, takes_gaps: bool) -> None:
    """Rows are finite, of the right shape, and not more than there were examples."""
    try:
        examples, _ = read_body(json.dumps(value).encode())
        rows = read_rows(examples, PLAIN, most=3, takes_gaps=takes_gaps)
    except PredictionError:
        return
    assert rows.shape == (len(examples), 2)
    assert rows.dtype == np.float32
    assert takes_gaps or np.isfinite(rows).all()


@given(body=st.binary(max_size=60) | st.builds(lambda v: json.dumps(v).encode(), VALUES))
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_body_makes_the_endpoint_fail(body: bytes, opened: TestClient) -> None:
    """Each is answered with predictions, or refused with our code."""
    answer = opened.post("/predict", content=body)
    assert answer.status_code in {200, 422}
    if answer.status_code == 422:
        assert answer.json()["code"] == "FLIP-815"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def opened(site: ServingSite, ask: Ask) -> TestClient:
    """Give an endpoint with a model of named features."""
    site.deliver(1, of="hospitals")
    return ask()


def test_large_bodies_and_batches_are_refused(site: ServingSite, ask: Ask) -> None:
    """Before they are read, or as soon as they are too large; the fix says what to do."""
    site.deliver(1)
    client = ask(ServingLimits(body_bytes=1000, examples=2))
    for content in (b"x" * 2000, iter([b"x" * 600, b"x" * 600])):
        answer = client.post("/predict", content=content)
        assert (answer.status_code, answer.json()["code"]) == (422, "FLIP-815")
        assert "1,000 bytes" in answer.json()["detail"]
    answer = client.post("/predict", json={"inputs": [[0], [0], [0]]})
    assert "inputs holds 3 examples" in answer.json()["detail"]


def test_a_node_without_rows_takes_no_gaps(site: ServingSite, ask: Ask) -> None:
    """It cannot know the medians: null is refused, whole rows are not."""
    site.config = replace(site.config, config={})
    site.deliver(1, of="hospitals")
    client = ask()
    row: list[float | None] = [0.0] * 32
    assert client.post("/predict", json={"input": row}).status_code == 200
    row[0] = None
    refused = client.post("/predict", json={"input": row})
    assert refused.status_code == 422
    assert "inputs[0][0] (age) is null" in refused.json()["detail"]
    assert "without a gap" in client.get("/schema").json()["description"]


def test_numbers_that_overflow_the_model_are_named(site: ServingSite, ask: Ask) -> None:
    """Finite inputs can make infinite outputs: no NaN is ever answered."""
    site.deliver(1)
    rows = np.zeros((2, 1, 8, 8))
    rows[1] = 3e38
    refused = ask().post("/predict", json={"inputs": rows.tolist()})
    assert refused.status_code == 422
    assert "inputs[1] holds numbers that are too large" in refused.json()["detail"]
