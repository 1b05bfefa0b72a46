"""Runs of a lab elsewhere, brought home: whole, once, and again after an interruption."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from flip_lab.api.access import OwnerAccess
from flip_lab.api.app import create_app
from flip_lab.client.address import read_address
from flip_lab.client.line import Line
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.wire import Wire
from flip_lab.core.errors import (
    CorruptArtifactError,
    DamagedSourceError,
    IllegalTransitionError,
    LabUnreachableError,
    RunExistsError,
    StoreBusyError,
)
from flip_lab.runs.lab import Lab
from flip_lab.runs.life_sign import is_alive
from flip_lab.runs.run import Run

pytestmark = pytest.mark.slow

SHORT = {"train.num_rounds": 2}
BIG = np.random.default_rng(0).bytes(3_000_000)
Until = Callable[[Callable[[], bool]], None]
Change = Callable[[httpx.Request, httpx.Response], httpx.Response]


class Post(httpx.BaseTransport):
    """Carries requests to an app, and lets a test change what comes back."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport
        self.asked: list[httpx.Request] = []
        self.change: Change | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one over."""
        self.asked.append(request)
        response = self._transport.handle_request(request)
        return response if self.change is None else self.change(request, response)

    def paths(self) -> list[str]:
        """Give the files of packs that were asked for."""
        paths = [request.url.path for request in self.asked]
        return [path.partition("/pack/")[2] for path in paths if "/pack/" in path]


class Cut(httpx.SyncByteStream):
    """A body that breaks off after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        """Give what comes, then the end of the line."""
        yield self._content
        raise httpx.ReadError("the cable was pulled")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give the lab elsewhere."""
    return Lab(tmp_path_factory.mktemp("fern") / ".flip-lab")


@pytest.fixture(scope="module")
def ended(far: Lab, until: Until) -> Run:
    """Give an ended run of it, with a large file, tags and a number that is none."""
    run = far.launch("hospitals", on="in_process", overrides=SHORT, tags=["ä"])
    run.result(240)
    run.note("fern")
    until(lambda: not is_alive(far.path / "runs" / run.run_id))  # it seals what it wrote
    run.add_artifact("noise", BIG)
    return run


@pytest.fixture(scope="module")
def served(far: Lab) -> Iterator[httpx.BaseTransport]:
    """Give the way to the app that serves it, without a server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another httpx
        from starlette.testclient import TestClient

        with TestClient(create_app(far, OwnerAccess(name="ada"))) as client:
            yield client._transport  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def post(served: httpx.BaseTransport) -> Post:
    """Give the way there."""
    return Post(served)


@pytest.fixture
def remote(post: Post) -> RemoteLab:
    """Give the lab as it looks from here; it is given up soon."""
    address = read_address("http://127.0.0.1:8765", "secret")
    return RemoteLab(Wire(Line(address, timeout_s=0.5, transport=post)))


@pytest.fixture
def home(tmp_path: Path) -> Lab:
    """Give a lab here."""
    return Lab(tmp_path / "daheim")


def files(run: Run, lab: Lab) -> dict[str, bytes]:
    """Give what lies in a run's directory."""
    folder = lab.path / "runs" / run.run_id
    apart = {"run.json", "run.lock", "ended"}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in apart
    }


def test_a_run_comes_home_whole(far: Lab, ended: Run, remote: RemoteLab, home: Lab) -> None:
    """Events, model, checkpoints, log, labels and added files: each is the same."""
    run = home.fetch(remote.run(ended.run_id))
    assert run.run_id == ended.run_id
    assert run.events() == ended.events()
    assert files(run, home) == files(ended, far)
    assert run.artifact("noise") == BIG
    assert run.spec.working_dir == str(home.path / "runs" / run.run_id / "work")
    told = home.runs(as_="rows")[0]
    assert (told["tags"], told["note"]) == (["ä"], "fern")
    for name, array in ended.result().arrays.items():
        assert (run.result().arrays[name] == array).all()
    assert not [*home.path.glob(".fetch-*")]


def test_a_run_that_came_home_can_be_forked_and_repeated_here(
    ended: Run, remote: RemoteLab, home: Lab
) -> None:
    """Its checkpoints and its app are those of any run."""
    home.fetch(remote.run(ended.run_id))
    fork = home.fork(ended.run_id, 1)
    assert fork.wait(240).is_final
    assert fork.error is None
    assert home.rerun(ended.run_id, timeout_s=240).ok


def test_what_is_here_is_not_sent_again(
    ended: Run, post: Post, remote: RemoteLab, home: Lab
) -> None:
    """A second time its events say that it is the same."""
    home.fetch(remote.run(ended.run_id))
    post.asked.clear()
    again = home.fetch(remote.run(ended.run_id))
    assert again.run_id == ended.run_id
    assert post.paths() == ["events.jsonl.gz"]


def test_another_run_of_that_id_is_never_replaced(
    ended: Run, remote: RemoteLab, home: Lab
) -> None:
    """Whoever changed it here keeps it."""
    run = home.fetch(remote.run(ended.run_id))
    run.add_artifact("mine", b"mine")
    with pytest.raises(RunExistsError):
        home.fetch(remote.run(ended.run_id))
    assert run.artifact("mine") == b"mine"


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    ended: Run, post: Post, remote: RemoteLab, home: Lab
) -> None:
    """Bytes that came are not asked for again, by another process either."""
    name = str(ended.artifacts().set_index("name")["sha256"]["noise"])

    def cut(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith(name):
            return response
        if len([p for p in post.paths() if p.endswith(name)]) > 1:
            raise httpx.ConnectError("the hub is away")
        content = response.read()[:1_000_000]
        return httpx.Response(200, headers=response.headers, stream=Cut(content))

    post.change = cut
    with pytest.raises(LabUnreachableError):
        home.fetch(remote.run(ended.run_id))
    assert not home.runs(as_="rows")
    post.change = None
    post.asked.clear()
    run = home.fetch(remote.run(ended.run_id))
    assert run.artifact("noise") == BIG
    [asked] = [each for each in post.asked if each.url.path.endswith(name)]
    assert asked.headers["range"] == "bytes=1000000-"
    assert len(post.paths()) < len(files(run, home)) + 3


def test_bytes_that_changed_on_the_way_are_noticed(
    ended: Run, post: Post, remote: RemoteLab, home: Lab
) -> None:
    """The lab here gets nothing; a good answer later is taken."""

    def damage(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/pack/" not in request.url.path:
            return response
        content = bytearray(response.read())
        content[:1] = bytes([content[0] ^ 1]) if content else b""
        return httpx.Response(200, headers=response.headers, content=bytes(content))

    post.change = damage
    with pytest.raises(CorruptArtifactError):
        home.fetch(remote.run(ended.run_id))
    assert not home.runs(as_="rows")
    post.change = None
    assert home.fetch(remote.run(ended.run_id)).result().arrays


@pytest.mark.parametrize(
    "path",
    ["../../evil", "/etc/evil", "run/../../evil", "run/callbacks.pkl", "", "run/a\0b"],
)
def test_a_lab_that_means_harm_writes_nowhere(
    ended: Run, post: Post, remote: RemoteLab, home: Lab, path: str
) -> None:
    """No name leads out of the run, and no file is code that reading would run."""

    def add(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/pack"):
            return response
        told: dict[str, Any] = json.loads(response.read())
        told["files"].append({"path": path, "sha256": "0" * 64, "size_bytes": 1})
        return httpx.Response(200, json=told)

    post.change = add
    with pytest.raises(DamagedSourceError):
        home.fetch(remote.run(ended.run_id))
    assert not [*home.path.parent.rglob("evil")]
    assert not home.runs(as_="rows")


def test_a_run_under_way_stays_where_it_is(far: Lab, remote: RemoteLab, home: Lab) -> None:
    """Half a run would look like a whole one."""
    endless = {"train.num_rounds": 1_000_000}
    living = far.launch("hospitals", on="in_process", overrides=endless)
    try:
        with pytest.raises(IllegalTransitionError, match="only an ended run"):
            home.fetch(remote.run(living.run_id))
    finally:
        living.stop()
        living.wait(240)


def test_two_do_not_fetch_one_run_at_once(
    ended: Run, post: Post, remote: RemoteLab, home: Lab
) -> None:
    """The second one is told, and harms nothing."""
    met: list[StoreBusyError] = []

    def intrude(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/pack/" in request.url.path and not met:
            post.change = None
            with pytest.raises(StoreBusyError) as caught:
                home.fetch(remote.run(ended.run_id))
            met.append(caught.value)
        return response

    post.change = intrude
    assert home.fetch(remote.run(ended.run_id)).result().arrays
    assert met
