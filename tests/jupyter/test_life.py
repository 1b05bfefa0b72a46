"""A Jupyter Server of its own, a real run, and a web server before it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab

PATIENCE_S = 180  # shared machines are slow at times
TOKEN = "a-token-of-this-test"  # noqa: S105  # opens a server that lives for a test
BASE_URL = "/user/j%C3%BCrgen/"
LONG = {"scenario": "hospitals", "overrides": {"train.num_rounds": 1_000_000}}

NGINX = """
user root; daemon off; pid nginx.pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 32m;
    location / {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
    }}
  }}
}}
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; fail when it never is."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_running(process: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def jupyter(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start Jupyter Server below ``BASE_URL``; end it afterwards."""
    (home / "work").mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser"]
    told = {
        "ServerApp.base_url": BASE_URL,
        "ServerApp.jpserver_extensions": "flip_lab.jupyter=True",
        "ServerApp.port": str(port),
        "ServerApp.port_retries": "0",
        "ServerApp.allow_unauthenticated_access": "False",
        "IdentityProvider.token": TOKEN,
    }
    places = {
        f"JUPYTER_{each}_DIR": str(home / each) for each in ("CONFIG", "DATA", "RUNTIME")
    }
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in told.items()), *options],
        cwd=home / "work",
        env={**os.environ, **places, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until(lambda: answers(port, "api/status"))
        yield process, port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        log.close()


def answers(port: int, path: str) -> bool:
    """Say whether Jupyter is there."""
    try:
        return ask(port, path).is_success
    except httpx.TransportError:
        return False


def ask(port: int, path: str, method: str = "GET", **more: object) -> httpx.Response:
    """Send a request with the token."""
    return httpx.request(
        method,
        f"http://127.0.0.1:{port}{BASE_URL}{path}",
        headers={"Authorization": f"token {TOKEN}"},
        timeout=PATIENCE_S,
        **more,  # pyright: ignore[reportArgumentType]  # httpx's own keywords
    )


def api_of(server: subprocess.Popen[bytes]) -> psutil.Process:
    """Give the API's process; Jupyter may have others at work for a moment."""
    children = psutil.Process(server.pid).children()
    (api,) = (each for each in children if is_api(each))
    return api


def is_api(process: psutil.Process) -> bool:
    """Say whether a process is our API's."""
    try:
        return "flip_lab.jupyter.api_process" in process.cmdline()
    except psutil.NoSuchProcess:  # also a zombie
        return False


@pytest.mark.slow
def test_a_run_outlives_jupyter_and_the_api_does_not(tmp_path: Path) -> None:
    """Jupyter is killed: the API's process notices and ends, the run goes on."""
    with jupyter(tmp_path) as (server, port):
        made = ask(port, "flip/v1/runs", "POST", json=LONG)
        assert made.status_code == 201, made.text
        api = api_of(server)
        lab = Lab(tmp_path / "work" / ".flip-lab")
        run = lab.run(made.json()["run_id"])
        wait_until(lambda: run.state is RunState.RUNNING)
        server.kill()
        wait_until(lambda: not is_running(api.pid))
    run.pause()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED  # it lives, and listens
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED


@pytest.mark.slow
def test_the_api_ends_with_jupyter(tmp_path: Path) -> None:
    """It is not in the process group that Ctrl-C reaches, and still ends with Jupyter."""
    with jupyter(tmp_path) as (server, port):
        ask(port, "flip/v1/health")
        api = api_of(server)
        assert os.getpgid(api.pid) != os.getpgid(server.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
        wait_until(lambda: not is_running(api.pid))


@pytest.mark.slow
def test_behind_a_web_server(tmp_path: Path) -> None:
    """A page that reaches Jupyter through nginx reads, changes and watches."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("needs Debian's nginx: apt-get install nginx-light")
    front = free_port()
    with jupyter(tmp_path) as (_server, port):
        conf = tmp_path / "nginx.conf"
        conf.write_text(NGINX.format(port=front, behind=port))
        started = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(conf)])
        try:
            wait_until(lambda: answers(front, "api/status"))
            _use_as_a_page(front)
        finally:
            started.terminate()
            started.wait(PATIENCE_S)


def _use_as_a_page(port: int) -> None:
    """Log in, launch with the XSRF token, and watch the list by WebSocket."""
    own = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=f"{own}{BASE_URL}", timeout=PATIENCE_S) as page:
        page.get("login")
        page.get("api/status", params={"token": TOKEN})
        cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
        socket = connect(
            f"ws://127.0.0.1:{port}{BASE_URL}flip/v1/live?after=-1",
            additional_headers={"Cookie": cookies},
            origin=Origin(own),
            open_timeout=PATIENCE_S,
        )
        with socket:
            asked = {"Origin": own, "X-XSRFToken": page.cookies["_xsrf"]}
            launch = {"scenario": "hospitals", "overrides": {"train.num_rounds": 1}}
            refused = page.post("flip/v1/runs", json=launch)
            assert refused.status_code == 403
            made = page.post("flip/v1/runs", json=launch, headers=asked)
            assert made.status_code == 201, made.text
            place = made.url.join(made.headers["Location"])
            assert place.path.startswith("/user/jürgen/flip/v1/runs/")
            seen = socket.recv(timeout=PATIENCE_S)
            while made.json()["run_id"] not in str(seen):
                seen = socket.recv(timeout=PATIENCE_S)
        assert page.get(place).json()["run_id"] == made.json()["run_id"]
        big = page.post("flip/v1/runs", content=b" " * 2**21, headers=asked)
        assert (big.status_code, big.json()["code"]) == (413, "FLIP-707")
