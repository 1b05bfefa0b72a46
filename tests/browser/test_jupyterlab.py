"""The whole product as a researcher meets it: our wheel in JupyterLab, without Node.

With ``FLIP_LAB_PICTURES=docs/images`` the pictures of the handbook are taken on the way.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from flip_lab import Lab
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
SETTINGS = {"Number of rounds": "1000000", "Learning rate": "0.01"}  # until it is stopped
MANY = 5000
PARTS = {
    "gallery": ("flip-lab:open-gallery", ".jp-FlipCard"),
    "run": ("flip-lab:open-run", ".flip-monitor"),
    "form": ("flip-lab:open-launch-form", ".flip-launcher"),
    "models": ("flip-lab:open-models", ".jp-FlipPanel tbody"),
    "scenario": ("flip-lab:edit-scenario", ".jp-FlipForm .jp-FlipField"),
    "runs": ("flip-lab:open-runs", ".jp-FlipLab-page"),
}
"""What there is to open: the command, and what it shows."""

OURS = ("#flip-lab-sidebar", ".jp-FlipPanel", ".jp-FlipForm", ".jp-FlipLab-page")
BOARDS = (".flip-monitor", ".flip-launcher", ".flip-comparer")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
HAS_KEYS = """
() => window.jupyterapp?.commands.keyBindings
  .some(({ command }) => command === "flip-lab:open-gallery")
"""
EXECUTE = """
async ([id, args]) => { await window.jupyterapp.commands.execute(id, args); }
"""

# Scrolls to the end as fast as frames come; says how long they took.
SCROLL = """
async (list) => {
  const frames_ms = [];
  let most_rows = 0;
  let before = performance.now();
  const steps = 60;
  for (let step = 1; step <= steps; step += 1) {
    list.scrollTop = (list.scrollHeight * step) / steps;
    const now = await new Promise(requestAnimationFrame);
    frames_ms.push(now - before);
    before = now;
    most_rows = Math.max(most_rows, list.querySelectorAll("[data-run]").length);
  }
  return { frames_ms, most_rows };
}
"""
_log = logging.getLogger(__name__)


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
        page.wait_for_function(HAS_KEYS)  # cards come before an extension's keys
        page.evaluate("async () => { await window.jupyterapp.restored; }")
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


def change_theme(page: Page, theme: str) -> None:
    """Change JupyterLab's theme; the command returns before the page has it."""
    execute(page, "apputils:change-theme", theme=theme)
    page.locator(f'body[data-jp-theme-name="{theme}"]').wait_for(state="attached")


def execute_when_there(page: Page, command: str, **arguments: object) -> None:
    """Execute a command once the application and its tabs have come up."""
    page.wait_for_function("id => window.jupyterapp?.commands.hasCommand(id)", arg=command)
    page.evaluate("async () => { await window.jupyterapp.restored; }")
    execute(page, command, **arguments)


def picture(page: Page, name: str, *themes: str) -> None:
    """Take pictures for the handbook, in these or both themes, when somebody asks."""
    folder = os.environ.get("FLIP_LAB_PICTURES")
    if folder is None:
        return
    for theme in themes or ("dark", "light"):  # ends as it began
        change_theme(page, THEMES[theme])
        page.wait_for_timeout(3000)
        path = Path(folder) / f"lab-{name}-{theme}.png"
        page.screenshot(path=path, style=".Toastify { visibility: hidden; }")


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
    for label, value in SETTINGS.items():
        form.get_by_label(label, exact=True).fill(value)
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
    comparer.get_by_label("Draw", exact=True).select_option(label="single runs")
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

    page.reload(wait_until="domcontentloaded")
    execute_when_there(page, "flip-lab:open-run", run_id=run.run_id)
    again = page.locator(".flip-monitor:visible")  # one of the tabs that came back
    show_state(again, "running")
    before = round_shown(again)
    wait_for(page, lambda: round_shown(again) > before + 2)
    pause(again, run)


def violations(page: Page) -> list[str]:
    """Give what axe finds in our parts of the page that shuts somebody out."""
    include = [[part] for part in (*OURS, *BOARDS) if page.locator(part).count()]
    found = Axe().run(page, context={"include": include}).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_nobody_is_shut_out(opened: tuple[Page, Lab], theme: str) -> None:
    """Each part has names, roles and contrast, in both themes."""
    page, lab = opened
    run = lab.launch("hospitals", overrides={"train.num_rounds": 2})
    run.wait()
    lab.models.register(run, f"heart-risk-{theme}", tags=["paper"])
    change_theme(page, THEMES[theme])
    execute(page, "flip-lab:show-sidebar")
    page.locator(f"#flip-lab-sidebar [data-run='{run.run_id}']").click()
    found = violations(page)
    for part, (command, shown) in PARTS.items():
        execute(page, command, run_id=run.run_id, name="hospitals")
        page.locator(f"{shown}:visible").first.wait_for()
        if part in {"models", "scenario"}:
            picture(page, part, theme)
        found += violations(page)
    assert found == []


def listed_run(page: Page, run: Run) -> dict[str, Any]:
    """Give a run as the API lists it."""
    found: list[dict[str, Any]] = []

    def is_listed() -> bool:
        asked = f"{page.url.split('/lab')[0]}/flip/v1/runs?q={run.run_id}"
        answer = page.request.get(asked, timeout=PATIENCE_S * 1000)
        found[:] = answer.json()["items"]
        return bool(found)

    wait_for(page, is_listed)
    return found[0]


def many(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Give thousands of runs like one, newest first."""
    return [row | {"run_id": f"261122-000000-{MANY - number:04}"} for number in range(MANY)]


def answer_pages(page: Page, rows: list[dict[str, Any]]) -> None:
    """Let the page read these runs, a page after the other, and hear of no change."""

    def answer(route: Route) -> None:
        asked = httpx.URL(route.request.url).params
        first, size = int(asked.get("cursor", 0)), int(asked.get("limit", 100))
        following = str(first + size) if first + size < len(rows) else None
        items = rows[first : first + size]
        route.fulfill(json={"items": items, "next_cursor": following, "position": 1})

    page.route(re.compile(r"/flip/v1/runs\?"), answer)
    page.route_web_socket(re.compile(r"/flip/v1/live"), lambda _socket: None)


def test_thousands_of_runs_scroll(opened: tuple[Page, Lab]) -> None:
    """The side bar draws what can be seen; the rest costs nothing."""
    page, lab = opened
    run = lab.launch("hospitals", overrides={"train.num_rounds": 1})
    run.wait()
    answer_pages(page, many(listed_run(page, run)))
    page.reload(wait_until="domcontentloaded")
    execute_when_there(page, "flip-lab:show-sidebar")
    listed = page.locator("#flip-lab-sidebar [role='grid']")
    expect(listed).to_have_attribute("aria-rowcount", str(MANY + 1))
    told = listed.evaluate(SCROLL)
    listed.locator("[data-run='261122-000000-0001']").wait_for()
    frames = sorted(told["frames_ms"])
    _log.info(
        "%d runs: half of %d frames within %.1f ms, the slowest took %.1f ms",
        MANY,
        len(frames),
        frames[len(frames) // 2],
        frames[-1],
    )
    assert told["most_rows"] < 100


def test_notebook_has_it_too(jupyterlab: tuple[httpx.URL, Path], chromium: Browser) -> None:
    """Notebook 7 loads the same extension: the gallery opens there, too."""
    address, _root = jupyterlab
    with chromium.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(str(address.copy_with(path="/tree")), wait_until="domcontentloaded")
        execute_when_there(page, "flip-lab:open-gallery")
        page.locator("[data-scenario='hospitals']").wait_for()
