"""In a real JupyterLab: a run steered from its widget, from the form to the comparison."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from flip_lab import Lab
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run

pytestmark = pytest.mark.browser
_log = logging.getLogger(__name__)

PATIENCE_S = 180  # shared machines are slow at times
AUTHOR = "researcher"
ENDLESS = 1_000_000  # rounds: a run that is stopped, however fast the machine
PASSING_S = 0.5  # who has just passed the gate begins within this
LAUNCH = f"""
from flip_lab import Lab, watch

run = Lab().launch("hospitals", overrides={{"num_rounds": {ENDLESS}, "local_epochs": 5}})
watch(run)
"""
SLEEP = """
import time
from pathlib import Path

while not Path("awake").exists():
    time.sleep(0.1)
print("slept:", run.state.value)
"""
FILLED_IN = {
    "Number of rounds": str(ENDLESS),
    "Local epochs": "1",
    "Learning rate": "0.01",
}
FORM = """
from flip_lab import Comparer, Lab, Launcher

lab = Lab()
launcher = Launcher(lab, "digits-dirichlet")
launcher
"""
BOTH = """
Comparer(lab, lab.family(launcher.run))
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

# Keeps when the monitor showed which state, in seconds since 1970.
RECORD = """
() => {
  window.statesSeen = [];
  const note = ({ target }) => {
    if (!target.matches(".flip-monitor")) return;
    window.statesSeen.push([target.dataset.state, Date.now() / 1000]);
  };
  new MutationObserver((records) => records.forEach(note)).observe(
    document.body, { subtree: true, attributeFilter: ["data-state"] },
  );
}
"""


@pytest.fixture
def page(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    chromium: Browser,
    serve_notebook: Callable[..., AbstractContextManager[str]],
) -> Iterator[Page]:
    """Open a notebook of the cells that the test asks for; leave no run going."""
    lab_path = tmp_path / ".flip-lab"
    variables = {"FLIP_LAB_HOME": str(lab_path), "LOGNAME": AUTHOR}
    with (
        serve_notebook(tmp_path, request.param, environment=variables) as url,
        chromium.new_context(viewport={"width": 1280, "height": 1200}) as context,
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


def show_state(view: Locator, state: str) -> None:
    """Wait until the monitor shows a state."""
    expect(view).to_have_attribute("data-state", state, timeout=PATIENCE_S * 1000)


def round_shown(view: Locator) -> int:
    """Read the round that the monitor shows; 0 before the first."""
    found = re.search(r"\d+", view.locator(".flip-round").inner_text())
    return int(found.group()) if found else 0


def wait_for(page: Page, happened: Callable[[], bool]) -> None:
    """Wait until something has happened; the page goes on meanwhile."""
    end_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end_s
        page.wait_for_timeout(100)


def entry(run: Run, state: RunState) -> RunEvent:
    """Give the event by which a run last entered a state."""
    moves = [event for event in run.events() if event.kind is EventKind.STATE]
    return [event for event in moves if event.body["state"] == state.value][-1]


def entered(run: Run, state: RunState) -> float:
    """Tell when a run last entered a state, in seconds since 1970."""
    return entry(run, state).time_s


def rounds_begun(run: Run, *, before: RunEvent | None = None) -> int:
    """Count the rounds that have begun, in all or before an event."""
    begun = [each for each in run.events() if each.kind is EventKind.ROUND_STARTED]
    return sum(before is None or each.sequence < before.sequence for each in begun)


def started_between(run: Run, first_s: float, last_s: float) -> list[float]:
    """Tell when clients began in a span, in seconds since 1970."""
    facts = [event.body for event in run.events() if event.kind is EventKind.CLIENT]
    starts = [float(str(body["started_s"])) for body in facts]
    return [start_s for start_s in starts if first_s < start_s < last_s]


def tell_delay(view: Locator, run: Run, state: RunState) -> None:
    """Log how long after its event the monitor showed a state; a second is promised."""
    seen = view.page.evaluate("window.statesSeen")
    late_s = [at for name, at in seen if name == state.value][-1] - entered(run, state)
    _log.info("%s: on the page %.0f ms after its event", state.value, 1000 * late_s)


def launch(page: Page, picture: Path) -> Locator:
    """Launch from the form, far too small steps; give the monitor below it."""
    page.evaluate(RUN_CELL, 0)
    form = page.locator(".flip-launcher")
    for label, value in FILLED_IN.items():
        form.get_by_label(label, exact=True).fill(value)
    expect(form.locator(".flip-python code")).to_contain_text("0.01")
    page.screenshot(path=picture)
    form.get_by_role("button", name="Launch", exact=True).click()
    return page.locator(".flip-monitor")


def see_curves_move(view: Locator) -> None:
    """Wait for two rounds, and see that their curve grows."""
    show_state(view, "running")
    wait_for(view.page, lambda: round_shown(view) >= 2)
    curve = view.locator(".flip-tile .flip-line-path").first
    before = curve.get_attribute("d")
    assert before is not None
    expect(curve).not_to_have_attribute("d", before, timeout=PATIENCE_S * 1000)


def pause(view: Locator, run: Run) -> int:
    """Pause, and see that no round begins any more; give the round."""
    view.get_by_role("button", name="Pause", exact=True).click()
    show_state(view, "paused")
    view.page.wait_for_timeout(1500)  # time for rounds that must not begin
    begun = rounds_begun(run)
    last = rounds_begun(run, before=entry(run, RunState.PAUSED))
    assert begun - last in {0, 1}, "at most the one that was about to begin"
    wait_for(view.page, lambda: round_shown(view) == begun)
    assert run.state is RunState.PAUSED
    return begun


def set_rate(view: Locator, run: Run, rate: str, picture: Path) -> None:
    """Change the learning rate in the form of settings; it is on record, not in force."""
    before = run.settings["learning_rate"]
    view.get_by_role("button", name="Set …").click()
    form = view.get_by_role("form", name="Change settings")
    form.get_by_label("learning_rate").fill(rate)
    view.screenshot(path=picture)
    form.get_by_role("button", name="Set", exact=True).click()
    expect(form.get_by_label("learning_rate")).not_to_have_value(rate)
    asked = run.commands().iloc[-1]
    assert (asked["command"], asked["author"]) == ("set", AUTHOR)
    assert asked["from_round"] == rounds_begun(run) + 1, "no round has begun since"
    assert run.settings["learning_rate"] == before


def fill_in_rate_and_deadline(view: Locator, picture: Path) -> None:
    """Put two values into the form of settings, the second one wrong at first."""
    form = view.get_by_role("form", name="Change settings")
    form.get_by_label("learning_rate").fill("0.001")
    form.get_by_label("deadline_s").fill("soon")
    expect(form.get_by_text("a number, or nothing for no limit")).to_be_visible()
    form.get_by_label("deadline_s").fill("90")
    expect(form.locator("code")).to_have_text(
        "run.set(learning_rate=0.001); run.set_policy(deadline_s=90)"
    )
    form.screenshot(path=picture)


def stop(view: Locator) -> None:
    """Stop the run, which takes two presses."""
    view.get_by_role("button", name="Stop …").click()
    view.get_by_role("button", name="Stop the run", exact=True).click()
    show_state(view, "stopped")


def fork(view: Locator, run: Run, picture: Path) -> Run:
    """Fork with fewer nodes a round from the newest checkpoint; give the fork."""
    view.get_by_role("button", name="Fork …").click()
    form = view.get_by_role("form", name="Fork the run")
    form.get_by_label("fraction_train").fill("0.3")
    form.get_by_role("button", name="Fork", exact=True).click()
    told = form.locator(".flip-forked code")
    told.wait_for()
    view.screenshot(path=picture)
    [found] = run.forks
    expect(told).to_have_text(f'watch(lab.run("{found.run_id}"))')
    return found


@pytest.mark.parametrize("page", [(FORM, BOTH)], indirect=True)
def test_a_run_is_steered_from_the_form_to_the_comparison(
    tmp_path: Path, page: Page
) -> None:
    """Launch, watch, pause, set, resume, fork, stop and compare, by hand alone."""
    page.evaluate(RECORD)
    view = launch(page, tmp_path / "launch.png")
    see_curves_move(view)
    run = under_way(tmp_path)
    begun = pause(view, run)
    paused_s = entered(run, RunState.PAUSED)
    tell_delay(view, run, RunState.PAUSED)
    set_rate(view, run, "0.3", tmp_path / "paused.png")
    view.get_by_role("button", name="Resume", exact=True).click()
    show_state(view, "running")
    tell_delay(view, run, RunState.RUNNING)
    wait_for(page, lambda: round_shown(view) >= begun + 3)
    resumed_s = entered(run, RunState.RUNNING)
    assert started_between(run, paused_s + PASSING_S, resumed_s) == []
    rates = run.settings_by_round()["train.learning_rate"]
    assert rates.tolist() == pytest.approx([0.01, 0.3])
    assert rates.index[-1] == begun + 1
    expect(view.locator(".flip-sign").first).to_be_attached()

    other = fork(view, run, tmp_path / "fork.png")
    stop(view)
    wait_for(page, lambda: rounds_begun(other) >= 8)
    assert other.settings["fraction_train"] == pytest.approx(0.3)
    assert other.settings["learning_rate"] == pytest.approx(0.3), "as set by then"

    page.evaluate(RUN_CELL, 1)
    both = page.locator(".flip-comparer")
    both.locator(".flip-trunk").first.wait_for(state="attached")
    expect(both.locator(".flip-title")).to_have_text("2 runs compared")
    expect(both.locator(".flip-forks")).to_contain_text("fraction_train not set → 0.3")
    both.screenshot(path=tmp_path / "both.png")


@pytest.mark.parametrize("page", [(LAUNCH, SLEEP)], indirect=True)
def test_a_pause_holds_before_the_running_cell_ends(tmp_path: Path, page: Page) -> None:
    """Paused, set and resumed from the page while the kernel's main thread sleeps."""
    page.evaluate(RUN_CELL, 0)
    view = page.locator(".flip-monitor")
    show_state(view, "running")
    expect(view.locator(".flip-tile")).not_to_have_count(0)
    page.evaluate(RUN_CELL, 1)
    prompt = page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt")
    expect(prompt).to_have_text("[*]:")

    view.get_by_role("button", name="Pause", exact=True).click()
    show_state(view, "paused")
    run = under_way(tmp_path)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    expect(view.locator(".flip-why")).to_have_text(f"by {AUTHOR}")

    view.get_by_role("button", name="Set …").click()
    fill_in_rate_and_deadline(view, tmp_path / "policy.png")
    view.get_by_role("button", name="Set", exact=True).click()
    sign = view.locator(".flip-sign").first
    expect(view.get_by_role("button", name="Set", exact=True)).to_have_attribute(
        "aria-disabled", "true"
    )
    view.get_by_role("button", name="Resume", exact=True).click()
    show_state(view, "running")
    expect(sign).to_be_visible()
    wait_for(page, lambda: run.settings["learning_rate"] == pytest.approx(0.001))
    wait_for(page, lambda: run.policy == RoundPolicy(deadline_s=90))
    assert prompt.inner_text() == "[*]:", "all of it while the cell ran"
    (tmp_path / "work" / "awake").touch()
    expect(page.locator(".jp-CodeCell").nth(1)).to_contain_text("slept: running")
    stop(view)
