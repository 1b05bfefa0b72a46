"""In a real JupyterLab and a real browser: watch a run, restart the kernel, come back."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, sync_playwright

from flip_lab import Lab

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
NUM_ROUNDS = 30

# More epochs make a round last long enough to be seen.
LAUNCH = f"""
from flip_lab import Lab, watch

run = Lab().launch(
    "hospitals", overrides={{"num_rounds": {NUM_ROUNDS}, "local_epochs": 10}}
)
watch(run)
"""
ANSWER = "print('the kernel answers')"
COME_BACK = """
from flip_lab import Lab, watch

again = Lab().run(Lab().runs()["run_id"][0])
watch(again)
"""
WATCHED, ANSWERED, REATTACHED = range(3)  # the cells

# Keeps every text that the live view shows for the round.
RECORD = """
() => {
  window.roundsSeen = [];
  setInterval(() => {
    const words = document.querySelector(".flip-monitor .flip-round")?.textContent;
    if (words && words !== window.roundsSeen.at(-1)) window.roundsSeen.push(words);
  }, 40);
}
"""
RUN_CELL = """
async (index) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  await window.jupyterapp.commands.execute("notebook:run-cell");
}
"""
RESTART = """
async () => {
  await window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel();
}
"""
IS_IDLE = """
() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext
  .session?.kernel?.status === "idle"
"""


@dataclass(frozen=True, kw_only=True)
class Jupyter:
    """A JupyterLab server of this module, with one notebook and one lab.

    Attributes:
        url: Of the notebook alone on its page, token included.
        lab_path: The lab that the notebook's kernel uses.
    """

    url: str
    lab_path: Path


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """Start JupyterLab as a user has it after installation; stop it and what it started."""
    home = tmp_path_factory.mktemp("jupyter")
    cells = [new_code_cell(text.strip()) for text in (LAUNCH, ANSWER, COME_BACK)]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (home / "work").mkdir()
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": spec}), home / "work" / "nb.ipynb"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    lab_path = home / ".flip-lab"
    with TemporaryDirectory(prefix="flip-") as runtime, (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
            + [f"--ServerApp.{option}" for option in ("ip=127.0.0.1", f"port={port}")]
            + ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
            + ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
            + ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
            + ["--KernelManager.transport=ipc"],  # as our demo: nothing over TCP
            cwd=home / "work",
            env={
                **os.environ,
                "FLIP_LAB_HOME": str(lab_path),
                "JUPYTER_CONFIG_DIR": str(home / "config"),
                "JUPYTER_DATA_DIR": str(home / "data"),
                "JUPYTER_RUNTIME_DIR": runtime,  # short: sockets have short names
                "IPYTHONDIR": str(home / "ipython"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_server(server, port, token, home / "log")
            url = f"http://127.0.0.1:{port}/doc/tree/nb.ipynb?token={token}&reset"
            yield Jupyter(url=url, lab_path=lab_path)
        finally:
            stop_runs(lab_path)
            server.terminate()  # it ends its kernels
            server.wait(timeout=PATIENCE_S)


def wait_for_server(
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


def stop_runs(lab_path: Path) -> None:
    """Leave no run of a failed test going."""
    lab = Lab(lab_path)
    for run in map(lab.run, lab.runs()["run_id"]):
        run.stop()
        run.wait()


@pytest.fixture(scope="module")
def page(jupyter: Jupyter) -> Iterator[Page]:
    """Open the notebook in Debian's chromium and wait for its kernel."""
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    quiet = "--disable-background-networking --disable-component-update"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            headless=True,
            args=[*flags.split(), *quiet.split()],
        )
        opened = browser.new_page(viewport={"width": 1280, "height": 1000})
        opened.set_default_timeout(PATIENCE_S * 1000)
        opened.goto(jupyter.url, wait_until="domcontentloaded")
        opened.wait_for_function(IS_IDLE)
        yield opened
        browser.close()


def monitor(page: Page, cell: int) -> Locator:
    """Find the live view below a cell."""
    return page.locator(".jp-CodeCell").nth(cell).locator(".flip-monitor")


def shown(view: Locator) -> dict[str, list[str]]:
    """Read what a view says about a run that has ended."""
    parts = (
        ".flip-name",
        "code",
        ".flip-badge",
        ".flip-round",
        ".flip-tile",
        ".flip-totals",
    )
    return {part: view.locator(part).all_inner_texts() for part in parts}


def test_watches_live_and_comes_back_after_a_restart(jupyter: Jupyter, page: Page) -> None:
    """The view advances while the kernel is free, ends completed, and can be had again."""
    page.evaluate(RECORD)
    page.evaluate(RUN_CELL, WATCHED)
    view = monitor(page, WATCHED)
    view.wait_for(state="visible")
    run = Lab(jupyter.lab_path).run(Lab(jupyter.lab_path).runs()["run_id"][0])
    assert not run.state.is_final, "the cell returned before the run ended"

    page.evaluate(RUN_CELL, ANSWERED)
    page.get_by_text("the kernel answers", exact=True).wait_for()
    assert not run.state.is_final, "and the kernel was free in the meantime"

    page.locator('.flip-monitor[data-state="completed"]').wait_for()
    assert view.locator(".flip-badge").inner_text() == "completed"
    seen = [words for words in page.evaluate("window.roundsSeen") if "/" in words]
    rounds = [int(words.split("/")[0].split()[-1]) for words in seen]
    assert rounds == sorted(rounds)
    assert len(set(rounds)) >= 3, f"the view advanced: {json.dumps(seen)}"
    assert rounds[-1] == NUM_ROUNDS

    before = shown(view)
    assert run.run_id in before["code"][0]
    page.evaluate(RESTART)
    page.wait_for_function(IS_IDLE)
    page.evaluate(RUN_CELL, REATTACHED)
    again = monitor(page, REATTACHED)
    again.wait_for(state="visible")
    assert shown(again) == before, "another kernel shows the same run"
    assert run.outcome().num_rounds == NUM_ROUNDS
