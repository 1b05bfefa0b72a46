"""A served lab: a real server, real runs, and the page that shows how to use it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import flip_lab

FLIP_LAB = [sys.executable, "-c", "from flip_lab.cli.main import app; app()"]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-the-api.md"
PATIENCE_S = 240.0
ENDLESS = {"train.num_rounds": 1_000_000}
"""However fast rounds are and however late a test comes, the run is met under way."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@dataclass(frozen=True)
class Served:
    """A server that listens.

    Attributes:
        process: The server.
        told: The line of JSON that it printed.
        client: Somebody who knows the token.
    """

    process: subprocess.Popen[str]
    told: dict[str, Any]
    client: httpx.Client

    def run(self, run_id: str) -> dict[str, Any]:
        """Give a run as it is now."""
        return self.client.get(f"/runs/{run_id}").raise_for_status().json()

    def until(self, run_id: str, *states: str) -> dict[str, Any]:
        """Wait until a run is in one of these states."""
        end_s = time.monotonic() + PATIENCE_S
        while (found := self.run(run_id))["state"] not in states:
            assert time.monotonic() < end_s, (states, found)
            time.sleep(0.1)
        return found

    def launch(self, **more: Any) -> str:  # noqa: ANN401  # what else a launch asks for
        """Launch a run and give its id."""
        body = {"scenario": "hospitals", "overrides": ENDLESS, "on": "in_process", **more}
        answer = self.client.post("/runs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["run_id"]

    def command(self, run_id: str, **wish: Any) -> dict[str, Any]:  # noqa: ANN401  # a command
        """Ask a run for something."""
        answer = self.client.post(f"/runs/{run_id}/commands", json=wish)
        return answer.raise_for_status().json()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the server a signal and give its exit status."""
        self.client.close()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


Serve = Callable[..., Served]


@pytest.fixture
def serve(lab_path: Path) -> Iterator[Serve]:
    """Give what starts a server of the test's lab on a free port."""
    started: list[Served] = []

    def start(*options: str) -> Served:
        process = subprocess.Popen(
            [*FLIP_LAB, "serve", "--port", "0", "--lab", str(lab_path), "--json", *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLIP_LAB_AUTHOR": "ada"},
        )
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        client = httpx.Client(
            base_url=told.get("url", ""),
            headers={"Authorization": f"Bearer {told['token']}"},
            timeout=PATIENCE_S,
        )
        started.append(Served(process=process, told=told, client=client))
        return started[-1]

    yield start
    for served in started:
        served.client.close()
        if served.process.poll() is None:
            served.process.terminate()
            served.process.wait(PATIENCE_S)
        if served.process.stdout is not None:
            served.process.stdout.close()


def test_a_run_is_launched_and_steered(serve: Serve, lab_path: Path) -> None:
    """It pauses before its first round is aggregated; what is asked of it is on record."""
    served = serve()
    run_id = served.launch(break_when=["always"], tags=["story"])
    assert served.client.get("/runs").json()["items"][0]["run_id"] == run_id
    assert served.until(run_id, "paused")["rounds_done"] == 0
    taken = served.command(run_id, command="set", values={"learning_rate": 0.01})
    assert (taken["is_taken"], taken["from_round"]) == (True, 2)
    refused = served.client.post(
        f"/runs/{run_id}/commands",
        json={"command": "set", "values": {"learning_rat": 1}},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "FLIP-310")
    assert "learning_rate" in refused.json()["fix"]
    served.command(run_id, command="clear")
    served.command(run_id, command="resume")
    served.until(run_id, "running")
    assert served.command(run_id, command="stop")["id"] is None
    assert served.until(run_id, "stopped", "completed")["state"] == "stopped"
    asked = served.client.get(f"/runs/{run_id}/commands").json()["items"]
    assert {row["author"] for row in asked} == {"ada"}
    assert [row["command"] for row in asked if row["is_refused"]] == ["set"]
    actions = flip_lab.Lab(lab_path).sql("SELECT author, action FROM audit")
    assert {*actions["author"]} == {"ada"}
    assert {"launch", "set", "clear", "resume", "stop"} <= {*actions["action"]}


def test_a_stopped_run_is_forked_reported_and_taken_up(serve: Serve) -> None:
    """What it left is enough to go on with, and to read."""
    served = serve()
    ask, run_id = served.client, served.launch(stop_when="eval_accuracy > 0.1")
    ended = served.until(run_id, "completed", "failed")
    last = ended["checkpoints"][-1]["server_round"]
    forked = ask.post(
        f"/runs/{run_id}/fork",
        json={"at_round": last, "changes": {"num_rounds": last + 2}, "note": "longer"},
        headers={"Idempotency-Key": "the fork"},
    )
    assert forked.status_code == 201, forked.text
    fork_id = forked.json()["run_id"]
    assert forked.headers["location"] == f"../{fork_id}"
    child = served.until(fork_id, "completed", "failed")
    assert (child["state"], child["parent_run_id"]) == ("completed", run_id)
    assert served.run(run_id)["forks"] == [fork_id]
    report = ask.get(f"/runs/{fork_id}/report", params={"theme": "light"})
    assert "sandbox" in report.headers["content-security-policy"]
    assert fork_id in report.text
    model = ask.get(f"/runs/{fork_id}/artifacts/model")
    assert model.headers["etag"] == f'"{child["model_sha256"]}"'
    some = ask.get(f"/runs/{fork_id}/artifacts/model", headers={"Range": "bytes=0-7"})
    assert (some.status_code, some.content) == (206, model.content[:8])


def test_runs_outlive_their_server(serve: Serve) -> None:
    """It ends at once with status 0; the next one finds the run, and knows the key."""
    first = serve()
    body = {"scenario": "hospitals", "overrides": ENDLESS, "on": "in_process"}
    key = {"Idempotency-Key": "restart"}
    run_id = first.client.post("/runs", json=body, headers=key).json()["run_id"]
    first.until(run_id, "running")
    assert first.end(signal.SIGINT) == 0
    second = serve()
    assert second.told["token"] == first.told["token"]
    assert second.until(run_id, "running", "completed")["state"] == "running"
    assert second.client.post(f"/runs/{run_id}/resume", json={}).status_code == 409
    again = second.client.post("/runs", json=body, headers=key)
    assert (again.status_code, again.json()["run_id"]) == (201, run_id)
    assert len(second.client.get("/runs").json()["items"]) == 1
    second.command(run_id, command="stop")
    second.until(run_id, "stopped")
    resumed = second.client.post(f"/runs/{run_id}/resume", json={})
    assert resumed.status_code == 200, resumed.text
    second.until(run_id, "running")
    second.command(run_id, command="stop")
    second.until(run_id, "stopped")
    assert second.end() == 0


def test_a_unix_socket_of_ones_own(serve: Serve, tmp_path: Path) -> None:
    """Nobody else can open it; it is gone when the server is; a dead one is replaced."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    served = serve("--socket", str(path), "--prefix", "")
    assert path.stat().st_mode & 0o777 == 0o600
    transport = httpx.HTTPTransport(uds=str(path))
    headers = dict(served.client.headers)
    with httpx.Client(transport=transport, headers=headers) as ask:
        told = ask.get("http://localhost/v1/about").json()
    assert told["person"] == "ada"
    assert served.end() == 0
    assert not path.exists()


def test_the_examples_of_the_page_work(serve: Serve, tmp_path: Path) -> None:
    """Every curl that a reader copies does what the page says, in order."""
    served = serve()
    examples = [
        code
        for code in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "curl" in code
    ]
    assert len(examples) >= 6
    known = {
        **os.environ,
        "FLIP_URL": served.told["url"],
        "FLIP_TOKEN": served.told["token"],
    }
    for code in examples:
        done = subprocess.run(
            ["bash", "-e", "-c", code],
            env=known,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, (code, done.stdout, done.stderr)
        if "Idempotency-Key" in code:
            known["RUN_ID"] = json.loads(done.stdout)["run_id"]
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert known["RUN_ID"] in report
    served.until(known["RUN_ID"], "stopped", "completed")
