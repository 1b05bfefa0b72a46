"""A lab on a real server: launched, followed, steered, forked, as if it were here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import flip_lab
from flip_lab.cli.main import app
from flip_lab.client.address import read_address
from flip_lab.client.line import Line
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.client.remote_run import RemoteRun
from flip_lab.client.wire import Wire
from flip_lab.core.errors import (
    CommandRefusedError,
    LabUnreachableError,
    NotAuthenticatedError,
    RunNotFoundError,
)
from flip_lab.core.events import EventKind
from flip_lab.core.servers import bound_socket
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run

PATIENCE_S = 240.0
SHORT = {"train.num_rounds": 2}
ENDLESS = {"train.num_rounds": 1_000_000}
Until = Callable[[Callable[[], bool]], None]
SERVE = "from flip_lab.cli.main import app; app()"


@dataclass
class Server:
    """A real server of a lab, on a port that stays the same when it starts anew."""

    home: Path
    environment: Mapping[str, str]
    port: int
    token: str = ""
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", SERVE, "serve", "--json"),
                *("--lab", str(self.home), "--port", str(self.port)),
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home.parent,
        )
        assert self.process.stdout is not None
        self.token = json.loads(self.process.stdout.readline())["token"]

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.process.kill()
        self.process.communicate()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    environment: Mapping[str, str],
    kept_port: int,
) -> Iterator[Server]:
    """Give a server of a new lab."""
    home = tmp_path_factory.mktemp("ein läb") / ".flip-lab"
    served = Server(home=home, environment=environment, port=kept_port)
    served.start()
    yield served
    served.kill()


@pytest.fixture(scope="module")
def far(server: Server) -> Iterator[RemoteLab]:
    """Give the lab as it looks from elsewhere."""
    with flip_lab.connect(server.url, token=server.token, timeout_s=PATIENCE_S) as lab:
        yield lab


@pytest.fixture(scope="module")
def here(server: Server, far: RemoteLab) -> Lab:
    """Give the same lab as it looks on its own machine."""
    assert far.about().lab == str(server.home)
    return Lab(server.home)


@pytest.fixture(scope="module")
def ended(far: RemoteLab) -> RemoteRun:
    """Give a run that was launched from elsewhere, and has completed."""
    run = far.launch(
        "hospitals", overrides=SHORT, tags=["ä"], note="n", record_updates=True
    )
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    return run


@pytest.fixture
def living(far: RemoteLab) -> Iterator[RemoteRun]:
    """Give a run that goes on until it is stopped."""
    run = far.launch("hospitals", overrides=ENDLESS, on="in_process")
    yield run
    run.stop()
    run.wait(PATIENCE_S)


@pytest.fixture
def same(here: Lab) -> Callable[[RemoteRun], Run]:
    """Give a way to look at a run on its own machine."""
    return lambda run: here.run(run.run_id)


@pytest.mark.parametrize(
    "table", ["metrics", "clients", "client_metrics", "commands", "artifacts", "logged"]
)
def test_tables_of_a_run_are_the_same(
    ended: RemoteRun, same: Callable[[RemoteRun], Run], table: str
) -> None:
    """Value for value and type for type; the rows too, where there is no pandas."""
    local = getattr(same(ended), table)()
    remote: Any = getattr(ended, table)()
    pd.testing.assert_frame_equal(remote, local)
    rows = getattr(ended, table)(as_="rows")
    assert [*map(str, pd.DataFrame(rows)["run_id"] if rows else [])] == [*local["run_id"]]


def test_frames_of_a_lab_are_the_same(far: RemoteLab, here: Lab, ended: RemoteRun) -> None:
    """Whatever is asked, and however runs are named."""
    keys = ["seed", "strategy.name"]
    asked: list[Callable[[Any], Any]] = [
        lambda lab: lab.runs(),
        lambda lab: lab.runs("seed >= ?", parameters=[0], state="completed", limit=1),
        lambda lab: lab.runs({"strategy.name": ["FedAvg", "FedProx"]}, tag="ä"),
        lambda lab: lab.metrics("eval_accuracy", runs=ended.run_id, keys=keys),
        lambda lab: lab.clients(runs=[ended.run_id], server_round=range(1, 3)),
        lambda lab: lab.client_metrics(runs=lab.run(ended.run_id), partition_id=1),
        lambda lab: lab.table("experiments"),
        lambda lab: lab.sql("SELECT sum(num_examples) AS n, count(*) c FROM clients"),
    ]
    for ask in asked:
        pd.testing.assert_frame_equal(ask(far), ask(here))


def test_a_row_has_python_values(far: RemoteLab, here: Lab, ended: RemoteRun) -> None:
    """They are those of a local lab, times and maps included."""
    question = (
        "SELECT run_id, time_at, metrics, 'nan'::DOUBLE AS n FROM clients "
        "WHERE run_id = ? ORDER BY sequence"
    )
    remote = far.sql(question, [ended.run_id], as_="rows")
    local = here.sql(question, [ended.run_id], as_="rows")
    for row in (*remote, *local):
        assert np.isnan(row.pop("n"))
    assert remote == local


def test_events_and_results_are_the_same(
    ended: RemoteRun, same: Callable[[RemoteRun], Run], tmp_path: Path
) -> None:
    """The same model, hash for hash and bit for bit."""
    local = same(ended)
    assert ended.events() == local.events()
    assert [*ended.follow()] == local.events()
    assert ended.settings == local.settings
    assert ended.logs(tail=3) == local.logs(tail=3)
    remote, kept = ended.result(), local.result()
    assert (remote.model_sha256, remote.metrics) == (kept.model_sha256, kept.metrics)
    assert {*remote.arrays} == {*kept.arrays}
    for name, array in kept.arrays.items():
        np.testing.assert_array_equal(remote.arrays[name], array)
    assert ended.download("model", tmp_path).read_bytes() == local.artifact("model")
    assert "<html" in ended.report(tmp_path / "report.html").read_text()


def test_a_run_is_steered_from_elsewhere(
    living: RemoteRun, same: Callable[[RemoteRun], Run]
) -> None:
    """Pause, look, set, step, go on; who did it is on record."""
    assert living.break_when("always").command == "break_when"
    assert living.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    living.clear()
    taken = living.set(learning_rate=0.01)
    assert taken.is_taken
    living.step(2)
    assert living.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    assert living.settings["learning_rate"] == 0.01
    with pytest.raises(CommandRefusedError, match="nonsense"):
        living.set(nonsense=1)
    living.resume()
    living.stop()
    assert living.wait(PATIENCE_S) is RunState.STOPPED
    told = living.commands()
    pd.testing.assert_frame_equal(told, same(living).commands())
    assert {"break_when", "set", "step", "resume", "stop"} <= {*told["command"]}


def test_a_view_misses_nothing_when_the_server_is_killed(
    server: Server, living: RemoteRun, until: Until, same: Callable[[RemoteRun], Run]
) -> None:
    """The run goes on meanwhile; each event comes once and in order."""
    found: list[int] = []

    def follow() -> None:
        found.extend(event.sequence for event in living.follow())

    with ThreadPoolExecutor(1) as threads:
        following = threads.submit(follow)
        until(lambda: bool(_rounds(living)))
        server.kill()
        local = same(living)
        before = len(local.events())
        until(lambda: len(local.events()) > before + 20)
        server.start()
        living.stop()
        following.result(PATIENCE_S)
    assert found == [event.sequence for event in local.events()]


def _rounds(run: RemoteRun) -> list[Any]:
    return [each for each in run.events() if each.kind is EventKind.ROUND_ENDED]


def test_a_launch_whose_answer_got_lost_makes_one_run(server: Server, here: Lab) -> None:
    """It is asked for again with its key, also after the server was started anew."""

    class Losing(httpx.BaseTransport):
        """Loses the answer to the first launch, and the server with it."""

        def __init__(self) -> None:
            self.network = httpx.HTTPTransport()
            self.launches = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = self.network.handle_request(request)
            if request.method == "POST":
                self.launches += 1
                if self.launches == 1:
                    response.read()
                    server.kill()
                    server.start()
                    raise httpx.ReadError("lost")
            return response

        def close(self) -> None:
            self.network.close()

    before, transport = {*here.runs()["run_id"]}, Losing()
    address = read_address(server.url, server.token)
    lab = RemoteLab(Wire(Line(address, timeout_s=PATIENCE_S, transport=transport)))
    run = lab.launch("hospitals", overrides=SHORT)
    assert transport.launches == 2
    assert {*here.runs()["run_id"]} - before == {run.run_id}
    assert run.wait(PATIENCE_S) is RunState.COMPLETED


def test_a_key_names_one_launch(far: RemoteLab) -> None:
    """A script that is started twice launches once."""
    first, again = (far.launch("hospitals", overrides=SHORT, key="k") for _ in range(2))
    assert first.run_id == again.run_id
    assert first.wait(PATIENCE_S) is RunState.COMPLETED


def test_a_fork_knows_where_it_comes_from(far: RemoteLab, ended: RemoteRun) -> None:
    """It goes on from the round that was asked for, with what was changed."""
    fork = ended.fork(1, learning_rate=0.02, tags=["fork"])
    assert fork.wait(PATIENCE_S) is RunState.COMPLETED
    assert fork.parent is not None
    assert fork.parent.run_id == ended.run_id
    assert fork.run_id in [each.run_id for each in ended.forks]
    assert fork.scenario.train.learning_rate == 0.02
    assert {event.server_round for event in _rounds(fork)} >= {2}
    with pytest.raises(RunNotFoundError):
        far.run("nobody")


def test_an_app_is_uploaded_and_launched(far: RemoteLab, slow_app: Path) -> None:
    """Only its files travel; it runs over there."""
    run = far.launch(slow_app, num_nodes=2, overrides={"num-server-rounds": 1})
    assert run.wait(PATIENCE_S) is RunState.COMPLETED
    assert run.spec.kind == "app"


def test_labels_and_models(
    far: RemoteLab, here: Lab, ended: RemoteRun, tmp_path: Path
) -> None:
    """What is said and registered elsewhere stands in the lab."""
    far.tag(ended, "b")
    far.untag([ended.run_id], "ä")
    ended.note("seen")
    row = here.runs("run_id = ?", parameters=[ended.run_id]).iloc[0]
    assert ([*row["tags"]], row["note"]) == (["b"], "seen")
    version = far.models.register(ended, "small")
    far.models.promote("small", version.version, "production")
    assert here.models.version("small").sha256 == version.sha256
    file = far.models.download("small", tmp_path)
    assert far.models.register_file(file, "copy").sha256 == version.sha256
    assert [*far.models] == [*here.models]
    pd.testing.assert_frame_equal(far.models(), here.models())


def test_the_terminal_works_with_an_address(
    server: Server, here: Lab, ended: RemoteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command says the same of a directory and of an address."""
    monkeypatch.setenv("FLIP_LAB_TOKEN", server.token)
    runner = CliRunner()
    for command in (
        ("runs",),
        ("sql", "SELECT run_id, state FROM runs ORDER BY run_id"),
        ("logs", ended.run_id, "--tail", "3"),
        ("set", ended.run_id),
        ("note", ended.run_id),
    ):
        said = [
            runner.invoke(app, [*command, "--json", "--lab", place])
            for place in (server.url, str(here.path))
        ]
        assert [each.exit_code for each in said] == [0, 0], said[0].output
        assert said[0].stdout == said[1].stdout
    shown = runner.invoke(app, ["show", ended.run_id, "--json", "--lab", server.url])
    assert json.loads(shown.stdout)["store"] == server.url
    refused = runner.invoke(app, ["doctor", "--lab", server.url])
    assert refused.exit_code == 2
    assert "own files" in refused.output.replace("\n", " ")


def test_a_notebook_watches_it(living: RemoteRun, ended: RemoteRun, until: Until) -> None:
    """The monitor shows a remote run as it shows a local one, and can steer it."""
    monitor = flip_lab.watch(living)
    assert monitor.can_steer
    until(lambda: monitor.snapshot["server_round"] > 5)
    answer = monitor.answer({"command": "stop", "ticket": 1})
    assert answer == {"ticket": 1, "is_taken": True}
    until(lambda: monitor.snapshot["state"] == "stopped")
    monitor.close()
    over = flip_lab.watch(ended)
    assert (over.snapshot["state"], over.snapshot["num_rounds"]) == ("completed", 2)
    over.close()


def test_asking_again_and_again_gives_every_event_once(
    living: RemoteRun, same: Callable[[RemoteRun], Run]
) -> None:
    """Whatever comes by WebSocket and what is asked for fit together."""
    found: list[int] = []
    while not (is_over := living.state.is_final) or not found:
        found += [each.sequence for each in living.events(after=max(found, default=-1))]
        if len(found) > 300 and not is_over:
            living.stop()
    found += [each.sequence for each in living.events(after=found[-1])]
    assert found == [event.sequence for event in same(living).events()]


def test_a_socket_is_an_address(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Only who may open it gets in; events come through it, too."""
    path = tmp_path / "api.sock"
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SERVE, "serve", "--json"),
            *("--lab", str(tmp_path / "lab"), "--socket", str(path)),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        token = json.loads(process.stdout.readline())["token"]
        lab = flip_lab.connect(f"unix://{path}", token=token)
        run = lab.launch("hospitals", overrides={"train.num_rounds": 1})
        assert [*run.follow()] == run.events()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_jupyter_server_is_a_lab(
    environment: Mapping[str, str], tmp_path: Path, until: Until
) -> None:
    """Its URL, copied from the browser, is enough: base path, token, WebSocket."""
    holder = bound_socket("127.0.0.1", 0)  # a server may listen there, and nobody else
    port = holder.getsockname()[1]
    homes = {
        f"JUPYTER_{name}_DIR": str(tmp_path / name)
        for name in ("CONFIG", "DATA", "RUNTIME")
    }
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
            f"--port={port}",
            "--ServerApp.base_url=/user/j%C3%BCrgen/",
            "--ServerApp.jpserver_extensions={'flip_lab.jupyter': True}",
            "--IdentityProvider.token=secret",
        ],
        env={**environment, **homes, "FLIP_LAB_HOME": str(tmp_path / "lab")},
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/user/j%C3%BCrgen/lab/tree/a.ipynb?token=secret"
    opened: list[RemoteLab] = []

    def is_open() -> bool:
        with suppress(LabUnreachableError):
            opened.append(flip_lab.connect(url, timeout_s=60.0))
        return bool(opened)

    try:
        until(is_open)
        with pytest.raises(NotAuthenticatedError):
            flip_lab.connect(url.replace("secret", "guess"))
        run = opened[0].launch("hospitals", overrides=SHORT)
        assert [*run.follow()] == run.events()
        assert run.result().arrays
    finally:
        server.terminate()
        server.wait()
        holder.close()
