"""The control room's ES module in a real browser, fed by a fake anywidget model."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from flip_lab.boards.run.board import RunBoard
from flip_lab.boards.run.card import card_html
from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.core.state import RunState
from flip_lab.widgets.line import TARGET

pytestmark = pytest.mark.browser

PATIENCE_MS = 180_000  # shared machines are slow at times
RUN_ID = "261121-194512-q7xd"
PAGE = """<!doctype html><meta charset="utf-8"><title>monitor</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/run.css">
<body data-jp-theme-light="%s"><div id="view"></div><div id="card"></div>
<script type="module">
  import widget, * as made from "/run.js";
  const handlers = new Map();
  const bytes = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  const parts = { key: "k", can_steer: true };
  const put = (told) => {
    for (const [name, value] of Object.entries(told)) {
      const packed = value.base64;
      parts[name] = packed === undefined ? value : new DataView(bytes(packed).buffer);
    }
  };
  const tell = (name, ...told) => {
    for (const each of handlers.get(name) ?? []) each(...told);
  };
  const row = (at) => ({
    at, title: `partition ${at}`, name: String(at), words: "trained in round 1, 1.5 s",
    metrics: { train_loss: "0.25" },
    error: at === 3 ? "Traceback\\nValueError: bad" : "", error_round: at === 3 ? 1 : 0,
  });
  put(%s);
  Object.assign(window, { made, asked: [], answers: {}, isSilent: false });
  const model = {
    widget_manager: { kernel: window.kernel },
    get: (name) => parts[name],
    on: (name, handler) => handlers.set(name, [...(handlers.get(name) ?? []), handler]),
    off: (name, gone) => {
      handlers.set(name, handlers.get(name).filter((each) => each !== gone));
    },
    send: (question) => {
      asked.push(question);
      if (isSilent) return;
      const answer = answers[question.command] ?? { rows: (question.cells ?? []).map(row) };
      setTimeout(() => tell("msg:custom", { ...answer, ticket: question.ticket }), 5);
    },
  };
  window.show = (told) => {
    put(told);
    for (const name of Object.keys(told)) tell(`change:${name}`);
  };
  window.listeners = () => [...handlers.values()].flat().length;
  window.leave = widget.render({ model, el: document.getElementById("view") });
</script>"""


# A kernel with subshells, as JupyterLab shows it to a widget; `starts`: whether one starts.
KERNEL = """(() => {
  const made = [];
  const comm = (target) => ({
    target, isDisposed: false, opened: null, sent: [],
    subshellStarted: %s ? Promise.resolve() : new Promise(() => {}),
    open(data) { this.opened = data; setTimeout(() => this.answer({ ready: true }), 5); },
    send(question) {
      this.sent.push(question);
      setTimeout(() => this.answer({ ticket: question.ticket, is_taken: true }), 5);
    },
    answer(data) { this.onMsg({ content: { data } }); },
    close() { this.isDisposed = true; },
    dispose() { this.isDisposed = true; },
  });
  window.comms = made;
  window.kernel = {
    info: Promise.resolve({}),
    supportsSubshells: true,
    createComm: (target) => { made.push(comm(target)); return made.at(-1); },
  };
})()"""


# Whether the map has been drawn for the room that there is, and keeps within it.
FITS = """(count) => {
  const host = document.querySelector(".flip-map-host");
  const map = host.querySelector("canvas.flip-map");
  const { pitch, columns } = made.gridOf(count, host.clientWidth);
  const isDrawn = map.style.width === `${columns * pitch}px`;
  return isDrawn && map.getBoundingClientRect().width <= host.getBoundingClientRect().width;
}"""


@pytest.fixture
def browser(chromium: Browser) -> Iterator[BrowserContext]:
    """Give a fresh profile, so that no test sees what another left."""
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


class Shown:
    """One page with the widget on it, and every error that the page met."""

    def __init__(
        self, browser: BrowserContext, site: str, board: RunBoard, *, dark: bool = False
    ) -> None:
        """Open the page and wait until the widget stands."""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        html = PAGE % (
            str(not dark).lower(),
            json.dumps(written(board)).replace("<", "\\u003c"),
        )
        self._serve(f"{site}/page", html, "text/html")
        self.page.goto(f"{site}/page")
        self.page.wait_for_selector(".flip-monitor")

    def _serve(self, url: str, body: str, kind: str) -> None:
        self.page.route(url, lambda route: route.fulfill(body=body, content_type=kind))

    def show(self, board: RunBoard) -> None:
        """Send what changed, as the kernel would."""
        self.page.evaluate("(parts) => window.show(parts)", written(board))

    def text(self, selector: str) -> str:
        """Give the text of one element."""
        return self.page.locator(selector).inner_text()

    def attribute(self, selector: str, name: str) -> str | None:
        """Give an attribute of one element."""
        return self.page.locator(selector).get_attribute(name)

    def press(self, name: str, *, exact: bool = True) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=exact).click()

    def wait_until_answered(self) -> None:
        """Wait until the kernel has answered every command; buttons are busy until then."""
        expect(self.page.locator("[aria-busy]")).to_have_count(0)

    def asked(self) -> list[dict[str, Any]]:
        """Give the commands that were sent and answered, without their tickets."""
        self.wait_until_answered()
        sent = self.page.evaluate("window.asked.filter((each) => each.command)")
        return [{key: each[key] for key in each if key != "ticket"} for each in sent]

    def answer(self, command: str, answer: dict[str, Any]) -> None:
        """Say what the kernel answers to a command."""
        self.page.evaluate("([name, told]) => { answers[name] = told; }", [command, answer])

    def python(self) -> str:
        """Give the line of Python beside the buttons."""
        return self.text(".flip-desk > .flip-python code")

    def colour(self, selector: str, kind: str) -> list[int]:
        """Give the red, green and blue of one element's computed style."""
        found = self.page.locator(selector).first.evaluate(
            "(element, kind) => getComputedStyle(element)[kind]", kind
        )
        return [int(part) for part in found[found.index("(") + 1 : -1].split(",")[:3]]


def written(board: RunBoard) -> dict[str, Any]:
    """Give the parts of a page as JSON."""
    parts = board.parts(0.0)
    parts["cells"] = {"base64": base64.b64encode(parts["cells"]).decode("ascii")}
    return parts


class _Told:
    """A run whose events a test hands out."""

    run_id = RUN_ID

    def __init__(self, name: str, told: list[RunEvent], log: str) -> None:
        self.name = name
        self._told = told
        self._log = log

    @property
    def state(self) -> RunState:
        """Give the state of a run that is under way."""
        return RunState.RUNNING if self._told else RunState.PENDING

    def events(self, *, after: int) -> list[RunEvent]:
        """Give what is new."""
        return [event for event in self._told if event.sequence > after]

    def logs(self, *, tail: int | None = None) -> str:
        """Give what was printed."""
        del tail
        return self._log


Told = tuple[EventKind, int, dict[str, Json]]


def board(
    *,
    nodes: int = 4,
    done: int = 2,
    failed: int = 0,
    values: tuple[float, ...] = (0.5, 0.7, 0.8),
    then: tuple[Told, ...] = (),
    name: str = "Hearts",
    log: str = "",
) -> RunBoard:
    """Fold a short story: some evaluated rounds, one under way, and what then happens."""
    told: list[Told] = [
        (EventKind.STATE, 0, {"state": state})
        for state in ("pending", "starting", "running")
    ]
    told.append((EventKind.SETTINGS, 1, SETTINGS))
    for at, value in enumerate(values, 1):
        said: dict[str, Json] = {
            "phase": "evaluate",
            "name": "eval_accuracy",
            "value": value,
        }
        told += [
            (EventKind.ROUND_STARTED, at, {"num_rounds": 20}),
            (EventKind.METRIC, at, {**said, "scope": "federated"}),
            (EventKind.METRIC, at, {**said, "scope": "central"}),
            (EventKind.ROUND_ENDED, at, {"duration_s": 2.0}),
            (EventKind.CHECKPOINT, at, {"size_bytes": 1}),
        ]
    last = len(values) + 1
    ids: list[Json] = list(range(nodes))
    told.append((EventKind.ROUND_STARTED, last, {"num_rounds": 20}))
    asked: dict[str, Json] = {"phase": "train", "node_ids": ids, "partition_ids": ids}
    told.append((EventKind.DISPATCHED, last, asked))
    told += [
        (EventKind.CLIENT, last, _fact(at, failed=at < failed))
        for at in range(done + failed)
    ]
    events = [
        RunEvent(
            run_id=RUN_ID,
            sequence=at,
            time_s=1.79e9 + at,
            server_round=server_round,
            kind=kind,
            body=body,
        )
        for at, (kind, server_round, body) in enumerate([*told, *then])
    ]
    return followed(_Told(name, events, log), nodes)


def followed(run: _Told, nodes: int) -> RunBoard:
    """Read a run to its end."""
    made = RunBoard(run, interval_s=1.0, num_nodes=nodes)
    made.poll()
    return made


def ended(state: str, **more: Json) -> tuple[Told, ...]:
    """Let the run come to a state."""
    return ((EventKind.STATE, 4, {"state": state, **more}),)


def _fact(node: int, *, failed: bool) -> dict[str, Json]:
    return ClientFact(
        phase="train",
        node_id=node,
        partition_id=node,
        num_examples=1,
        started_s=0.0,
        duration_s=1.0,
        bytes_down=1,
        bytes_up=1,
        error_code=206 if failed else 0,
        error="Traceback\nValueError: bad data" if failed else "",
    ).body()


SETTINGS: dict[str, Json] = {
    "train": {"learning_rate": 0.1, "local_epochs": 2, "shuffle": True},
    "evaluate": {},
    "strategy": {"fraction_train": 1.0},
    "run": {},
    "excluded": [],
}
FAILED = ended(
    "failed",
    code="FLIP-303",
    what="All clients failed.",
    fix="Lower the learning rate.",
    detail="Traceback\nValueError: bad data",
)
PAUSED = ended("paused", author="ada", because="train_loss is nan: partition 7", broke=True)


# --- what is shown ------------------------------------------------------------------------


def test_a_metric_says_where_it_comes_from(browser: BrowserContext, site: str) -> None:
    """What the server measured, or its code logged, has a name and a line of its own."""
    metric: dict[str, Json] = {"phase": "evaluate", "name": "eval_accuracy", "value": 0.6}
    logged = (EventKind.METRIC, 3, {**metric, "scope": "server"})
    shown = Shown(browser, site, board(then=(logged,)))
    names = shown.page.locator(".flip-tile .flip-metric")
    told = [f"eval_accuracy{more}" for more in ("", " (central)", " (server)")]
    assert sorted(names.all_inner_texts()) == told
    for kind in ("central", "server"):
        tile = shown.page.locator(f".flip-tile.flip-{kind}")
        expect(tile.locator(".flip-metric")).to_have_text(f"eval_accuracy ({kind})")
        line = tile.locator(".flip-line-path").first
        drawn = line.evaluate("(node) => getComputedStyle(node).strokeDasharray")
        assert drawn == {"central": "4px, 3px", "server": "1px, 3.5px"}[kind]


def test_a_run_plays_from_pending_to_completed(browser: BrowserContext, site: str) -> None:
    """Each part replaces what the last one showed, for eyes and for screen readers."""
    shown = Shown(browser, site, followed(_Told("Hearts", [], ""), 0))
    assert shown.text(".flip-badge") == "pending"
    assert shown.text(".flip-round") == "not started yet"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") is None
    shown.show(board())
    assert shown.text(".flip-badge") == "running"
    assert shown.text(".flip-round") == "round 4 / 20"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") == "16"
    assert shown.attribute("[role=progressbar]", "aria-valuetext") == "round 4 / 20"
    assert shown.attribute(".flip-badge", "aria-live") == "polite"
    assert shown.page.locator(".flip-value").all_inner_texts() == ["0.8", "0.8"]
    shown.show(board(then=PAUSED))
    assert shown.text(".flip-why") == "by ada: at a break: train_loss is nan: partition 7"
    assert shown.text(".flip-head .flip-python code") == "run.inspect()"
    assert shown.page.locator(".flip-mark-break .flip-sign").count() == 2
    shown.show(board(then=ended("completed")))
    assert shown.attribute(".flip-monitor", "data-state") == "completed"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") == "100"
    assert shown.text(".flip-foot code") == f'lab.run("{RUN_ID}")'
    assert shown.errors == []
    assert {url.split("/")[2] for url in shown.requests if "data:" not in url} == {site[7:]}


def test_a_failure_shows_code_fix_and_evidence_by_keyboard(
    browser: BrowserContext, site: str
) -> None:
    """The remedy is in sight; the evidence opens with Enter and stays open."""
    shown = Shown(browser, site, board(then=FAILED))
    assert shown.text(".flip-note strong") == "FLIP-303"
    assert "Fix: Lower the learning rate." in shown.text(".flip-note")
    evidence = shown.page.locator(".flip-note pre")
    expect(evidence).to_be_hidden()
    shown.page.locator(".flip-note summary").focus()
    shown.page.keyboard.press("Enter")
    expect(evidence).to_be_visible()
    expect(evidence).to_contain_text("ValueError: bad data")
    shown.show(board(then=FAILED, values=(0.5, 0.6)))
    assert evidence.is_visible()
    assert shown.errors == []


def test_a_curve_is_read_by_keyboard_with_what_was_done(
    browser: BrowserContext, site: str
) -> None:
    """Arrow keys walk along it; an edit stands where it took effect, in sign and words."""
    edit: Told = (
        EventKind.CONTROL,
        1,
        {
            "id": "c1",
            "command": "set",
            "author": "ada",
            "from_round": 2,
            "values": {"learning_rate": 0.01},
        },
    )
    shown = Shown(browser, site, board(values=(0.5, float("nan"), 0.8), then=(edit,)))
    assert shown.page.locator(".flip-mark-edit .flip-sign").count() == 2
    chart = shown.page.locator("svg.flip-chart").first
    chart.focus()
    readout = shown.page.locator(".flip-best").first
    expect(readout).to_have_text("round 3 · 0.8")
    chart.press("ArrowLeft")
    expect(readout).to_have_text("round 2 · diverged · set learning_rate=0.01")
    shown.show(board(values=(0.5, float("nan"), 0.8, 0.9), then=(edit,)))
    expect(readout).to_have_text("round 2 · diverged · set learning_rate=0.01")
    assert chart.evaluate("(node) => node === document.activeElement")
    chart.press("Home")
    expect(readout).to_have_text("round 1 · 0.5")


def test_history_and_log_are_behind_tabs(browser: BrowserContext, site: str) -> None:
    """Arrow keys change the tab; a refusal is told; the log stays where it was left."""
    refused: Json = {"code": "FLIP-310", "what": "No such setting.", "fix": "Look."}
    body: dict[str, Json] = {"id": "c", "command": "set", "author": "ada", "from_round": 5}
    done: tuple[Told, ...] = (
        (EventKind.CONTROL, 4, {**body, "values": {"learning_rate": 0.5}}),
        (EventKind.CONTROL, 4, {**body, "values": {"x": 1}, "refused": refused}),
    )
    lines = "\n".join(f"line {at}" for at in range(150))
    shown = Shown(browser, site, board(then=done, log=lines))
    shown.page.get_by_role("tab", name="Clients").focus()
    shown.page.keyboard.press("ArrowRight")
    expect(shown.page.locator(".flip-deeds")).to_be_visible()
    first, second = shown.page.locator(".flip-deeds li").all_inner_texts()
    assert "refused FLIP-310 No such setting." in " ".join(first.split())
    assert "set learning_rate=0.5" in second
    assert "from round 5" in second
    shown.page.keyboard.press("ArrowRight")
    log = shown.page.get_by_role("log")
    expect(log).to_be_visible()
    assert log.inner_text().endswith("line 149")
    assert log.evaluate("(node) => node.scrollTop") > 0
    shown.page.get_by_label("Follow").uncheck()
    shown.show(board(log="another"))
    assert log.inner_text().endswith("line 149")
    shown.page.get_by_label("Follow").check()
    assert log.inner_text() == "another"


# --- the client map -----------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [2, 60, 1_000, 10_000])
@pytest.mark.parametrize("width", [1_000, 320])
def test_the_map_suits_two_clients_and_ten_thousand(
    browser: BrowserContext, site: str, nodes: int, width: int
) -> None:
    """Every client has a cell of 4 to 18 px inside the widget, and a word in the legend."""
    shown = Shown(browser, site, board(nodes=nodes, done=1, failed=1))
    shown.page.set_viewport_size({"width": width, "height": 900})
    legend = shown.page.locator(".flip-legend li").all_inner_texts()
    counts = [0, nodes - 2, 1, 0, 1, 0]
    words = ["not asked", "training", "done", "slow", "failed", "left out"]
    told = [f"{word} {count:,}" for word, count in zip(words, counts, strict=True)]
    assert [" ".join(text.split()) for text in legend] == told
    assert f"{nodes} clients:" in (shown.attribute("canvas.flip-map", "aria-label") or "")
    shown.page.wait_for_function(FITS, arg=nodes)
    host = shown.page.locator(".flip-map-host").bounding_box()
    assert host is not None
    assert host["height"] <= 300
    pitch, columns = shown.page.evaluate(
        "([n, w]) => { const g = made.gridOf(n, w); return [g.pitch, g.columns]; }",
        [nodes, host["width"] - 4],
    )
    assert 4 <= pitch <= 18
    assert columns * -(-nodes // columns) >= nodes
    assert shown.errors == []


def test_cells_have_shapes_of_their_own(browser: BrowserContext, site: str) -> None:
    """No two kinds cover the same part of a cell, so colour is not the only sign."""
    out: Told = (EventKind.SETTINGS, 4, {**SETTINGS, "excluded": [3]})
    shown = Shown(browser, site, board(nodes=4, done=1, failed=1, then=(out,)))
    inked: list[str] = shown.page.wait_for_function(
        """() => {
          const all = [...document.querySelectorAll(".flip-key")].map((canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, 22, 22);
            const alphas = [...data].filter((_, at) => at % 4 === 3);
            return alphas.map((alpha) => Number(alpha > 99)).join("");
          });
          return all.every((each) => each.includes("1")) && all;
        }"""
    ).json_value()
    assert len(inked) == len(set(inked)) == 6


def test_a_client_is_found_and_left_out_by_keyboard(
    browser: BrowserContext, site: str
) -> None:
    """Arrows move and tell, space selects, a button sends; the events say what holds."""
    shown = Shown(browser, site, board(nodes=6))
    shown.page.locator("canvas.flip-map").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
        shown.page.keyboard.press(key)
    words = "partition 3 · trained in round 1, 1.5 s · train_loss 0.25 · failed in round 1"
    expect(shown.page.locator(".flip-node")).to_contain_text(words)
    shown.page.keyboard.press("Space")
    assert shown.text(".flip-choice > span:first-child") == "client 3 · from round 5:"
    assert shown.text(".flip-choice code") == "run.exclude(3)"
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Space")
    assert shown.text(".flip-choice code") == "run.exclude(3, 4)"
    shown.answer("exclude", {"is_taken": True})
    shown.press("Leave out")
    expect(shown.page.locator(".flip-choice")).to_be_hidden()
    assert shown.asked() == [{"command": "exclude", "cells": [3, 4]}]
    assert "left out 0" in " ".join(shown.text(".flip-legend").split())
    out: Told = (EventKind.SETTINGS, 5, {**SETTINGS, "excluded": [3, 4]})
    shown.show(board(nodes=6, then=(out,)))
    assert "left out 2" in " ".join(shown.text(".flip-legend").split())


def test_a_click_selects_and_a_second_one_lets_go(
    browser: BrowserContext, site: str
) -> None:
    """Pointing tells of a client; nothing is left out by a click alone."""
    shown = Shown(browser, site, board(nodes=60))
    canvas = shown.page.locator("canvas.flip-map")
    canvas.hover(position={"x": 30, "y": 8})
    expect(shown.page.locator(".flip-node strong")).to_have_text("partition 1")
    canvas.click(position={"x": 30, "y": 8})
    assert shown.text(".flip-choice code") == "run.exclude(1)"
    canvas.click(position={"x": 50, "y": 8}, modifiers=["Shift"])
    assert shown.text(".flip-choice code") == "run.exclude(1, 2)"
    canvas.click(position={"x": 50, "y": 8})
    canvas.click(position={"x": 50, "y": 8})
    assert shown.page.locator(".flip-choice").is_hidden()
    assert shown.asked() == []


def test_the_table_tells_the_same_to_a_screen_reader(
    browser: BrowserContext, site: str
) -> None:
    """Ten thousand rows, of which only those in sight exist and are asked for."""
    shown = Shown(browser, site, board(nodes=10_000, done=5))
    shown.press("Table")
    table = shown.page.get_by_role("grid", name="Clients")
    assert table.get_attribute("aria-rowcount") == "10000"
    cells = table.locator("[data-at='3'] [role=gridcell]")
    expect(cells.nth(3)).to_have_text("train_loss 0.25")
    assert cells.nth(1).inner_text() == "done"
    assert "error in round 1: ValueError: bad" in cells.nth(2).inner_text()
    assert table.locator("[data-at]").count() < 60
    table.focus()
    shown.page.keyboard.press("End")
    expect(table.locator("[data-at='9999'] [role=gridcell]").first).to_have_text(
        "partition 9999"
    )
    shown.page.keyboard.press("Space")
    expect(table.locator("[data-at='9999']")).to_have_attribute("aria-selected", "true")
    assert shown.text(".flip-choice code") == "run.exclude(9999)"


# --- the controls -------------------------------------------------------------------------


def test_pausing_is_shown_when_the_run_says_so(browser: BrowserContext, site: str) -> None:
    """The button asks; the events decide; the Python is there to be copied."""
    shown = Shown(browser, site, board())
    assert shown.python() == "run.pause()"
    shown.answer("pause", {"is_taken": True})
    shown.press("Pause")
    assert shown.asked() == [{"command": "pause"}]
    assert shown.text(".flip-badge") == "running"
    shown.show(board(then=PAUSED))
    assert shown.page.get_by_role("button", name="Resume").is_enabled()
    assert shown.python() == "run.resume()"
    shown.page.get_by_label("Rounds of a step").fill("3")
    shown.press("Step")
    assert shown.asked()[-1] == {"command": "step", "num_rounds": 3}
    assert shown.python() == "run.step(3)"


def test_commands_take_a_line_of_their_own(browser: BrowserContext, site: str) -> None:
    """A comm that the kernel has never published on, closed when the view goes."""
    browser.add_init_script(KERNEL % "true")
    shown = Shown(browser, site, board())
    shown.page.wait_for_function("comms[0]?.opened")
    assert shown.page.evaluate("[comms[0].target, comms[0].opened.key]") == [TARGET, "k"]
    shown.press("Pause")
    shown.page.wait_for_function("comms[0].sent.length")
    assert shown.page.evaluate("comms[0].sent.map((each) => each.command)") == ["pause"]
    assert shown.asked() == []
    shown.page.evaluate("window.leave()")
    shown.page.wait_for_function("comms[0].isDisposed")


def test_without_a_subshell_the_widget_carries_them(
    browser: BrowserContext, site: str
) -> None:
    """Switched off by the user: none ever starts, and the press is not lost."""
    browser.add_init_script(KERNEL % "false")
    shown = Shown(browser, site, board())
    shown.page.evaluate("window.isSilent = true")  # else it would soon wait no more
    shown.press("Pause")
    expect(shown.page.locator(".flip-status")).to_have_text("waiting for the kernel …")
    shown.page.wait_for_function("asked.length")
    assert shown.page.evaluate("asked.map((each) => each.command)") == ["pause"]
    assert shown.page.evaluate("comms[0].isDisposed")


def test_a_refusal_stands_beside_its_control(browser: BrowserContext, site: str) -> None:
    """Code, what and fix, announced; gone with the next attempt."""
    shown = Shown(browser, site, board())
    refused = {
        "code": "FLIP-311",
        "what": "No comparison.",
        "fix": "Write it like 'a > 3'.",
    }
    shown.answer("break_when", {"error": refused})
    shown.press("Break when …")
    field = shown.page.get_by_label("Condition to break on")
    assert field.evaluate("(node) => node === document.activeElement")
    go = shown.page.get_by_role("button", name="Set break")
    assert go.get_attribute("aria-disabled") == "true"
    field.fill("a big one")
    code = shown.page.locator(".flip-drawer:visible .flip-python code")
    assert code.inner_text() == 'run.break_when("a big one")'
    field.press("Enter")
    alert = shown.page.locator(".flip-drawer [role=alert]")
    expect(alert).to_contain_text("FLIP-311 No comparison.")
    assert "Fix: Write it like 'a > 3'." in alert.inner_text()
    shown.answer("break_when", {"is_taken": True})
    field.fill("loss is nan")
    field.press("Enter")
    expect(alert).to_have_count(0)
    expect(field).to_have_value("")
    field.press("Escape")
    expect(shown.page.locator(".flip-drawer:visible")).to_have_count(0)
    expect(shown.page.locator("button:focus")).to_have_text("Break when …")


def test_settings_are_checked_as_they_are_typed(browser: BrowserContext, site: str) -> None:
    """Only what changed is sent; a wrong value cannot be; typing survives updates."""
    shown = Shown(browser, site, board())
    shown.press("Set …")
    form = shown.page.get_by_role("form", name="Change settings")
    go = form.get_by_role("button", name="Set", exact=True)
    epochs, rate = form.get_by_label("local_epochs"), form.get_by_label("learning_rate")
    assert go.get_attribute("aria-disabled") == "true"
    epochs.fill("2.5")
    assert epochs.get_attribute("aria-invalid") == "true"
    assert "Write a whole number" in form.inner_text()
    rate.fill("1e-2")
    assert go.get_attribute("aria-disabled") == "true"
    epochs.fill("3")
    assert go.get_attribute("aria-disabled") is None
    form.get_by_label("shuffle").select_option("False")
    code = form.locator(".flip-python code")
    python = "run.set(learning_rate=0.01, local_epochs=3, shuffle=False)"
    assert code.inner_text() == python
    assert "from round 5" in form.inner_text()
    newer: Told = (
        EventKind.SETTINGS,
        4,
        {**SETTINGS, "strategy": {"fraction_train": 0.5}},
    )
    rate.focus()
    shown.show(board(then=(newer,)))
    assert rate.evaluate("(node) => node === document.activeElement")
    assert rate.input_value() == "1e-2"
    assert form.get_by_label("fraction_train").input_value() == "0.5"
    shown.answer("set", {"is_taken": True})
    go.click()
    values = {"learning_rate": 0.01, "local_epochs": 3, "shuffle": False}
    assert shown.asked() == [{"command": "set", "values": values}]
    expect(rate).to_have_value("0.1")


def test_a_fork_goes_on_from_a_checkpoint(browser: BrowserContext, site: str) -> None:
    """The newest round is offered; the answer says how to watch the new run."""
    shown = Shown(browser, site, board(then=ended("completed")))
    assert shown.page.get_by_role("button", name="Pause").get_attribute("aria-disabled")
    shown.press("Fork …")
    form = shown.page.get_by_role("form", name="Fork the run")
    assert form.get_by_label("at round").input_value() == "3"
    form.get_by_label("learning_rate").fill("0.01")
    code = form.locator(".flip-bar-row .flip-python code")
    assert code.inner_text() == "run.fork(at_round=3, learning_rate=0.01)"
    shown.answer("fork", {"run_id": "new-one"})
    form.get_by_role("button", name="Fork", exact=True).click()
    expect(form.locator(".flip-forked code")).to_have_text('watch(lab.run("new-one"))')
    sent = {"command": "fork", "at_round": 3, "values": {"learning_rate": 0.01}}
    assert shown.asked() == [sent]


def test_a_fork_of_a_run_that_goes_on_takes_the_newest(
    browser: BrowserContext, site: str
) -> None:
    """A round that was offered a moment ago may be gone: none is named."""
    shown = Shown(browser, site, board())
    shown.press("Fork …")
    form = shown.page.get_by_role("form", name="Fork the run")
    form.get_by_label("learning_rate").fill("0.01")
    assert form.get_by_label("at round").input_value() == ""
    code = form.locator(".flip-bar-row .flip-python code")
    assert code.inner_text() == "run.fork(learning_rate=0.01)"
    form.get_by_role("button", name="Fork", exact=True).click()
    sent = {"command": "fork", "at_round": None, "values": {"learning_rate": 0.01}}
    assert shown.asked() == [sent]


def test_stopping_takes_two_steps(browser: BrowserContext, site: str) -> None:
    """The first press asks; the second one ends the run."""
    shown = Shown(browser, site, board())
    shown.press("Stop …")
    assert shown.asked() == []
    shown.press("Keep going")
    expect(shown.page.locator(".flip-drawer:visible")).to_have_count(0)
    shown.press("Stop …")
    shown.answer("stop", {"is_taken": True})
    shown.press("Stop the run")
    expect(shown.page.locator(".flip-drawer:visible")).to_have_count(0)
    assert shown.asked() == [{"command": "stop"}]


def test_conditions_in_force_can_be_cleared(browser: BrowserContext, site: str) -> None:
    """Each with its own button; the id is sent, not the words."""
    armed: Told = (
        EventKind.CONTROL,
        4,
        {
            "id": "c7",
            "command": "break_when",
            "author": "ada",
            "from_round": 5,
            "condition": "loss is nan",
        },
    )
    shown = Shown(browser, site, board(then=(armed,)))
    shown.press("Break when …")
    shown.answer("clear", {"is_taken": True})
    shown.press("Clear: break when loss is nan")
    assert shown.asked() == [{"command": "clear", "ids": ["c7"]}]


@pytest.mark.parametrize(
    ("values", "python"),
    [
        ({"a": 1, "b": True, "c": 'x"y'}, 'run.set(a=1, b=True, c="x\\"y")'),
        ({"strategy.mu": 0.5}, 'run.set(**{"strategy.mu": 0.5})'),
        ({"a": 1e-7, "b.c": False}, 'run.set(a=1e-7, **{"b.c": False})'),
    ],
)
def test_the_python_is_python(
    browser: BrowserContext, site: str, values: dict[str, Any], python: str
) -> None:
    """What is copied does what the button does."""
    shown = Shown(browser, site, board())
    written_ = shown.page.evaluate('(values) => made.pythonCall("set", [], values)', values)
    assert written_ == python

    class _Run:
        def set(self, **told: object) -> dict[str, object]:
            return told

    assert eval(written_, {"run": _Run()}) == values  # noqa: S307  # our own text


# --- looks --------------------------------------------------------------------------------


def luminance(rgb: list[int]) -> float:
    """Give the relative luminance of a colour (WCAG 2.2)."""
    parts = [value / 255 for value in rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["running", "paused", "completed", "failed", "stopped"])
def test_text_is_readable_in_light_and_dark(
    browser: BrowserContext, site: str, theme: str, state: str
) -> None:
    """JupyterLab's attribute decides the theme; every text has at least 4.5:1 (WCAG AA)."""
    dark = theme == "dark"
    then = {"failed": FAILED, "paused": PAUSED}.get(state, ended(state))
    shown = Shown(browser, site, board(then=then), dark=dark)
    paper = shown.colour(".flip-monitor", "backgroundColor")
    assert (luminance(paper) < 0.1) == dark
    sunk = shown.colour(".flip-tile", "backgroundColor")
    places = [(".flip-badge", paper), (".flip-elapsed", paper), (".flip-foot", paper)]
    places += [(".flip-metric", sunk), (".flip-best", sunk), (".flip-value", sunk)]
    places += [(".flip-legend strong", paper), (".flip-legend", paper)]
    places += [(".flip-desk button", paper), ("[role=tab][aria-selected=false]", paper)]
    if state == "failed":
        places.append((".flip-note strong", sunk))
    if state == "paused":
        places.append((".flip-why", paper))
    for selector, ground in places:
        ink = luminance(shown.colour(selector, "color"))
        low, high = sorted((ink, luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector


def test_the_static_card_tells_what_the_live_view_tells(
    browser: BrowserContext, site: str
) -> None:
    """Python and JavaScript use the same words for the same facts."""
    values = (0.5, float("nan"), 0.25, 0.875, float("inf"), 0.8)
    drawn = board(nodes=30, done=20, failed=3, values=values, then=PAUSED)
    shown = Shown(browser, site, drawn)
    shown.page.evaluate(
        "(html) => { document.getElementById('card').innerHTML = html; }",
        card_html(drawn.snapshot()),
    )
    places = (".flip-name", ".flip-head > code", ".flip-badge", ".flip-why")
    places += (".flip-line span", ".flip-metric", ".flip-value", ".flip-best")
    places += (".flip-note > p", ".flip-totals", ".flip-foot code")
    live, card = (
        [shown.page.locator(f"{root} {place}").all_text_contents() for place in places]
        for root in ("#view", "#card")
    )
    assert live == card
    assert {"Hearts", RUN_ID, "paused", "round 7 / 20", "0.8"} <= {*chain(*live)}


def test_hostile_text_stays_text(browser: BrowserContext, site: str) -> None:
    """A name with markup in it makes no element and runs no script."""
    hostile = '<img src=x onerror="window.stolen=1"><b>x</b>'
    then = ended("failed", code="", what=hostile, fix="", detail="")
    shown = Shown(browser, site, board(name=hostile, then=then, log=hostile))
    assert shown.text(".flip-name") == hostile
    shown.page.get_by_role("tab", name="Log").click()
    assert shown.page.get_by_role("log").inner_text() == hostile
    assert shown.page.locator(".flip-monitor :is(img, b)").count() == 0
    assert shown.page.evaluate("window.stolen") is None


def test_leaving_the_page_lets_go_of_the_model(browser: BrowserContext, site: str) -> None:
    """A closed view neither listens nor ticks."""
    shown = Shown(browser, site, board())
    assert shown.page.evaluate("window.listeners()") == 10
    shown.page.evaluate("window.leave()")
    assert shown.page.evaluate("window.listeners()") == 0
    assert shown.errors == []


def test_the_hint_can_be_copied(browser: BrowserContext, site: str) -> None:
    """The button tells that it worked."""
    shown = Shown(browser, site, board())
    shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    copy = shown.page.locator(".flip-foot button")
    shown.page.evaluate("window.setTimeout = () => 0")  # it goes on saying so
    copy.click()
    expect(copy).to_have_text("Copied")
    assert shown.page.evaluate("navigator.clipboard.readText()") == f'lab.run("{RUN_ID}")'
