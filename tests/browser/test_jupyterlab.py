"""The whole product as a researcher meets it: our wheel in JupyterLab, without Node.

With ``FLIP_LAB_PICTURES=docs/images`` the pictures of the handbook are taken on the way.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from flip_lab import Lab
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
ROUNDS = "3000"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
EXECUTE = """
async ([id, args]) => { await window.jupyterapp.commands.execute(id, args); }
"""


@pytest.fixture
def opened(
    jupyterlab: tuple[httpx.URL, Path], chromium: Browser
) -> Iterator[tuple[Page, Lab]]:
    """Open JupyterLab as new; at the end nothing has failed or left this machine."""
    address, root = jupyterlab
    lab = Lab(root / ".flip-lab")
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        asked: list[str] = []
        failed: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(f"{address.copy_with(path='/lab')}&reset", wait_until="domcontentloaded")
        page.locator(".jp-LauncherCard").first.wait_for()
        try:
            yield page, lab
        finally:
            for run in map(lab.run, lab.runs()["run_id"]):
                run.stop()
                run.wait()
    own = f"http://{address.netloc.decode()}/"
    strangers = [url for url in asked if not url.startswith((own, "data:", "blob:"))]
    assert asked
    assert not strangers
    assert not failed


def execute(page: Page, command: str, **arguments: object) -> None:
    """Execute one of JupyterLab's commands."""
    page.evaluate(EXECUTE, [command, arguments])


def picture(page: Page, name: str) -> None:
    """Take a picture for the handbook, light and dark, when somebody asks for them."""
    folder = os.environ.get("FLIP_LAB_PICTURES")
    if folder is None:
        return
    for theme, name_of_theme in reversed(THEMES.items()):  # ends as it began
        execute(page, "apputils:change-theme", theme=name_of_theme)
        page.wait_for_timeout(3000)
        page.screenshot(path=Path(folder) / f"lab-{name}-{theme}.png")


def wait_for(page: Page, happened: Callable[[], bool]) -> None:
    """Wait until something has happened; the page goes on meanwhile."""
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s
        page.wait_for_timeout(100)


def show_state(view: Locator, state: str) -> None:
    """Wait until the run's view shows a state."""
    expect(view).to_have_attribute("data-state", state, timeout=PATIENCE_S * 1000)


def round_shown(view: Locator) -> int:
    """Read the round that the view shows; 0 before the first."""
    found = re.search(r"\d+", view.locator(".flip-round").inner_text())
    return int(found.group()) if found else 0


def replies_of(run: Run) -> int:
    """Count the replies on record."""
    return sum(event.kind is EventKind.CLIENT for event in run.events())


def replies_shown(view: Locator) -> int:
    """Read how many replies the view has seen."""
    found = re.search(r"([\d,]+) repl", view.inner_text())
    return int(found.group(1).replace(",", "")) if found else 0


def launch_long_run(page: Page, lab: Lab) -> tuple[Locator, Run]:
    """From the gallery to the form of a scenario, and launch many rounds of it."""
    page.keyboard.press("Alt+Shift+G")
    card = page.locator("[data-scenario='hospitals']")
    card.scroll_into_view_if_needed()
    expect(card.locator("img")).to_have_js_property("complete", value=True)
    page.locator(".jp-FlipHeader").scroll_into_view_if_needed()
    picture(page, "gallery")
    card.get_by_role("button", name="Open form").click()
    form = page.locator(".flip-launcher")
    form.get_by_label("Number of rounds", exact=True).fill(ROUNDS)
    picture(page, "form")
    form.get_by_role("button", name="Launch", exact=True).click()
    view = page.locator(".flip-monitor:visible")
    show_state(view, "running")
    return view, lab.run(lab.runs()["run_id"][0])


def kill_api(page: Page, lab: Lab) -> None:
    """Kill the process that serves the lab; Jupyter and the run go on."""
    wanted = {"flip_lab.jupyter.api_process", str(lab.path)}
    processes = psutil.process_iter(["cmdline"])
    [api] = [each for each in processes if wanted <= set(each.info["cmdline"] or ())]
    api.kill()
    wait_for(page, lambda: not api.is_running() or api.status() == "zombie")


def pause(view: Locator, run: Run) -> None:
    """Pause; the view then shows all that happened."""
    view.get_by_role("button", name="Pause", exact=True).click()
    show_state(view, "paused")
    assert run.state is RunState.PAUSED
    wait_for(view.page, lambda: replies_shown(view) == replies_of(run))


def resume(view: Locator) -> None:
    """Resume, and see the rounds go on."""
    before = round_shown(view)
    view.get_by_role("button", name="Resume", exact=True).click()
    show_state(view, "running")
    wait_for(view.page, lambda: round_shown(view) > before + 2)


def compare(page: Page, *runs: Run) -> None:
    """Choose runs in the side bar, and compare them."""
    execute(page, "flip-lab:show-sidebar")
    for run in runs:
        page.locator(f"#flip-lab-sidebar [data-run='{run.run_id}']").click(
            modifiers=["Control"]
        )
    page.get_by_role("button", name=re.compile("Compare")).click()
    comparer = page.locator(".flip-comparer:visible")
    for run in runs:
        expect(comparer).to_contain_text(run.run_id[-4:])
    picture(page, "comparer")


def test_a_working_day(opened: tuple[Page, Lab]) -> None:
    """Gallery, start, watch, killed server, pause, resume, compare, reload: still live."""
    page, lab = opened
    view, run = launch_long_run(page, lab)
    wait_for(page, lambda: round_shown(view) >= 3)
    picture(page, "run")
    kill_api(page, lab)
    before = round_shown(view)
    wait_for(page, lambda: round_shown(view) > before + 5)  # it is live again
    pause(view, run)
    resume(view)

    execute(page, "flip-lab:open-gallery")
    page.get_by_role("button", name="Start hospitals").click()
    second = page.locator(".flip-monitor:visible")
    show_state(second, "completed")
    other = next(each for each in lab.runs()["run_id"] if each != run.run_id)
    compare(page, run, lab.run(other))

    page.goto(page.url.replace("reset", ""), wait_until="domcontentloaded")
    execute_when_there(page, "flip-lab:open-run", run_id=run.run_id)
    again = page.locator(".flip-monitor:visible")
    show_state(again, "running")
    before = round_shown(again)
    wait_for(page, lambda: round_shown(again) > before + 2)
    pause(again, run)


def execute_when_there(page: Page, command: str, **arguments: object) -> None:
    """Execute a command once JupyterLab has come up."""
    page.wait_for_function("id => window.jupyterapp?.commands.hasCommand(id)", arg=command)
    execute(page, command, **arguments)
