"""What a launch sends: once, whole, and only what can travel."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flip_lab
from flip_lab.client.plain import plain
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.core import errors
from flip_lab.testing.desk import RUN, Desk, problem

LAUNCHED = httpx.Response(201, json=dict(RUN))


def test_a_launch_is_sent_again_with_its_key(desk: Desk, lab: RemoteLab) -> None:
    """So the lab knows that it is the same one."""
    desk.tell("POST", "/runs", httpx.ReadError("gone"), httpx.Response(503), LAUNCHED)
    assert lab.launch("hospitals").run_id == "one"
    keys = {asked.headers["idempotency-key"] for asked in desk.asked}
    assert (len(desk.asked), len(keys)) == (3, 1)
    lab.launch("hospitals")
    assert desk.asked[-1].headers["idempotency-key"] not in keys
    lab.launch("hospitals", key="mine")
    assert desk.asked[-1].headers["idempotency-key"] == "mine"


def test_a_scenario_travels_as_its_file(desk: Desk, lab: RemoteLab, tmp_path: Path) -> None:
    """An object and a file of this machine need not be known over there."""
    desk.tell("POST", "/runs", LAUNCHED)
    scenario = flip_lab.load_scenario("hospitals")
    lab.launch(scenario)
    text = desk.body["toml"]
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert flip_lab.load_scenario(file) == scenario
    lab.launch(file)
    assert desk.body["toml"] == text
    lab.launch("hospitals")
    assert (desk.body["scenario"], "toml" in desk.body) == ("hospitals", False)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (3, errors.InvalidValueError),
        (Path("nowhere"), errors.UnknownNameError),
        ("nowhere.toml", errors.ScenarioError),
    ],
)
def test_what_cannot_travel_is_refused_here(
    desk: Desk, lab: RemoteLab, what: object, kind: type[errors.FlipLabError]
) -> None:
    """Nothing is asked of the lab."""
    with pytest.raises(kind):
        lab.launch(what)  # pyright: ignore[reportArgumentType]  # users err
    assert not desk.asked


def test_functions_to_break_on_stay_here(
    desk: Desk, lab: RemoteLab, run: RemoteRun
) -> None:
    """The message names the way that works."""
    with pytest.raises(errors.ConditionError, match="loss is nan"):
        lab.launch("hospitals", break_when=lambda _: True)  # pyright: ignore[reportArgumentType]  # users err
    with pytest.raises(errors.ConditionError):
        run.break_when("loss is big")
    assert not desk.asked


def test_a_tag_does_not_undo_what_others_say(desk: Desk, run: RemoteRun) -> None:
    """Tags are read and written as one; if they changed meanwhile, again."""
    now = {**RUN, "tags": ["old", "theirs"]}
    desk.tell(
        "GET",
        "/runs/one",
        httpx.Response(200, json=dict(RUN), headers={"ETag": '"1"'}),
        httpx.Response(200, json=now, headers={"ETag": '"2"'}),
    )
    desk.tell("PATCH", "/runs/one", problem("FLIP-705", 412), httpx.Response(200, json=now))
    run.tag("mine")
    asked = [each for each in desk.asked if each.method == "PATCH"]
    assert [each.headers["if-match"] for each in asked] == ['"1"', '"2"']
    assert json.loads(asked[-1].content) == {"tags": ["mine", "old", "theirs"]}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_value_becomes_json(value: object) -> None:
    """JSON has no word for NaN and the infinities; the API reads texts in their place."""
    text = json.dumps(plain(value), allow_nan=False)
    if not any(word in repr(value) for word in ("nan", "inf", "NaN", "Inf")):
        assert json.loads(text) == value


def test_numbers_of_numpy_are_numbers() -> None:
    """A sweep over an array yields NumPy's."""
    values = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": np.array([1.0, np.nan]),
        "d": {1},
    }
    assert plain(values) == {"a": 0.5, "b": 3, "c": [1.0, "NaN"], "d": [1]}
    assert [plain(float(word)) for word in ("inf", "-inf")] == ["Infinity", "-Infinity"]


def test_a_handle_can_always_be_shown(desk: Desk, run: RemoteRun) -> None:
    """Also while the lab is away: as it was when it was last heard of."""
    assert repr(run) == "<RemoteRun one 'hospitals': running>"
    desk.tell("GET", "/runs/one", httpx.ConnectError("refused"))
    assert "running when the lab was last heard of" in repr(run)
