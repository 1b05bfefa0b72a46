"""One browser for all tests, and JupyterLab as a user has it after installation."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, sync_playwright

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
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start Debian's chromium without a window, once for all tests."""
    path = shutil.which("chromium")  # tests are skipped where there is none
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


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
    with _serve_jupyter(home, environment=environment) as address:
        yield str(address.copy_with(path="/doc/tree/nb.ipynb")) + "&reset"


@pytest.fixture(scope="session")
def serve_jupyter() -> Callable[..., AbstractContextManager[httpx.URL]]:
    """Give what serves JupyterLab, see ``_serve_jupyter``."""
    return _serve_jupyter


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
        environment: More variables for the server and its kernels.

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
                **os.environ,
                "JUPYTER_CONFIG_DIR": str(home / "config"),
                "JUPYTER_DATA_DIR": str(home / "data"),
                "JUPYTER_RUNTIME_DIR": runtime,  # short: sockets have short names
                "IPYTHONDIR": str(home / "ipython"),
                **(environment or {}),
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
