"""``detach`` in a launch over HTTP: a promise that only a hub's own lab can keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from flip_lab.api.access import OwnerAccess
from flip_lab.api.app import create_app
from flip_lab.api.launching import asked_launch
from flip_lab.api.schemas.launches import Launch
from flip_lab.core.errors import InvalidValueError
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

WANTED: dict[str, Any] = {"scenario": "hospitals", "on": "hub", "detach": "hub"}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"detach": "moon"}, InvalidValueError.code, "cannot go on in 'moon'"),
        ({}, InvalidValueError.code, "does not live with a hub"),
        ({"on": "auto"}, InvalidValueError.code, "'auto'"),
        ({"detach": ""}, "FLIP-703", "detach"),
        ({"detach": 3}, "FLIP-703", "detach"),
    ],
    ids=["no place", "no hub", "simulated", "empty", "no text"],
)
def test_a_lab_that_is_no_hub_s_refuses(
    client: TestClient, changes: dict[str, Any], code: str, words: str
) -> None:
    """With a code, the value, and what to do; nothing is launched."""
    answer = client.post("/runs", json={**WANTED, **changes})
    assert answer.status_code == 422
    told = answer.json()
    assert told["code"] == code
    assert words in told["detail"]
    assert told["fix"]
    assert client.get("/runs").json()["items"] == []


def test_a_hub_s_own_lab_takes_what_runs_on_the_hub(lab_dir: LabDir) -> None:
    """Its runs are processes of the hub's machine; a simulation drives no node of it."""
    service = create_app(
        Lab(lab_dir.root), OwnerAccess(name="ada"), own_federation="hub"
    ).state.service
    assert asked_launch(service, Launch(**WANTED), "one").on == "hub"
    with pytest.raises(InvalidValueError, match="in_process") as caught:
        asked_launch(service, Launch(**{**WANTED, "on": "in_process"}), "one")
    assert 'on="hub"' in caught.value.fix


def test_without_it_a_launch_is_as_ever(lab_dir: LabDir) -> None:
    """Nobody asks where it lives."""
    service = create_app(Lab(lab_dir.root), OwnerAccess(name="ada")).state.service
    asked = Launch(scenario="hospitals")
    assert asked.detach is None
    assert asked_launch(service, asked, "one").on == "auto"
