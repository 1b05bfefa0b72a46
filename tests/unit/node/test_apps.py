"""Apps that come from elsewhere: read without trust, allowed by hash, kept apart."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import (
    AppImportError,
    AppNotAllowedError,
    FlipLabError,
    InvalidValueError,
)
from flip_lab.engines.apps import ScenarioApp
from flip_lab.engines.flower.fab import app_hash, build_fab
from flip_lab.engines.flower.fab_contents import read_fab
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.node import app_shelf
from flip_lab.node.allowed import allow, check_allowed, deny, scenario_hash
from flip_lab.node.app_shelf import AppShelf, LoadedApps, SiteApp
from flip_lab.node.config import NodeConfig, load_node, write_node

CLIENT = """
from flwr.clientapp import ClientApp
from helper import NUMBER

app = ClientApp()
app.number = NUMBER


def late():
    import later
    return later.NUMBER
"""


def project(**config: object) -> bytes:
    """Give the pyproject.toml of an app."""
    app = {
        "publisher": "me",
        "components": {"serverapp": "client:app", "clientapp": "client:app"},
        "config": config,
    }
    about = {"name": "app", "version": "1.0.0", "license": "Apache-2.0"}
    return tomli_w.dumps({"project": about, "tool": {"flwr": {"app": app}}}).encode()


def files(number: int = 1, **config: object) -> dict[str, bytes]:
    """Give an app whose modules hold a number."""
    modules = {
        "helper": f"NUMBER = {number}",
        "later": f"NUMBER = {-number}",
        "client": CLIENT,
    }
    sources = {f"{name}.py": text.encode() for name, text in modules.items()}
    return {**sources, "pyproject.toml": project(**config)}


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """Pack files as they are, without Flower's checks."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_each_run_of_an_app_has_the_same_hash() -> None:
    """Configuration, run and seed are no part of it; each byte of code is."""
    packed = build_fab(files(rounds=3), {"rounds": 5}, run_id="r1", seed=4)
    found = read_fab(packed.content)
    assert found.app_hash == app_hash(files()) == app_hash(files(other=1))
    assert found.run_config == {"rounds": 5}
    assert (found.run["run"], found.run["seed"]) == ("r1", 4)
    assert found.client_ref == "client:app"
    assert app_hash(files(2)) != app_hash(files())
    assert app_hash({**files(), "more.py": b""}) != app_hash(files())


def test_moving_bytes_between_files_changes_the_hash() -> None:
    """Names and contents are told apart, wherever one ends and the next begins."""
    start = {"pyproject.toml": project()}
    one = {**start, "a.py": b"x", "b.py": b"yz"}
    two = {**start, "a.py": b"xy", "b.py": b"z"}
    three = {**start, "a.pyx": b"", "b.py": b"yz"}
    assert len({app_hash(each) for each in (one, two, three)}) == 3


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"../evil.py": b""}, "out of its directory"),
        ({"/etc/cron.py": b""}, "out of its directory"),
        ({"a/./b.py": b""}, "out of its directory"),
        ({"c:evil.py": b""}, "out of its directory"),
        ({"model.pkl": b""}, "source text"),
        ({"lib.so": b""}, "source text"),
        ({"noname": b""}, "source text"),
        ({"big.py": b"#" * (11 * 2**20)}, "10 MiB"),
        ({"pyproject.toml": b"[tool"}, "pyproject.toml"),
        (
            {"pyproject.toml": b"[tool.flwr.app.components]\nclientapp = 3\n"},
            "names no ClientApp",
        ),
    ],
)
def test_a_bundle_holds_source_text_in_its_own_directory(
    entries: Mapping[str, bytes], told: str
) -> None:
    """Nothing else is unpacked, whoever packed it."""
    with pytest.raises(AppNotAllowedError, match=told):
        read_fab(zipped({**files(), **entries}))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader_of_bundles(content: bytes) -> None:
    """Whatever the hub sends: an app, or a refusal of ours."""
    with pytest.raises(FlipLabError):
        read_fab(content)


@pytest.fixture
def node(tmp_path: Path) -> NodeConfig:
    """Give a node that allows what a fresh one allows."""
    config = NodeConfig(name="charite", hub="hub:1", directory=tmp_path)
    write_node(tmp_path, config)
    return config


def scenario_fab(dataset: str = "heart-disease") -> bytes:
    """Pack a scenario as a run does."""
    scenario = load_scenario("hospitals")
    scenario = replace(scenario, data=replace(scenario.data, dataset=dataset))
    text = scenario_to_json(scenario)
    return build_fab(
        ScenarioApp(scenario_json=text).fab_files(), {"scenario": text}
    ).content


def test_a_fresh_node_runs_scenarios_and_nothing_else(node: NodeConfig) -> None:
    """The refusal names site, hash and command; the command is what helps."""
    assert read_fab(scenario_fab()).app_hash == scenario_hash()
    check_allowed(node, read_fab(scenario_fab()))
    app = read_fab(build_fab(files(), {}).content)
    with pytest.raises(AppNotAllowedError, match=f"'charite'.*{app.app_hash}") as raised:
        check_allowed(node, app)
    entry = raised.value.fix.partition("flip-lab node allow ")[2].partition("`")[0]
    check_allowed(allow(node.directory, [entry]), app)
    assert load_node(node.directory).allow == ("scenarios", entry)
    denied = deny(node.directory, [entry, "scenarios"])
    for each in (app, read_fab(scenario_fab())):
        with pytest.raises(AppNotAllowedError):
            check_allowed(denied, each)


def test_a_scenario_reads_no_folder_of_the_node(node: NodeConfig, tmp_path: Path) -> None:
    """It may name data of the Hugging Face hub, not paths of the site's machine."""
    check_allowed(node, read_fab(scenario_fab("hf:nobody/nothing")))
    with pytest.raises(AppNotAllowedError, match="is a path"):
        check_allowed(node, read_fab(scenario_fab(f"hf:{tmp_path}")))


@pytest.mark.parametrize("name", ["../secret", "imagefolder", "~/secret", "own/data", "."])
def test_a_scenario_reads_nothing_that_lies_around_its_client(
    node: NodeConfig, tmp_path: Path, name: str
) -> None:
    """A path counts from where clients run; one word alone is a reader of what is there."""
    (tmp_path / "work" / "own" / "data").mkdir(parents=True)
    with pytest.raises(AppNotAllowedError, match="is a path"):
        check_allowed(node, read_fab(scenario_fab(f"hf:{name}@test")))


def test_only_what_means_something_is_allowed(node: NodeConfig) -> None:
    """A typing error would let nothing in, and nobody would know why."""
    with pytest.raises(InvalidValueError, match="64 hex"):
        allow(node.directory, ["sha256:abc"])
    with pytest.raises(InvalidValueError, match="does not allow 'any' anyway"):
        deny(node.directory, ["any"])


def shelved(tmp_path: Path, number: int) -> SiteApp:
    """Put an app on the shelf."""
    return AppShelf(tmp_path / "apps").put(
        app_hash(files(number)), files(number), "client:app"
    )


def test_an_app_is_on_the_shelf_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full nothing is left, nor of what a killed process left half."""
    shelf = tmp_path / "apps"
    (shelf / ".new-killed").mkdir(parents=True)
    (shelf / ".old-killed").mkdir()
    fsync, synced = os.fsync, list[int]()

    def full(descriptor: int) -> None:
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            shelved(tmp_path, 1)
    assert list(shelf.iterdir()) == []
    synced.clear()
    monkeypatch.setattr(os, "fsync", lambda each: synced.append(os.fstat(each).st_ino))
    app = shelved(tmp_path, 1)
    assert [each.name for each in shelf.iterdir()] == [app.app_hash]
    assert sorted(synced) == sorted(e.stat().st_ino for e in app.directory.iterdir())


def test_the_apps_that_were_used_last_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one that is asked for again is unpacked again."""
    monkeypatch.setattr(app_shelf, "_MOST_APPS", 2)
    first = shelved(tmp_path, 1)
    os.utime(first.directory, (1, 1))
    second = shelved(tmp_path, 2)
    os.utime(second.directory, (2, 2))
    third = shelved(tmp_path, 3)
    kept = {each.name for each in (tmp_path / "apps").iterdir()}
    assert kept == {second.app_hash, third.app_hash}
    assert (shelved(tmp_path, 1).directory / "client.py").exists()


def test_apps_with_modules_of_the_same_names_stay_apart(tmp_path: Path) -> None:
    """At import, and when a call imports more; nothing of them is left importable."""
    import json as helper_of_another  # any module that is there already

    sys.modules["helper"] = helper_of_another
    before = set(sys.modules), [*sys.path]
    apps, loaded = [shelved(tmp_path, number) for number in (1, 2)], LoadedApps()
    for _ in range(2):
        for number, app in enumerate(apps, 1):
            with loaded.use(app) as found:
                assert vars(found)["number"] == number
                assert sys.modules["client"].late() == -number
    assert (set(sys.modules), sys.path) == before
    assert sys.modules.pop("helper") is helper_of_another


def test_an_app_that_cannot_be_imported_is_tried_again(tmp_path: Path) -> None:
    """Its error says what was raised; a second call does not find a half of it."""
    broken = {**files(), "helper.py": b"raise RuntimeError('no licence')"}
    app = AppShelf(tmp_path).put("broken", broken, "client:app")
    loaded = LoadedApps()
    for _ in range(2):
        with pytest.raises(AppImportError, match="RuntimeError"), loaded.use(app):
            pass
    no_app = AppShelf(tmp_path).put("other", files(), "client:late")
    with pytest.raises(AppImportError, match="not a ClientApp"), loaded.use(no_app):
        pass


def test_the_shelf_forgets_what_was_not_used_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps a bounded number of apps, each unpacked once."""
    monkeypatch.setattr("flip_lab.node.app_shelf._MOST_APPS", 2)
    for number in range(4):
        shelved(tmp_path, number)
    assert len(list((tmp_path / "apps").iterdir())) == 2
