"""One browser for all tests, and JupyterLab as a user has it after installation."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, expect, sync_playwright

from flip_lab.boards.scripts import BOARDS, script, style

PATIENCE_S = 180  # shared machines are slow at times
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHARED = (
    "etc/jupyter/jupyter_server_config.d",
    "share/jupyter",
    "share/jupyter/labextensions",
)
"""Where packages leave what Jupyter finds by the environment's directory."""

NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start Debian's chromium without a window, once for all tests."""
    path = shutil.which("chromium")  # tests are skipped where there is none
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=FLAGS, timeout=PATIENCE_S * 1000
        )
        yield started
        started.close()


class _BoardFiles(BaseHTTPRequestHandler):
    """Serves ``/<board>.js`` and ``/<board>.css``, as the API does; says nothing."""

    def do_GET(self) -> None:
        """Give a script or a style sheet."""
        board, _, kind = self.path.lstrip("/").partition(".")
        if board not in BOARDS or kind not in {"js", "css"}:
            self.send_error(404)
            return
        body = (script(board) if kind == "js" else style(board)).encode()
        self.send_response(200)
        self.send_header("Content-Type", f"text/{'javascript' if kind == 'js' else 'css'}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Keep the test's output clean."""
        del format, args


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the boards' files on this machine only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BoardFiles)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def serve_notebook() -> Serve:
    """Give what serves a notebook, see ``_serve_notebook``."""
    return _serve_notebook


@contextmanager
def _serve_notebook(
    home: Path, cells: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> Generator[str]:
    """Start JupyterLab on a notebook with these cells; end it and its kernels afterwards.

    Args:
        home: A directory of the test's own; the notebook lies in ``home/work``.
        cells: The notebook's code.
        environment: More variables for the server and its kernels.

    Yields:
        The address of the notebook alone on its page, token included.
    """
    (home / "work").mkdir(exist_ok=True)
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(
        cells=[new_code_cell(text.strip()) for text in cells],
        metadata={"kernelspec": spec},
    )
    nbformat.write(notebook, home / "work" / "nb.ipynb")
    variables = {**os.environ, **(environment or {})}
    with _serve_jupyter(home, environment=variables) as address:
        yield str(address.copy_with(path="/doc/tree/nb.ipynb")) + "&reset"


@pytest.fixture(scope="session")
def serve_jupyter() -> Callable[..., AbstractContextManager[httpx.URL]]:
    """Give what serves JupyterLab, see ``_serve_jupyter``."""
    return _serve_jupyter


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it as a user does; give the environment's directory.

    The environment is new, but sees the packages of this one: they stand for those that
    pip would fetch. There is no Node in it, and none is asked for.
    """
    home = tmp_path_factory.mktemp("installed")
    checkout = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(home)]
    subprocess.run(build, cwd=checkout, env=without_node(home), check=True)
    [wheel] = home.glob("*.whl")
    environment = home / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = Path(sysconfig.get_path("purelib"))
    inside = environment / "lib" / packages.parent.name / "site-packages"
    (inside / "others.pth").write_text(f"{packages}\n")  # after its own
    for kind in SHARED:
        (environment / kind).mkdir(parents=True)
        for theirs in (Path(sys.prefix) / kind).iterdir():
            if theirs.name not in {"flip-lab", "flip-lab.json", "labextensions"}:
                (environment / kind / theirs.name).symlink_to(theirs)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], env=without_node(home), check=True)
    return environment


def without_node(home: Path) -> dict[str, str]:
    """Give this environment's variables, with a PATH that holds no Node."""
    path = str(home / "environment" / "bin")
    assert shutil.which("node", path=path) is None
    gone = {"PYTHONPATH", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH"}
    return {name: value for name, value in os.environ.items() if name not in gone} | {
        "PATH": path
    }


@pytest.fixture(scope="session")
def jupyterlab(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.URL, Path]]:
    """Serve the installed JupyterLab, once; give its address and its root directory."""
    home = tmp_path_factory.mktemp("jupyterlab")
    python = str(installed / "bin" / "python")
    variables = without_node(installed.parent)
    options = ["--JupyterNotebookApp.expose_app_in_browser=True"]  # Notebook 7 beside it
    with _serve_jupyter(
        home, python=python, options=options, environment=variables
    ) as address:
        yield address, home / "work"


@contextmanager
def _serve_jupyter(
    home: Path,
    *,
    python: str = sys.executable,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Generator[httpx.URL]:
    """Start JupyterLab in ``home/work``; end it and its kernels afterwards.

    Args:
        home: A directory of the test's own.
        python: The interpreter of the environment that JupyterLab is installed in.
        options: More of JupyterLab's options.
        environment: The variables of the server and its kernels; default: ours.

    Yields:
        The server's address, token included.
    """
    (home / "work").mkdir(exist_ok=True)
    (home / "config" / "labconfig").mkdir(parents=True, exist_ok=True)
    overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(NO_NEWS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    with TemporaryDirectory(prefix="flip-") as runtime, (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [python, "-m", "jupyterlab", "--no-browser", "--allow-root"]
            + [f"--ServerApp.{option}" for option in ("ip=127.0.0.1", f"port={port}")]
            + ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
            + ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
            + ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
            + ["--KernelManager.transport=ipc"]  # as our demo: nothing over TCP
            + list(options),
            cwd=home / "work",
            env={
                **(os.environ if environment is None else environment),
                "JUPYTER_CONFIG_DIR": str(home / "config"),
                "JUPYTER_DATA_DIR": str(home / "data"),
                "JUPYTER_RUNTIME_DIR": runtime,  # short: sockets have short names
                "IPYTHONDIR": str(home / "ipython"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for_server(server, port, token, home / "log")
            yield httpx.URL(f"http://127.0.0.1:{port}/", params={"token": token})
        finally:
            server.terminate()  # it ends its kernels
            server.wait(timeout=PATIENCE_S)


def _wait_for_server(
    server: subprocess.Popen[bytes], port: int, token: str, log: Path
) -> None:
    """Wait until JupyterLab answers; fail with its last words when it ends instead."""
    end = time.monotonic() + PATIENCE_S
    headers = {"Authorization": f"token {token}"}
    while time.monotonic() < end and server.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/status", headers=headers)
        except httpx.TransportError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
