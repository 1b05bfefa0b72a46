"""What an actor makes of a run: on the run's machine, on another one, and afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.engines.apps import DirectoryApp
from flip_lab.engines.base import Job
from flip_lab.engines.flower.arrays import backing
from flip_lab.engines.ray_lease import gpu_share
from flip_lab.engines.ray_package import RunPackage, move_in, package_of, this_host
from flip_lab.engines.ray_parcels import pack, unpack


@pytest.fixture(autouse=True)
def at_home() -> Iterator[None]:
    """Put directory, search path and environment back."""
    path, environment, directory = list(sys.path), dict(os.environ), Path.cwd()
    yield
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)


@pytest.fixture
def app(tmp_path: Path) -> DirectoryApp:
    """Give an app with source, data and a cache."""
    directory = tmp_path / "app"
    (directory / "inner" / "__pycache__").mkdir(parents=True)
    (directory / "inner" / "client.py").write_text("app = 1", encoding="utf-8")
    (directory / "inner" / "__pycache__" / "client.pyc").write_bytes(b"x")
    (directory / "data.csv").write_text("1,2", encoding="utf-8")
    return DirectoryApp(directory=directory, server_ref="s:app", client_ref="c:app")


def packed(app: DirectoryApp, *hosts: str) -> RunPackage:
    """Pack a run in a session of these machines."""
    nodes = [{"Alive": True, "NodeManagerHostname": host} for host in hosts]
    job = Job(
        run_id="r",
        seed=0,
        num_nodes=1,
        run_config={},
        app=app,
        answers_describe=False,
        workers=1,
        work_dir=app.directory,
    )
    ray: Any = SimpleNamespace(nodes=lambda: nodes)
    return package_of(ray, job, "gate/1")


def test_on_one_machine_paths_and_environment_are_taken_over(
    app: DirectoryApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All but what is Ray's, the device's and the process's own."""
    monkeypatch.setenv("OF_THE_RUN", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    package = packed(app, "here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("OF_THE_SESSION", "1")
    monkeypatch.delenv("OF_THE_RUN")
    assert move_in(replace(package, search_path=["/of/the/run"]), tmp_path) is app
    assert os.environ["OF_THE_RUN"] == "1"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert "OF_THE_SESSION" not in os.environ
    assert sys.path[0] == "/of/the/run"
    assert Path.cwd() == app.directory
    assert package.files == {}


def test_another_machine_gets_the_files_and_not_the_environment(
    app: DirectoryApp, tmp_path: Path
) -> None:
    """An environment may hold secrets."""
    package = packed(app, "here", "there")
    assert package.environment is None
    assert sorted(package.files) == ["data.csv", "inner/client.py"]
    gone = replace(app, directory=tmp_path / "nowhere")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    there = replace(package, app=gone, host="there", work_dir=gone.directory)
    moved = move_in(there, scratch)
    assert moved == replace(app, directory=scratch)
    assert (scratch / "inner" / "client.py").read_text(encoding="utf-8") == "app = 1"
    assert Path.cwd() == scratch


def test_a_directory_that_machines_share_is_used_where_it_is(
    app: DirectoryApp, tmp_path: Path
) -> None:
    """With all the data in it."""
    there = replace(packed(app, "here", "there"), host="there")
    assert move_in(there, tmp_path) is app
    assert Path.cwd() == app.directory


def test_a_host_is_the_same_for_all_its_processes() -> None:
    """It is compared between them."""
    assert this_host() == this_host()
    assert "/" in this_host()


@given(num_gpus=st.integers(1, 16), workers=st.integers(1, 64))
def test_all_workers_fit_on_the_gpus_and_none_spans_two(
    num_gpus: int, workers: int
) -> None:
    """Ray places a part of a GPU on one GPU only."""
    share = gpu_share(num_gpus, workers)
    assert 0 < share <= 1
    assert num_gpus * int(1 / share + 1e-9) >= workers


def test_without_a_gpu_nobody_asks_for_one() -> None:
    """An actor that did would wait for ever."""
    assert gpu_share(0, 4) == 0


@given(sizes=st.lists(st.integers(0, 20_000), max_size=5))
def test_records_come_back_as_they_went(sizes: list[int]) -> None:
    """Small arrays travel within, large ones beside, with the same values."""
    arrays = [np.arange(size, dtype=np.float32) for size in sizes]
    parcel = pack(RecordDict({"arrays": ArrayRecord(arrays)}))
    back = unpack(parcel).array_records["arrays"].values()
    assert [backing(array).tobytes() for array in back] == [a.tobytes() for a in arrays]
