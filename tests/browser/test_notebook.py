"""In a real JupyterLab and a real browser: watch a run, restart the kernel, come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from flip_lab import Lab
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
NUM_ROUNDS = 30
STEPS = 3

# Paused from the beginning: the test says when it goes on, however fast the machine.
LAUNCH = f"""
from flip_lab import Lab, watch

run = Lab().launch("hospitals", overrides={{"num_rounds": {NUM_ROUNDS}}})
run.pause()
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
  const note = () => {
    const words = document.querySelector(".flip-monitor .flip-round")?.textContent;
    if (words && words !== window.roundsSeen.at(-1)) window.roundsSeen.push(words);
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
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
def jupyter(
    tmp_path_factory: pytest.TempPathFactory,
    serve_notebook: Callable[..., AbstractContextManager[str]],
) -> Iterator[Jupyter]:
    """Serve the notebook; stop what it started."""
    home = tmp_path_factory.mktemp("jupyter")
    lab_path = home / ".flip-lab"
    variables = {"FLIP_LAB_HOME": str(lab_path)}
    cells = (LAUNCH, ANSWER, COME_BACK)
    with serve_notebook(home, cells, environment=variables) as url:
        try:
            yield Jupyter(url=url, lab_path=lab_path)
        finally:
            stop_runs(lab_path)


def stop_runs(lab_path: Path) -> None:
    """Leave no run of a failed test going."""
    lab = Lab(lab_path)
    for run in map(lab.run, lab.runs()["run_id"]):
        run.stop()
        run.wait()


@pytest.fixture(scope="module")
def page(jupyter: Jupyter, chromium: Browser) -> Iterator[Page]:
    """Open the notebook and wait for its kernel."""
    with chromium.new_context(viewport={"width": 1280, "height": 1000}) as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE_S * 1000)
        opened.goto(jupyter.url, wait_until="domcontentloaded")
        opened.wait_for_function(IS_IDLE)
        yield opened


def monitor(page: Page, cell: int) -> Locator:
    """Find the live view below a cell."""
    return page.locator(".jp-CodeCell").nth(cell).locator(".flip-monitor")


def wait_for(page: Page, happened: Callable[[], bool]) -> None:
    """Wait until something has happened; the page goes on meanwhile."""
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s
        page.wait_for_timeout(100)


def step(view: Locator, run: Run, server_round: int) -> None:
    """Let the run do one more round, and see it on the page."""
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.step()
    expect(view.locator(".flip-round")).to_have_text(f"round {server_round} / {NUM_ROUNDS}")


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
    page.evaluate(RUN_CELL, ANSWERED)
    page.get_by_text("the kernel answers", exact=True).wait_for()
    assert not run.state.is_final, "the kernel is free before the run has ended"

    for server_round in range(1, STEPS + 1):
        step(view, run, server_round)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    run.resume()
    expect(view).to_have_attribute("data-state", "completed")
    expect(view.locator(".flip-badge")).to_have_text("completed")
    seen = [words for words in page.evaluate("window.roundsSeen") if "/" in words]
    rounds = [int(words.split("/")[0].split()[-1]) for words in seen]
    assert rounds == sorted(rounds)
    assert len(set(rounds)) >= STEPS, f"the view advanced: {json.dumps(seen)}"
    assert rounds[-1] == NUM_ROUNDS

    assert run.run_id in shown(view)["code"][0]
    page.evaluate(RESTART)
    page.wait_for_function(IS_IDLE)
    page.evaluate(RUN_CELL, REATTACHED)
    again = monitor(page, REATTACHED)
    again.wait_for(state="visible")
    # curves are drawn once there is room for them, and come after the state
    wait_for(page, lambda: shown(again) == shown(view))
    assert run.outcome().num_rounds == NUM_ROUNDS
