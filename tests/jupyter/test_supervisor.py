"""The real API behind Jupyter: started when asked, again when it dies, ended at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from jupyter_server.serverapp import ServerApp

import flip_lab.jupyter
from flip_lab.jupyter import api_supervisor
from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.extension import FlipLabExtension, settle_lab
from flip_lab.jupyter.problems import ProblemError


def mode_of(path: Path) -> int:
    """Give who may do what with a file."""
    return path.stat().st_mode & 0o777


def is_there(path: str | Path) -> bool:
    """Say whether a file or process is there."""
    return Path(path).exists()


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    while not path.exists():
        time.sleep(0.01)


async def test_the_lab_is_below_jupyters_root(
    program: httpx.AsyncClient, jp_root_dir: Path, supervisor: ApiSupervisor
) -> None:
    """One Jupyter, one lab: the API's and, by the environment, every kernel's."""
    assert os.environ["FLIP_LAB_HOME"] == str(jp_root_dir / ".flip-lab")
    assert supervisor.pid is None  # nobody has asked yet
    about = (await program.get("v1/about")).json()
    assert about["lab"] == str(jp_root_dir / ".flip-lab")
    assert about["scopes"] == ["read", "write"]


async def test_the_socket_is_the_owners(
    program: httpx.AsyncClient, supervisor: ApiSupervisor
) -> None:
    """Nobody else can enter its directory, nor open it."""
    await program.get("v1/health")
    path = Path(await supervisor.socket())
    assert mode_of(path.parent) == 0o700
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_killed_it_answers_the_next_request(
    program: httpx.AsyncClient, supervisor: ApiSupervisor, how: signal.Signals
) -> None:
    """Everything is answered: before it ends, while it does, and by its successor."""
    await program.get("v1/health")
    first = supervisor.pid
    assert first is not None
    os.kill(first, how)
    while supervisor.pid in {None, first}:  # it may answer some before it ends
        answers = await asyncio.gather(*(program.get("v1/about") for _ in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5


async def test_a_cleaner_takes_its_socket_away(
    program: httpx.AsyncClient, supervisor: ApiSupervisor
) -> None:
    """Directories for temporary files are cleaned at times: it starts again elsewhere."""
    await program.get("v1/health")
    first = supervisor.pid
    shutil.rmtree(Path(await supervisor.socket()).parent)
    assert (await program.get("v1/about")).status_code == 200
    assert supervisor.pid not in {None, first}


async def test_it_ends_with_the_extension(
    program: httpx.AsyncClient, extension: FlipLabExtension
) -> None:
    """Jupyter's orderly end leaves neither process nor files."""
    await program.get("v1/health")
    process = extension.supervisor.pid
    directory = Path(await extension.supervisor.socket()).parent
    await extension.stop_extension()
    assert process is not None
    assert not is_there(f"/proc/{process}")
    assert not is_there(directory)


async def test_a_lab_that_cannot_be_opened_is_a_problem(
    program: httpx.AsyncClient, supervisor: ApiSupervisor, jp_root_dir: Path
) -> None:
    """The answer is the lab's own error, with its code and its fix."""
    (jp_root_dir / ".flip-lab").write_text("in the way")
    answer = await program.get("v1/about")
    assert answer.status_code == 507
    assert answer.json()["code"].startswith("FLIP-4")
    assert ".flip-lab" in answer.json()["detail"]
    assert supervisor.pid is None


async def test_a_failed_start_is_not_tried_on_and_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that connects again and again does not start a program each time."""
    monkeypatch.setattr(api_supervisor, "_REST_S", 3600.0)  # a slow machine is within it
    starts = tmp_path / "starts"
    script = f"open({str(starts)!r}, 'a').write('x')"
    supervisor = ApiSupervisor(
        lab=tmp_path,
        root=tmp_path,
        log=logging.getLogger("test"),
        program=(sys.executable, "-c", script),
    )
    for _ in range(3):
        with pytest.raises(ProblemError) as caught:
            await supervisor.socket()
        assert caught.value.status_code == 503
    assert starts.read_text() == "x"
    supervisor._failed = None  # as after the rest
    with pytest.raises(ProblemError):
        await supervisor.socket()
    assert starts.read_text() == "xx"
    await supervisor.stop()


async def test_a_start_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that says nothing is not waited for without end."""
    monkeypatch.setattr(api_supervisor, "_START_S", 0.5)
    monkeypatch.setattr(api_supervisor, "_END_S", 0.5)
    script = "import os, time; time.sleep(600)"
    supervisor = ApiSupervisor(
        lab=tmp_path,
        root=tmp_path,
        log=logging.getLogger("test"),
        program=(sys.executable, "-c", script),
    )
    before = {*psutil.Process().children()}
    with pytest.raises(ProblemError):
        await supervisor.socket()
    assert {*psutil.Process().children()} <= before
    await supervisor.stop()


async def test_who_goes_away_does_not_end_the_start(tmp_path: Path) -> None:
    """A page that is loaded again and again while the API starts has one process start."""
    starts, may_go = tmp_path / "starts", tmp_path / "go"
    script = f"""
import pathlib, sys, time
with open({str(starts)!r}, "a") as told:
    told.write("x")
while not pathlib.Path({str(may_go)!r}).exists():
    time.sleep(0.01)
print('{{"is_ready": true}}', flush=True)
sys.stdin.read()
"""
    supervisor = ApiSupervisor(
        lab=tmp_path,
        root=tmp_path,
        log=logging.getLogger("test"),
        program=(sys.executable, "-c", script),
    )
    before = {*psutil.Process().children()}
    for _ in range(3):
        asked = asyncio.create_task(supervisor.socket())
        await asyncio.to_thread(wait_for, starts)
        asked.cancel()
        await asyncio.wait([asked])
    may_go.touch()
    await supervisor.socket()
    assert starts.read_text() == "x"
    assert len({*psutil.Process().children()} - before) == 1
    await supervisor.stop()
    assert {*psutil.Process().children()} <= before


async def test_a_start_that_nobody_waits_for_ends_with_jupyter(tmp_path: Path) -> None:
    """Jupyter ends while the API starts for a page that has gone: nothing is left."""
    begun = tmp_path / "begun"
    script = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(600)"
    supervisor = ApiSupervisor(
        lab=tmp_path,
        root=tmp_path,
        log=logging.getLogger("test"),
        program=(sys.executable, "-c", script),
    )
    before = {*psutil.Process().children()}
    asked = asyncio.create_task(supervisor.socket())
    await asyncio.to_thread(wait_for, begun)
    asked.cancel()
    await asyncio.wait([asked])
    await supervisor.stop()
    assert {*psutil.Process().children()} <= before


def test_somebody_elses_lab_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLIP_LAB_HOME is not changed; a relative one counts from Jupyter's root."""
    monkeypatch.setenv("FLIP_LAB_HOME", "labs/mine")
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "")
    monkeypatch.delenv("FLIP_LAB_AUTHOR")
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert settle_lab(tmp_path) == tmp_path / "labs" / "mine"
    assert os.environ["FLIP_LAB_HOME"] == str(tmp_path / "labs" / "mine")
    assert os.environ["FLIP_LAB_AUTHOR"] == "ada"


def test_jupyter_finds_the_extension(jp_serverapp: ServerApp) -> None:
    """It is loaded under the name that the configuration file of the wheel has."""
    assert jp_serverapp.extension_manager.extensions["flip_lab.jupyter"].enabled


def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where only what a device needs is installed, Jupyter starts and says so."""
    monkeypatch.setattr(flip_lab.jupyter, "_NEEDS", ("no_such_package",))
    assert flip_lab.jupyter._jupyter_server_extension_points() == [
        {"module": "flip_lab.jupyter"}
    ]
    server = SimpleNamespace(log=logging.getLogger("test"))
    flip_lab.jupyter._load_jupyter_server_extension(server)
    assert "flip-lab[lab]" in caplog.text
