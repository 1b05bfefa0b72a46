"""What can be launched; and of what cannot, nothing is left behind."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import (
    AppPartMissingError,
    EngineStartError,
    FlipLabError,
    InvalidValueError,
    RunNotFoundError,
    ScenarioError,
    StoreNotWritableError,
    UnknownFederationError,
    UnknownKeyError,
    UnknownNameError,
)
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import load_scenario
from flip_lab.runs import launch
from flip_lab.runs.inputs import App
from flip_lab.runs.lab import Lab
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import LabDir

APPS = Path(__file__).parents[2] / "apps"


def unpicklable() -> App:
    """Give an app that holds a lock, which cannot travel."""
    lock, client_app = threading.Lock(), ClientApp()

    @client_app.train()
    def train(message: Any, context: Any) -> Any:  # noqa: ANN401  # as in a notebook
        del context
        with lock:
            return message

    return App(server_app=ServerApp(), client_app=client_app)


def small() -> Scenario:
    """Give a scenario that is fine."""
    return load_scenario("hospitals")


WRONG: list[tuple[str, Callable[[], Any], dict[str, Any], type[FlipLabError]]] = [
    ("unknown name", lambda: "hospital", {}, UnknownNameError),
    ("no such file", lambda: "nowhere.toml", {}, ScenarioError),
    ("no such directory", lambda: Path("nowhere"), {}, UnknownNameError),
    ("no app", lambda: APPS, {}, AppPartMissingError),
    ("no components", lambda: APPS / "broken/no_components", {}, AppPartMissingError),
    ("app key", lambda: APPS / "numpy", {"overrides": {"lr": 1}}, UnknownKeyError),
    ("scenario key", small, {"overrides": {"learning": 1}}, UnknownKeyError),
    ("scenario value", small, {"overrides": {"num_rounds": 0}}, InvalidValueError),
    ("scenario type", small, {"overrides": {"num_rounds": "x"}}, InvalidValueError),
    ("data set", small, {"overrides": {"dataset": "hearts"}}, UnknownNameError),
    ("seed", lambda: APPS / "numpy", {"seed": -1}, InvalidValueError),
    ("large seed", lambda: APPS / "numpy", {"seed": 2**32}, InvalidValueError),
    ("scenario seed", small, {"seed": -1}, InvalidValueError),
    ("nodes", lambda: APPS / "numpy", {"num_nodes": 0}, InvalidValueError),
    ("scenario nodes", small, {"num_nodes": 0}, InvalidValueError),
    ("workers", small, {"workers": 0}, InvalidValueError),
    ("workers' type", small, {"workers": "2"}, InvalidValueError),
    ("nodes' type", lambda: APPS / "numpy", {"num_nodes": 2.5}, InvalidValueError),
    ("seed's type", lambda: APPS / "numpy", {"seed": True}, InvalidValueError),
    ("overrides' type", small, {"overrides": ["num_rounds"]}, InvalidValueError),
    (
        "app value",
        lambda: APPS / "numpy",
        {"overrides": {"num-server-rounds": None}},
        InvalidValueError,
    ),
    (
        "notebook value",
        lambda: App(
            server_app=ServerApp(),
            client_app=ClientApp(),
            run_config={"hidden": [8, 8]},  # type: ignore[dict-item]  # users err
        ),
        {},
        InvalidValueError,
    ),
    ("federation", small, {"on": "hospitals-net"}, UnknownFederationError),
    ("no federation", small, {"on": None}, UnknownFederationError),
    ("pickle", unpicklable, {}, InvalidValueError),
    (
        "notebook nodes",
        lambda: App(server_app=ServerApp(), client_app=ClientApp(), num_nodes=0),
        {},
        InvalidValueError,
    ),
    ("a number", lambda: 3, {}, InvalidValueError),
    ("None", lambda: None, {}, InvalidValueError),
    ("a ServerApp alone", ServerApp, {}, InvalidValueError),
]


@pytest.mark.parametrize(
    ("make", "more", "kind"), [pytest.param(*rest, id=name) for name, *rest in WRONG]
)
def test_a_wrong_input_leaves_nothing_in_the_lab(
    lab_path: Path, make: Callable[[], Any], more: dict[str, Any], kind: type[FlipLabError]
) -> None:
    """A coded error with a fix; no run, no draft, no process."""
    lab = Lab(lab_path)
    with pytest.raises(kind) as caught:
        lab.launch(make(), **more)
    assert caught.value.fix
    left = [path for path in lab_path.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["lab.json"]
    assert not lab_path.joinpath("runs").exists() or not list((lab_path / "runs").iterdir())
    assert lab.runs().empty


def test_a_launch_that_cannot_write_says_so(lab_path: Path) -> None:
    """A file stands where the runs belong; not even root could write there."""
    lab = Lab(lab_path)
    (lab_path / "runs").write_text("in the way")
    with pytest.raises(StoreNotWritableError):
        lab.launch("hospitals")


def test_a_run_never_looks_dead_before_its_process_is_there(
    lab_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel may look at any moment; and when nothing starts, nothing is left."""
    lab, seen = Lab(lab_path), list[str]()

    def no_process_left(folder: LabDir, spec: RunSpec, lock: int) -> None:
        del folder, lock
        seen.append(Lab(lab_path).run(spec.run_id).state.value)
        seen.extend(Lab(lab_path).runs()["state"])
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(launch, "start_process", no_process_left)
    with pytest.raises(EngineStartError, match="temporarily unavailable"):
        lab.launch("hospitals")
    assert seen == ["pending", "pending"]
    assert list((lab_path / "runs").iterdir()) == []


@pytest.mark.parametrize("content", ["{", '{"run_id": "x"}', ""])
def test_a_damaged_run_does_not_hide_the_others(lab_path: Path, content: str) -> None:
    """Lists and tables still come."""
    lab = Lab(lab_path)
    (lab_path / "runs" / "damaged").mkdir(parents=True)
    (lab_path / "runs" / "damaged" / "run.json").write_text(content)
    assert len(lab.runs()) <= 1
    with pytest.raises(RunNotFoundError):
        lab.run("damaged")


def test_a_scenario_is_not_changed_by_launching_it() -> None:
    """Overrides give a copy."""
    scenario = small()
    changed = scenario.override({"num_rounds": 1})
    assert scenario == small()
    assert replace(changed, train=scenario.train) == scenario


def test_an_app_that_finds_no_room_is_refused_in_our_words(tmp_path: Path) -> None:
    """The disk is full while its files are copied: the error says what to do."""
    lab = Lab(tmp_path / "lab")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(StoreNotWritableError, match="cannot be written"):
            lab.launch(APPS / "numpy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [*(lab.path / "runs").iterdir()] == []
