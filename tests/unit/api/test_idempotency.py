"""The same launch twice is one run: after a restart, in a race, after a death between."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from flip_lab.api.app import create_app
from flip_lab.api.idempotency import KEPT_S, Once, launch_once, sweep
from flip_lab.core.errors import IdempotencyError, InvalidValueError
from flip_lab.runs.lab import Lab
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ONCE = Once(person="ada", key="k", asked={"scenario": "hospitals", "seed": 1})


class Launches:
    """Launches runs, as far as others see: a directory, and a line in the log."""

    def __init__(self, lab: LabDir) -> None:
        """Nothing is launched yet."""
        self.lab = lab
        self.launched: list[str] = []

    def __call__(self, run_id: str) -> str:
        """Launch under an id; a second time is a fault."""
        (self.lab.run_dir(run_id)).mkdir(parents=True)
        append_audit(self.lab, "launch", run_ids=[run_id])
        self.launched.append(run_id)
        return run_id


@pytest.fixture
def launches(lab_dir: LabDir) -> Launches:
    """Give what launches into the lab."""
    return Launches(lab_dir)


def test_the_same_key_gives_the_same_run(lab_dir: LabDir, launches: Launches) -> None:
    """Launched once; the order of keys in the body does not count."""
    run_id, was_there = launch_once(lab_dir, ONCE, launches)
    assert (launches.launched, was_there) == ([run_id], False)
    turned = replace(ONCE, asked={"seed": 1, "scenario": "hospitals"})
    assert launch_once(lab_dir, turned, launches) == (run_id, True)
    assert launches.launched == [run_id]


def test_another_request_with_that_key_is_refused(
    lab_dir: LabDir, launches: Launches
) -> None:
    """A key names one request; the refusal names its run."""
    run_id, _ = launch_once(lab_dir, ONCE, launches)
    with pytest.raises(IdempotencyError, match=run_id):
        launch_once(lab_dir, replace(ONCE, asked={"scenario": "digits-iid"}), launches)


def test_everybody_has_keys_of_their_own(lab_dir: LabDir, launches: Launches) -> None:
    """Nobody meets the runs of others by their keys; without a key all is new."""
    others = [replace(ONCE, person="grace"), replace(ONCE, key="k2"), ONCE]
    others += [replace(ONCE, key=None)] * 2
    found = {launch_once(lab_dir, once, launches)[0] for once in others}
    assert len(found) == len(launches.launched) == 5


def test_two_that_race_launch_once(lab_dir: LabDir) -> None:
    """Eight at once get one run; one of them launched it."""
    launches, start = Launches(lab_dir), Barrier(8)

    def one(_: int) -> tuple[str, bool]:
        start.wait()
        return launch_once(lab_dir, ONCE, launches)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    assert len({run_id for run_id, _ in found}) == len(launches.launched) == 1
    assert sorted(was_there for _, was_there in found) == [False] + [True] * 7


def test_a_death_before_the_launch_costs_nothing(
    lab_dir: LabDir, launches: Launches
) -> None:
    """The key is reserved, the run half written: the next request launches that run."""
    reserved: list[str] = []

    def dying(run_id: str) -> str:
        (lab_dir.runs / f".{run_id}" / "control").mkdir(parents=True)
        reserved.append(run_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch_once(lab_dir, ONCE, dying)
    assert launch_once(lab_dir, ONCE, launches) == (reserved[0], False)
    assert not (lab_dir.runs / f".{reserved[0]}").exists()


def test_a_launch_that_is_refused_frees_its_key(
    lab_dir: LabDir, launches: Launches
) -> None:
    """What was wrong can be put right under the same key."""

    def refusing(run_id: str) -> str:
        raise InvalidValueError(run_id, fix="")

    with pytest.raises(InvalidValueError):
        launch_once(lab_dir, ONCE, refusing)
    right = replace(ONCE, asked={"scenario": "right"})
    assert launch_once(lab_dir, right, launches)[1] is False


def test_a_run_that_was_removed_is_not_launched_again(
    lab_dir: LabDir, launches: Launches
) -> None:
    """Its key still stands for it."""
    run_id, _ = launch_once(lab_dir, ONCE, launches)
    lab_dir.run_dir(run_id).rmdir()
    assert launch_once(lab_dir, ONCE, launches) == (run_id, True)


def test_damaged_and_old_keys_are_forgotten(lab_dir: LabDir, launches: Launches) -> None:
    """A torn file reserves nothing; what is older than a week goes, younger stays."""
    launch_once(lab_dir, ONCE, launches)
    launch_once(lab_dir, replace(ONCE, key="young"), launches)
    young, old = sorted(
        (lab_dir.root / "api" / "launches").glob("*.json"),
        key=lambda path: path.read_bytes().count(launches.launched[0].encode()),
    )
    past_s = old.stat().st_mtime - KEPT_S - 1
    os.utime(old, (past_s, past_s))
    sweep(lab_dir)
    assert (old.exists(), young.exists()) == (False, True)
    young.write_text('{"asked": "')
    again = launch_once(lab_dir, replace(ONCE, key="young"), launches)
    assert again[0] not in launches.launched[:2]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let nothing really start; give what was asked to be launched."""
    asked: list[Any] = []

    def launch(lab: LabDir, request: Any) -> str:  # noqa: ANN401  # a launch
        asked.append(request)
        from flip_lab.runs import launch as launching
        from flip_lab.runs import requests

        def start(*_: object) -> None:
            """Start no process."""

        def started(lab: LabDir, prepared: Any, **more: Any) -> str:  # noqa: ANN401  # as above
            return launching.launch_prepared(lab, prepared, **more, start=start)

        with monkeypatch.context() as patch:
            patch.setattr(requests, "launch_prepared", started)
            return requests.launch_requested(lab, request)

    monkeypatch.setattr("flip_lab.api.routes.runs.launch_requested", launch)
    return asked


BODY = {"scenario": "hospitals", "overrides": {"train.num_rounds": 1}, "note": "once"}


def test_a_launch_over_http_happens_once(
    client: TestClient, ask: Callable[..., TestClient], app: FastAPI, launched: list[Any]
) -> None:
    """Replayed answers say so and name the same place; so does the next server."""
    key = {"Idempotency-Key": "mine"}
    first = client.post("/runs", json=BODY, headers=key)
    assert (first.status_code, first.headers.get("idempotent-replayed")) == (201, None)
    run_id = first.json()["run_id"]
    assert first.headers["location"] == f"runs/{run_id}"
    again = client.post("/runs", json=BODY, headers=key)
    assert (again.status_code, again.json()["run_id"]) == (201, run_id)
    assert again.headers["idempotent-replayed"] == "true"
    service = app.state.service
    client.__exit__()
    restarted = ask("ada", create_app(Lab(service.lab.path), service.access))
    after = restarted.post("/runs", json=BODY, headers=key)
    assert (after.status_code, after.json()["run_id"]) == (201, run_id)
    other = restarted.post("/runs", json={**BODY, "seed": 2}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "FLIP-706")
    assert len(launched) == 1


def test_keys_have_a_form(client: TestClient, launched: list[Any]) -> None:
    """Neither an empty one nor a very long one is a key."""
    for key in ("", "x" * 201):
        answer = client.post("/runs", json=BODY, headers={"Idempotency-Key": key})
        assert answer.status_code == 422
    assert launched == []
