"""In a real JupyterLab: the buttons of a run's widget work while a cell runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from flip_lab import Lab
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
SLEEP_S = 30
LAUNCH = """
from flip_lab import Lab, watch

run = Lab().launch("hospitals", overrides={"num_rounds": 2000, "local_epochs": 5})
watch(run)
"""
SLEEP = f"""
import time

time.sleep({SLEEP_S})
print("slept:", run.state.value)
"""
RUN_CELL = """
(index) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  window.jupyterapp.commands.execute("notebook:run-cell");
}
"""
IS_IDLE = """
() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext
  .session?.kernel?.status === "idle"
"""


@pytest.fixture
def page(
    tmp_path: Path,
    chromium: Browser,
    serve_notebook: Callable[..., AbstractContextManager[str]],
) -> Iterator[Page]:
    """Open a notebook that launches and one that sleeps; leave no run going."""
    lab_path = tmp_path / ".flip-lab"
    with (
        serve_notebook(
            tmp_path, (LAUNCH, SLEEP), environment={"FLIP_LAB_HOME": str(lab_path)}
        ) as url,
        chromium.new_context(viewport={"width": 1280, "height": 1100}) as context,
    ):
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE_S * 1000)
        opened.goto(url, wait_until="domcontentloaded")
        opened.wait_for_function(IS_IDLE)
        try:
            yield opened
        finally:
            lab = Lab(lab_path)
            for run in map(lab.run, lab.runs()["run_id"]):
                run.stop()
                run.wait()


def under_way(tmp_path: Path) -> Run:
    """Give the handle of a second kernel on the run."""
    lab = Lab(tmp_path / ".flip-lab")
    return lab.run(lab.runs()["run_id"][0])


def test_a_pause_holds_before_the_running_cell_ends(tmp_path: Path, page: Page) -> None:
    """Paused, set and resumed from the page while the kernel's main thread sleeps."""
    page.evaluate(RUN_CELL, 0)
    view = page.locator(".flip-monitor")
    expect(view).to_have_attribute("data-state", "running", timeout=PATIENCE_S * 1000)
    expect(view.locator(".flip-tile")).not_to_have_count(0, timeout=PATIENCE_S * 1000)
    page.evaluate(RUN_CELL, 1)
    prompt = page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt")
    expect(prompt).to_have_text("[*]:")

    view.get_by_role("button", name="Pause", exact=True).click()
    expect(view).to_have_attribute("data-state", "paused", timeout=SLEEP_S * 1000)
    run = under_way(tmp_path)
    assert run.wait_until_paused(10) is RunState.PAUSED
    assert view.locator(".flip-why").inner_text().startswith("by ")

    view.get_by_role("button", name="Set …").click()
    view.get_by_role("form", name="Change settings").get_by_label("learning_rate").fill(
        "0.001"
    )
    view.get_by_role("button", name="Set", exact=True).click()
    sign = view.locator(".flip-sign").first
    expect(view.get_by_role("button", name="Set", exact=True)).to_have_attribute(
        "aria-disabled", "true"
    )
    view.get_by_role("button", name="Resume", exact=True).click()
    expect(view).to_have_attribute("data-state", "running", timeout=SLEEP_S * 1000)
    expect(sign).to_be_visible(timeout=SLEEP_S * 1000)
    assert prompt.inner_text() == "[*]:", "all of it while the cell ran"
    assert run.settings["learning_rate"] == pytest.approx(0.001)
    view.get_by_role("button", name="Stop …").click()
    view.get_by_role("button", name="Stop the run", exact=True).click()
    expect(view).to_have_attribute("data-state", "stopped", timeout=PATIENCE_S * 1000)
