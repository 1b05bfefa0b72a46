"""The launch form in a real browser, with the real Python behind a fake anywidget model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from flip_lab.boards.launcher.board import LauncherBoard
from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.faces import card_html
from flip_lab.boards.launcher.source import source_of
from flip_lab.core.errors import EngineStartError
from flip_lab.runs.run import Run
from flip_lab.widgets.launcher_widget import LaunchForm
from flip_lab.widgets.line import TARGET

pytestmark = pytest.mark.browser

APP = Path(__file__).parents[1] / "integration" / "apps" / "stateful"
NAME = "digits-dirichlet"
PATIENCE_MS = 180_000  # shared machines are slow at times
PAUSE_MS = 1_000  # longer than the form waits after a key or a launch
TRAITS = ("key", "form", "verdict", "launched", "shown")
PAGE = """<!doctype html><meta charset="utf-8"><title>launcher</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/launcher.css">
<body data-jp-theme-light="%s"><div id="view"></div><div id="card"></div>
<script type="module">
  import widget, { stepped } from "/launcher.js";
  const handlers = new Map();
  const told = (event, ...facts) => {
    for (const each of [...(handlers.get(event) ?? [])]) each(...facts);
  };
  const of = (event) => handlers.get(event) ?? handlers.set(event, new Set()).get(event);
  window.stepped = stepped;
  window.state = %s;
  window.sent = [];
  window.stolen = [];
  document.addEventListener("keydown", (event) => window.stolen.push(event.key));
  const model = {
    widget_manager: { kernel: window.kernel },
    get: (name) => window.state[name],
    on: (event, handler) => of(event).add(handler),
    off: (event, handler) => handlers.get(event)?.delete(handler),
    send: (message) => {
      window.sent.push(message);
      window.python(JSON.stringify(message)).then((text) => window.take(JSON.parse(text)));
    },
  };
  window.take = ({ state, answer }) => {
    const text = (name, of) => JSON.stringify(of[name]);
    const isNew = (name) => text(name, state) !== text(name, window.state);
    const news = Object.keys(state).filter(isNew);
    Object.assign(window.state, state);
    for (const name of news) told(`change:${name}`);
    if (answer) told("msg:custom", answer);
  };
  window.listeners = () => [...handlers.values()].reduce((sum, each) => sum + each.size, 0);
  window.leave = widget.render({ model, el: document.getElementById("view") });
</script>"""

# A kernel with a subshell, which answers while a cell runs.
KERNEL = """
window.comms = [];
window.kernel = {
  info: Promise.resolve({}),
  supportsSubshells: true,
  createComm: (target) => {
    const say = (data) => comm.onMsg({ content: { data } });
    const comm = {
      target, isDisposed: false, subshellStarted: Promise.resolve(),
      open: (data) => { comm.opened = data; setTimeout(() => say({ ready: true }), 5); },
      send: (message) => window.subshell(JSON.stringify(message)).then((text) => {
        const { state, answer } = JSON.parse(text);
        window.take({ state });
        say(answer);
      }),
      close: () => { comm.isDisposed = true; },
    };
    window.comms.push(comm);
    return comm;
  },
};
"""


class Desk:
    """The form on a page, and what it launched."""

    def __init__(self, browser: BrowserContext, site: str) -> None:
        """Take what a page needs; ``open`` opens it."""
        self.browser, self.site = browser, site
        self.launched: list[Call] = []
        self.errors: list[str] = []
        self.fails: Exception | None = None
        self.holds = False  # whether the kernel is busy with a cell
        self.waiting: list[str] = []

    def open(self, what: str = NAME, *, dark: bool = False, width: int = 1000) -> Page:
        """Show the form."""
        shown: list[str] = []
        self.form = LaunchForm(
            LauncherBoard(source_of(what), start=self._start, show=shown.append)
        )
        self.page = self.browser.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.expose_function("python", self._python)
        self.page.expose_function("subshell", self._answer)
        state = json.dumps(self._state()).replace("<", "\\u003c")
        html = PAGE % (str(not dark).lower(), state)
        self.page.route(
            f"{self.site}/page",
            lambda route: route.fulfill(body=html, content_type="text/html"),
        )
        self.page.goto(f"{self.site}/page")
        self.page.wait_for_selector(".flip-launcher fieldset")
        return self.page

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self.form, name) for name in TRAITS}

    def _start(self, call: Call) -> Run:
        if self.fails:
            raise self.fails
        self.launched.append(call)
        return cast("Run", SimpleNamespace(run_id=f"261122-06-{len(self.launched)}"))

    def _python(self, message: str) -> str:
        if self.holds:
            self.waiting.append(message)
            return json.dumps({"state": {}})
        return self._answer(message)

    def _answer(self, message: str) -> str:
        answer = self.form.answer(json.loads(message))
        return json.dumps({"state": self._state(), "answer": answer})

    def stop_clock(self) -> None:
        """Let time stand still on the page, so that keys and clicks come in a row."""
        self.page.clock.install()
        self.page.clock.pause_at(datetime.now(UTC) + timedelta(days=1))

    def launches_sent(self) -> int:
        """Count the wishes to launch that the page has sent."""
        wishes = "window.sent.filter(({ ask }) => ask === 'launch')"
        return int(self.page.evaluate(f"{wishes}.length"))

    def release(self) -> None:
        """Let the kernel answer what came while it was busy."""
        self.holds = False
        for message in self.waiting:
            told = json.loads(self._python(message))
            self.page.evaluate("(told) => window.take(told)", told)
        self.waiting = []

    def field(self, label: str) -> Locator:
        """Find a field by what it is called."""
        return self.page.get_by_label(label, exact=True)

    def python(self) -> Locator:
        """Find the line of Python."""
        return self.page.locator(".flip-python code")

    def button(self) -> Locator:
        """Find the button that launches."""
        return self.page.locator(".flip-launch")


@pytest.fixture
def desk(chromium: Browser, site: str) -> Iterator[Desk]:
    """Give a form in a fresh profile; no page may raise."""
    context = chromium.new_context()
    desk = Desk(context, site)
    yield desk
    context.close()
    desk.form.close()
    assert desk.errors == []


def test_what_is_typed_is_judged_and_written_in_python(desk: Desk) -> None:
    """The error stands beside the field and is told with it; the Python follows."""
    desk.open()
    expect(desk.python()).to_have_text('lab.launch("digits-dirichlet")')
    rate = desk.field("Learning rate")
    rate.fill("abc")
    expect(rate).to_have_attribute("aria-invalid", "true")
    told = (rate.get_attribute("aria-describedby") or "").split()
    words = [desk.page.locator(f"[id='{each}']").inner_text() for each in told]
    assert words[0] == "FLIP-103 train.learning_rate is 'abc'. Set it to a number > 0."
    assert words[-1] == "Step size of plain SGD, no unit."
    expect(desk.page.locator(".flip-status")).to_have_text("1 value needs to be corrected.")
    rate.fill("0.1")
    expect(rate).to_have_attribute("aria-invalid", "false")
    call = 'lab.launch("digits-dirichlet", overrides={"train.learning_rate": 0.1})'
    expect(desk.python()).to_have_text(call)
    chip = desk.page.locator(".flip-chip")
    expect(chip).to_have_text("Learning rate: 0.3 → 0.1")
    desk.page.get_by_role("button", name="Reset Learning rate: was 0.3").click()
    expect(rate).to_have_value("0.3")
    expect(rate).to_be_focused()
    expect(chip).to_have_count(0)
    expect(desk.python()).to_have_text('lab.launch("digits-dirichlet")')


def test_typing_sends_little_and_seldom(desk: Desk) -> None:
    """Keys in a row are one message of what was changed, not one for each key."""
    page = desk.open()
    desk.stop_clock()
    desk.field("Note").press_sequentially("a longer note")
    assert page.evaluate("window.sent") == []
    page.clock.run_for(PAUSE_MS)
    expect(desk.python()).to_contain_text("a longer note")
    [sent] = page.evaluate("window.sent")
    assert len(json.dumps(sent)) < 300


def test_options_come_and_go_with_the_name(desk: Desk) -> None:
    """What was put in elsewhere stays, and so does the focus."""
    desk.open()
    desk.field("Learning rate").fill("0.1")
    desk.field("Strategy").select_option("FedProx")
    expect(desk.field("Proximal mu")).to_have_value("0.0")
    desk.field("Proximal mu").fill("0.5")
    desk.field("Partitioner").focus()
    desk.field("Partitioner").select_option("shard")
    expect(desk.field("Alpha")).to_have_count(0)
    expect(desk.field("Partitioner")).to_be_focused()
    desk.field("Shard size").fill("20")
    expect(desk.python()).to_contain_text('"data.options": {"shard_size": 20}')
    text = desk.python().inner_text()
    assert '"strategy.options.proximal_mu": 0.5' in text
    assert '"train.learning_rate": 0.1' in text
    desk.page.get_by_role("button", name="Reset all").click()
    expect(desk.python()).to_have_text('lab.launch("digits-dirichlet")')
    expect(desk.field("Alpha")).to_have_value("0.3")
    expect(desk.field("Proximal mu")).to_have_count(0)


def test_ranges_and_defaults_follow_other_fields(desk: Desk) -> None:
    """With four nodes a strategy can wait for four; who types there keeps his field."""
    desk.open()
    desk.field("Number of partitions").fill("4")
    expect(desk.field("Min available nodes")).to_have_value("4")
    expect(desk.field("Min train nodes")).to_have_attribute("aria-valuemax", "4")
    expect(desk.field("Number of partitions")).to_be_focused()


def test_a_hub_brings_fields_of_its_own(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes part, when rounds close, who drives; with an engine they go."""
    hub = '[federations.north]\naddress = "127.0.0.1:1"\ntoken = "t"\n'
    (tmp_path / "flip-lab.toml").write_text(hub)
    monkeypatch.chdir(tmp_path)
    desk.open("hospitals")
    place = desk.field("Engine or federation")
    expect(desk.field("Quorum")).to_have_count(0)
    place.select_option("north")
    expect(desk.field("Nodes")).to_have_attribute("placeholder", "all")
    desk.field("Nodes").fill("eu and not slow")
    desk.field("Deadline of a round").fill("60")
    desk.field("Quorum").fill("1.0")
    desk.field("Run on the hub").check()
    expect(desk.python()).to_contain_text('detach="hub"')
    text = desk.python().inner_text()
    assert text.startswith("from flip_lab import RoundPolicy\n\nlab.launch(")
    assert "policy=RoundPolicy(deadline_s=60.0, quorum=1.0)" in text
    desk.field("Over-selection").fill("11")
    expect(desk.field("Over-selection")).to_have_attribute("aria-invalid", "true")
    desk.field("Over-selection").fill("0.3")
    desk.button().click()
    expect(desk.page.locator(".flip-status")).to_contain_text("this machine may leave")
    expect(desk.page.locator(".flip-launched")).to_be_hidden()
    assert desk.launched[0].in_order()["policy"].over_selection == 0.3
    place.select_option("auto")
    expect(desk.field("Quorum")).to_have_count(0)
    expect(desk.python()).to_have_text('lab.launch("hospitals")')


def test_a_double_click_launches_one_run(desk: Desk) -> None:
    """Also when the first click was answered before the second one, and for held keys."""
    page = desk.open()
    desk.stop_clock()
    desk.field("Learning rate").fill("0.1")
    desk.button().dblclick()
    expect(page.locator(".flip-status")).to_have_text("Launched 261122-06-1.")
    desk.button().click()
    assert (desk.launches_sent(), len(desk.launched)) == (1, 1)
    expect(desk.python()).to_have_text(desk.launched[0].python())
    page.clock.run_for(PAUSE_MS)
    desk.button().click()
    expect(page.locator(".flip-launched button")).to_have_count(2)
    assert len(desk.launched) == 2


def test_a_busy_kernel_gets_one_launch_and_the_page_says_that_it_waits(desk: Desk) -> None:
    """While a cell runs, the button is pending, however often it is pressed."""
    desk.open()
    desk.holds = True
    desk.button().click()
    expect(desk.button()).to_have_text("Launching …")
    expect(desk.button()).to_have_attribute("aria-disabled", "true")
    expect(desk.page.locator(".flip-busy")).to_have_text("waiting for the kernel …")
    desk.button().click(force=True)
    desk.release()
    expect(desk.page.locator(".flip-status")).to_have_text("Launched 261122-06-1.")
    expect(desk.page.locator(".flip-busy")).to_have_text("")
    assert len(desk.launched) == 1


def test_a_line_of_its_own_launches_while_a_cell_runs(desk: Desk) -> None:
    """Nothing goes by the widget, whose messages wait; the line is closed with the view."""
    desk.browser.add_init_script(KERNEL)
    page = desk.open()
    desk.holds = True
    desk.field("Learning rate").fill("0.1")
    expect(desk.python()).to_contain_text('"train.learning_rate": 0.1')
    desk.button().click()
    expect(page.locator(".flip-status")).to_have_text("Launched 261122-06-1.")
    opened = page.evaluate("comms.map(({ target, opened }) => [target, opened.key])")
    assert opened == [[TARGET, desk.form.key]]
    assert (page.evaluate("window.sent"), len(desk.launched)) == ([], 1)
    page.evaluate("window.leave()")
    page.wait_for_function("comms[0].isDisposed")


def test_nothing_is_launched_while_something_is_wrong(desk: Desk) -> None:
    """Not even when the button is pressed before Python has said so."""
    page = desk.open()
    desk.stop_clock()
    desk.field("Batch size").fill("0")
    desk.button().click()
    expect(desk.field("Batch size")).to_be_focused()
    expect(desk.field("Batch size")).to_have_attribute("aria-invalid", "true")
    page.clock.run_for(PAUSE_MS)
    desk.field("Note").focus()
    desk.button().click(force=True)
    expect(desk.field("Batch size")).to_be_focused()
    assert desk.launched == []


def test_a_launch_that_fails_is_told(desk: Desk) -> None:
    """With code and remedy; the button can be pressed again."""
    desk.open()
    desk.fails = EngineStartError("No memory is left.", fix="Free some.")
    desk.button().click()
    failure = desk.page.locator(".flip-failure")
    expect(failure).to_have_text("FLIP-501 No memory is left. Free some.")
    expect(desk.button()).to_have_attribute("aria-disabled", "false")


def test_another_scenario_keeps_where_and_drops_the_rest(desk: Desk) -> None:
    """Values belong to a scenario; engine, tags and note do not."""
    desk.open()
    desk.field("Engine or federation").select_option("processes")
    desk.field("Learning rate").fill("0.1")
    desk.page.get_by_label("Scenario").select_option("hospitals")
    expect(desk.python()).to_have_text('lab.launch("hospitals", on="processes")')
    expect(desk.field("Data set")).to_have_value("heart-disease")


def test_what_waits_belongs_to_the_scenario_before(desk: Desk) -> None:
    """Changed while the kernel was busy, it is not told after another was chosen."""
    page = desk.open()
    desk.holds = True
    desk.field("Engine or federation").select_option("processes")
    desk.field("Strategy").select_option("FedProx")
    page.get_by_label("Scenario").select_option("hospitals")
    desk.release()
    expect(desk.python()).to_have_text('lab.launch("hospitals", on="processes")')
    wishes = page.evaluate("window.sent.map(({ ask }) => ask)")
    assert wishes == ["change", "choose"]


def test_keys_belong_to_the_form_and_move_by_sensible_steps(desk: Desk) -> None:
    """Arrows change a number within its range; JupyterLab hears of none of them."""
    desk.open()
    rate = desk.field("Learning rate")
    rate.press("ArrowUp")
    expect(rate).to_have_value("0.5")
    rate.press("ArrowDown")
    rate.press("ArrowDown")
    expect(rate).to_have_value("0.1")
    rounds = desk.field("Number of rounds")
    rounds.press("PageUp")
    expect(rounds).to_have_value("25")
    rounds.fill("1")
    rounds.press("ArrowDown")
    expect(rounds).to_have_value("1")
    desk.field("Strategy").press("ArrowDown")
    desk.field("Note").press("Enter")
    assert desk.page.evaluate("window.stolen") == []
    desk.field("Note").press("Shift+Enter")
    assert "Enter" in desk.page.evaluate("window.stolen")  # runs the cell, as everywhere


@pytest.mark.parametrize(
    ("value", "up", "spec", "wanted"),
    [
        (0.3, True, {"kind": "number", "above": 0}, 0.5),
        (0.1, False, {"kind": "number", "above": 0}, 0.05),
        (0.05, False, {"kind": "number", "above": 0}, 0.02),
        (0, True, {"kind": "number", "least": 0}, 0.001),
        (0.9, True, {"kind": "number", "least": 0, "most": 1}, 0.95),
        (1, True, {"kind": "number", "least": 0, "most": 1}, 1),
        (0.05, False, {"kind": "number", "above": 0, "most": 0.9}, None),
        (1, False, {"kind": "integer", "least": 1}, 1),
        (-2, True, {"kind": "number"}, -1),
    ],
)
def test_a_step_is_nice_and_within_the_range(
    desk: Desk, value: float, *, up: bool, spec: dict[str, Any], wanted: float | None
) -> None:
    """1, 2, 5, 10 where there is no end; twentieths of a share; whole numbers by one."""
    page = desk.open()
    found = page.evaluate(
        "([value, up, spec]) => stepped(value, up, spec)", [value, up, spec]
    )
    assert found == wanted


def test_an_app_shows_its_own_configuration(desk: Desk) -> None:
    """With units from the names, and types from the defaults."""
    desk.open(str(APP))
    expect(desk.page.locator("legend").first).to_have_text("Configuration of the app")
    desk.field("num-server-rounds").fill("1.5")
    error = desk.page.locator(".flip-error:visible")
    expect(error).to_contain_text("num-server-rounds is 1.5. Set it to a whole number.")
    desk.field("num-server-rounds").fill("3")
    expect(desk.python()).to_contain_text('overrides={"num-server-rounds": 3}')
    desk.page.get_by_label("Scenario").select_option(NAME)
    expect(desk.field("Data set")).to_have_value("digits")
    desk.page.get_by_label("Scenario").select_option(str(APP))
    expect(desk.field("num-server-rounds")).to_have_value("8")


def test_every_control_has_a_name_and_groups_have_legends(desk: Desk) -> None:
    """For screen readers, and for tests that read like a person."""
    page = desk.open()
    unnamed = page.eval_on_selector_all(
        ".flip-launcher :is(input, select, textarea)",
        "all => all.filter((each) => !each.labels.length).map((each) => each.id)",
    )
    assert unnamed == []
    ids = page.eval_on_selector_all("[id]", "all => all.map((each) => each.id)")
    assert len(ids) == len(set(ids))
    legends = page.locator("fieldset > legend").all_inner_texts()
    assert legends == ["Data", "Model", "Strategy", "Training", "Where"]


@pytest.mark.parametrize("width", [320, 640, 1200])
def test_it_fits_narrow_and_wide_pages(desk: Desk, width: int) -> None:
    """Nothing sticks out to the side."""
    page = desk.open(width=width)
    desk.field("Tags").fill("a, " * 40)
    expect(desk.python()).to_contain_text("tags=")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def luminance(colour: str) -> float:
    """Give the relative luminance of a computed colour (WCAG 2.2)."""
    rgb = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    parts = [value / 255 for value in rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_light_and_dark(desk: Desk, *, dark: bool) -> None:
    """JupyterLab's attribute decides; every text has at least 4.5:1 (WCAG AA)."""
    page = desk.open(dark=dark)
    desk.field("Learning rate").fill("abc")
    desk.field("Batch size").fill("8")
    expect(page.locator(".flip-error:visible")).to_have_count(1)
    computed = """(node) => {
        const ground = (each) => {
            const colour = getComputedStyle(each).backgroundColor;
            return colour === "rgba(0, 0, 0, 0)" ? ground(each.parentElement) : colour;
        };
        return [getComputedStyle(node).color, ground(node)];
    }"""
    paper = page.locator(".flip-launcher").evaluate(computed)[1]
    assert (luminance(paper) < 0.1) == dark
    names = [
        "help",
        "range",
        "error:visible",
        "undo:visible",
        "chip",
        "python code",
        "status",
    ]
    names += ["launch", "about", "label label"]
    for selector in ["legend", *(f".flip-{name}" for name in names)]:
        found = page.locator(selector).first.evaluate(computed)
        ink, ground = (luminance(each) for each in found)
        low, high = sorted((ink, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector


def test_the_python_can_be_copied(desk: Desk) -> None:
    """The button tells that it worked."""
    page = desk.open()
    desk.browser.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.site)
    page.evaluate("window.setTimeout = () => 0")  # it goes on saying so
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert (
        page.evaluate("navigator.clipboard.readText()") == 'lab.launch("digits-dirichlet")'
    )


def test_two_views_and_python_show_the_same(desk: Desk) -> None:
    """What Python puts in appears; a view that leaves lets go of the model."""
    page = desk.open()
    desk.form.fill(desk.form.draft.with_edits({"train.batch_size": 8, "workers": 2}))
    page.evaluate("(state) => window.take({ state })", desk._state())
    expect(desk.field("Batch size")).to_have_value("8")
    expect(desk.field("Workers")).to_have_value("2")
    assert page.evaluate("window.listeners()") == 5
    page.evaluate("window.leave()")
    assert page.evaluate("window.listeners()") == 0


def test_hostile_text_stays_text(desk: Desk) -> None:
    """Markup in a value makes no element, live or in the card."""
    page = desk.open()
    hostile = "<img src=x onerror='window.stolen=1'><b>x</b>"
    desk.field("Note").fill(hostile)
    expect(desk.python()).to_contain_text("onerror")
    page.evaluate(
        "(html) => { document.getElementById('card').innerHTML = html; }",
        card_html(desk.form.draft),
    )
    assert page.locator(":is(.flip-launcher, #card) :is(img, b)").count() == 0
