"""Uploads and models over a real server: lines that break, servers that are killed."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import safetensors.numpy

from flip_lab.runs.lab import Lab
from flip_lab.store.audit_chain import verify_audit
from flip_lab.store.layout import open_lab

FLIP_LAB = [sys.executable, "-c", "from flip_lab.cli.main import app; app()"]
APPS = Path(__file__).parents[1] / "apps"
PIECE = "application/offset+octet-stream"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Served:
    """A server that listens.

    Attributes:
        process: The server.
        token: Opens it.
        client: Somebody who knows the token.
    """

    process: subprocess.Popen[str]
    token: str
    client: httpx.Client

    def begin(self, name: str, content: bytes) -> str:
        """Announce a file; give where its bytes go."""
        told = {"filename": name, "sha256": sha256(content).hexdigest()}
        values = (f"{key} {b64encode(v.encode()).decode()}" for key, v in told.items())
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(len(content)),
            "Upload-Metadata": ",".join(values),
        }
        answer = self.client.post("/uploads", headers=headers).raise_for_status()
        return f"/{answer.headers['location']}"

    def offset(self, where: str) -> int:
        """Ask where an upload goes on."""
        answer = self.client.head(where, headers={"Tus-Resumable": "1.0.0"})
        return int(answer.raise_for_status().headers["upload-offset"])

    def go_on(self, where: str, content: bytes, *, most: int = 2**20) -> str:
        """Send what is missing, as a client of tus does; give the upload's id."""
        at = self.offset(where)
        while at < len(content):
            headers = {"Upload-Offset": str(at), "Content-Type": PIECE}
            piece = content[at : at + most]
            answer = self.client.patch(where, content=piece, headers=headers)
            assert answer.status_code == 204, answer.text
            at = int(answer.headers["upload-offset"])
        return where.rpartition("/")[2]

    @contextmanager
    def sending(self, where: str, content: bytes, *, at: int, after: int) -> Iterator[None]:
        """Announce all that follows, and send a part of it; in the end the line breaks."""
        url = urlsplit(str(self.client.base_url))
        head = (
            f"PATCH {url.path.rstrip('/')}{where} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {self.token}\r\nUpload-Offset: {at}\r\n"
            f"Content-Type: {PIECE}\r\nContent-Length: {len(content) - at}\r\n\r\n"
        )
        with socket.create_connection((url.hostname or "", url.port or 0)) as line:
            line.sendall(head.encode() + content[at : at + after])
            yield

    def killed(self) -> None:
        """Kill the server, whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def serve(lab_path: Path) -> Iterator[Callable[[], Served]]:
    """Give what starts a server of the test's lab on a free port."""
    started: list[Served] = []

    def start() -> Served:
        process = subprocess.Popen(
            [*FLIP_LAB, "serve", "--port", "0", "--lab", str(lab_path), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLIP_LAB_AUTHOR": "ada"},
        )
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        client = httpx.Client(
            base_url=told["url"],
            headers={"Authorization": f"Bearer {told['token']}"},
            timeout=PATIENCE_S,
        )
        started.append(Served(process=process, token=told["token"], client=client))
        return started[-1]

    yield start
    for served in started:
        served.client.close()
        served.process.terminate()
        served.process.wait(PATIENCE_S)
        assert served.process.stdout is not None
        served.process.stdout.close()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something; the test fails when patience ends."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def is_free(served: Served, where: str) -> bool:
    """Say whether the server has noticed that the line is broken."""
    headers = {"Upload-Offset": str(served.offset(where)), "Content-Type": PIECE}
    return served.client.patch(where, content=b"", headers=headers).status_code == 204


def test_a_line_that_breaks_costs_no_byte(
    serve: Callable[[], Served], lab_path: Path
) -> None:
    """Cut in the middle it goes on from there, and the hash is the sender's."""
    model = safetensors.numpy.save({"w": np.random.default_rng(0).random(1_000_000)})
    served = serve()
    where = served.begin("m.safetensors", model)
    data = lab_path / where.strip("/") / "data"
    with served.sending(where, model, at=0, after=5_000_000):
        until(lambda: data.stat().st_size > 0)
    until(lambda: is_free(served, where))
    came = data.read_bytes()
    assert 0 < len(came) < len(model)
    assert model.startswith(came)
    with served.sending(where, model, at=0, after=2_000_000):  # that was there already
        pass
    until(lambda: is_free(served, where))
    assert served.offset(where) == len(came)
    shown = served.client.get(f"/uploads/{served.go_on(where, model)}").json()
    assert (shown["is_whole"], shown["sha256"]) == (True, sha256(model).hexdigest())
    assert data.read_bytes() == model


def test_a_server_killed_while_bytes_come_keeps_what_came(
    serve: Callable[[], Served], lab_path: Path
) -> None:
    """Killed in the middle of a piece, twice: what is there is right, and goes on."""
    model = safetensors.numpy.save({"w": np.random.default_rng(1).random(1_000_000)})
    served = serve()
    where = served.begin("m.safetensors", model)
    data = lab_path / where.strip("/") / "data"
    for _ in range(2):
        at = served.offset(where)
        with served.sending(where, model, at=at, after=3_000_000):
            until(lambda at=at: data.stat().st_size > at)
            served.killed()
        came = data.read_bytes()
        assert at < len(came) < len(model)
        assert model.startswith(came)
        served = serve()
    shown = served.client.get(f"/uploads/{served.go_on(where, model)}").json()
    assert (shown["is_whole"], shown["sha256"]) == (True, sha256(model).hexdigest())


def packed(app: Path) -> bytes:
    """Zip an app as people do: its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(app.rglob("*")):
            if "__pycache__" not in path.parts:
                archive.write(path, f"{app.name}/{path.relative_to(app)}")
    return buffer.getvalue()


def registered(served: Served, app: bytes) -> str:
    """Upload an app, run it, and register its model after round 2 and at the end."""
    ask = served.client
    upload = served.go_on(served.begin("numpy.zip", app), app, most=2000)
    body = {"upload": upload, "on": "in_process", "num_nodes": 2}
    launched = ask.post("/runs", json=body)
    assert launched.status_code == 201, launched.text
    run_id: str = launched.json()["run_id"]
    assert ask.delete(f"/uploads/{upload}").status_code == 204
    final = {"completed", "failed", "stopped"}
    until(lambda: ask.get(f"/runs/{run_id}").json()["state"] in final)
    for more in ({"at_round": 2}, {}):
        answer = ask.post("/models", json={"run_id": run_id, "name": "sums", **more})
        assert answer.status_code == 201, answer.text
    return run_id


def test_an_uploaded_app_is_run_registered_promoted_rolled_back_and_downloaded(
    serve: Callable[[], Served], lab_path: Path
) -> None:
    """The whole way over HTTP; what comes down is the run's model, bit for bit."""
    served = serve()
    ask = served.client
    run_id = registered(served, packed(APPS / "numpy"))
    for version in (1, 2):
        path = f"/models/sums/versions/{version}"
        ask.patch(path, json={"stage": "production"}).raise_for_status()
    model = ask.get(f"/runs/{run_id}/artifacts/model").content
    found = ask.get("/models/sums/versions/production/file")
    assert found.content == model
    assert found.headers["etag"] == f'"{sha256(model).hexdigest()}"'
    back = ask.post("/models/sums/roll-back").raise_for_status().json()
    assert (back["version"], back["server_round"]) == (1, 2)
    halves = [
        ask.get("/models/sums/versions/production/file", headers={"Range": each}).content
        for each in ("bytes=0-99", "bytes=100-")
    ]
    assert sha256(b"".join(halves)).hexdigest() == back["sha256"]
    lab = Lab(lab_path)
    final = lab.run(run_id).arrays()
    for name, array in lab.models.arrays("sums", 2).items():
        np.testing.assert_array_equal(array, final[name])
    lab.delete(run_id)
    until(lambda: lab.empty_trash() == [run_id])  # its process may be tidying up yet
    assert ask.get("/models/sums/versions/2/file").content == model
    assert verify_audit(open_lab(lab_path)) == []


def test_a_strange_archive_leaves_nothing_on_the_server(
    serve: Callable[[], Served], lab_path: Path
) -> None:
    """A bomb and a way out, through a real server."""
    served = serve()
    for name, content in (("zeros", b"\0" * 50_000_000), ("../../out.py", b"print()")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("pyproject.toml", "x")
            archive.writestr(name, content)
        where = served.begin("app.zip", buffer.getvalue())
        headers = {"Upload-Offset": "0", "Content-Type": PIECE}
        answer = served.client.patch(where, content=buffer.getvalue(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "FLIP-711")
    assert list((lab_path / "uploads").iterdir()) == []
    assert not [*lab_path.parent.rglob("out.py")]
