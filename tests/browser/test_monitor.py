"""The run monitor's ES module in a real browser, fed by a fake anywidget model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.widgets import monitor
from flip_lab.widgets.card import card_html
from flip_lab.widgets.progress import RunProgress
from flip_lab.widgets.snapshot import Snapshot

pytestmark = pytest.mark.browser

STATIC = Path(monitor.__file__).parent / "static"
RUN_ID = "261121-194512-q7xd"
PAGE = """<!doctype html><meta charset="utf-8"><title>monitor</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/monitor.css">
<body data-jp-theme-light="%s"><div id="view"></div><div id="card"></div>
<script type="module">
  import widget, { sparkPaths } from "/monitor.js";
  const handlers = new Set();
  window.shown = %s;
  window.sparkPaths = sparkPaths;
  const model = {
    get: (name) => (name === "snapshot" ? window.shown : undefined),
    on: (name, handler) => handlers.add(handler),
    off: (name, handler) => handlers.delete(handler),
  };
  window.show = (snapshot) => { window.shown = snapshot; handlers.forEach((h) => h()); };
  window.listeners = () => handlers.size;
  window.leave = widget.render({ model, el: document.getElementById("view") });
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    """Serves the widget's files and the page; says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Keep the test's output clean."""
        del format, args


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve the static files on this machine only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[BrowserContext]:
    """Give a fresh profile, so that no test sees what another left."""
    context = chromium.new_context(viewport={"width": 800, "height": 600})
    yield context
    context.close()


class Shown:
    """One page with the widget on it, and every error that the page met."""

    def __init__(
        self, browser: BrowserContext, site: str, snapshot: Snapshot, *, dark: bool = False
    ) -> None:
        """Open the page and wait until the widget stands."""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        html = PAGE % (str(not dark).lower(), json.dumps(snapshot).replace("<", "\\u003c"))
        self.page.route(
            f"{site}/page", lambda route: route.fulfill(body=html, content_type="text/html")
        )
        self.page.goto(f"{site}/page")
        self.page.wait_for_selector(".flip-monitor")

    def show(self, snapshot: Snapshot) -> None:
        """Send the next snapshot, as the kernel would."""
        self.page.evaluate("(snapshot) => window.show(snapshot)", snapshot)

    def text(self, selector: str) -> str:
        """Give the text of one element."""
        return self.page.locator(selector).inner_text()

    def attribute(self, selector: str, name: str) -> str | None:
        """Give an attribute of one element."""
        return self.page.locator(selector).get_attribute(name)

    def colour(self, selector: str, kind: str) -> list[int]:
        """Give the red, green and blue of one element's computed style."""
        found = self.page.locator(selector).first.evaluate(
            "(element, kind) => getComputedStyle(element)[kind]", kind
        )
        return [int(part) for part in found[found.index("(") + 1 : -1].split(",")[:3]]


def snapshot(
    *,
    nodes: int = 4,
    done: int = 2,
    failed: int = 0,
    values: tuple[float, ...] = (0.5, 0.7, 0.8),
    end: dict[str, Json] | None = None,
    name: str = "Hearts",
) -> Snapshot:
    """Fold a short story: some evaluated rounds, then one under way."""
    told: list[tuple[EventKind, int, dict[str, Json]]] = [
        (EventKind.STATE, 0, {"state": state})
        for state in ("pending", "starting", "running")
    ]
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
        ]
    last = len(values) + 1
    ids: list[Json] = list(range(nodes))
    told.append((EventKind.ROUND_STARTED, last, {"num_rounds": 20}))
    told.append((EventKind.DISPATCHED, last, {"phase": "train", "node_ids": ids}))
    told += [
        (EventKind.CLIENT, last, _fact(at, failed=at < failed))
        for at in range(done + failed)
    ]
    if end is not None:
        told.append((EventKind.STATE, last, end))
    events = [
        RunEvent(
            run_id=RUN_ID,
            sequence=at,
            time_s=1.79e9 + at,
            server_round=server_round,
            kind=kind,
            body=body,
        )
        for at, (kind, server_round, body) in enumerate(told)
    ]
    return RunProgress(run_id=RUN_ID, name=name).apply(events).snapshot()


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


FAILED: dict[str, Json] = {
    "state": "failed",
    "code": "FLIP-303",
    "what": "All clients failed.",
    "fix": "Lower the learning rate.",
    "detail": "Traceback\nValueError: bad data",
}


def test_a_run_plays_from_pending_to_completed(browser: BrowserContext, site: str) -> None:
    """Each snapshot replaces what the last one showed, for eyes and for screen readers."""
    shown = Shown(browser, site, RunProgress(run_id=RUN_ID, name="Hearts").snapshot())
    assert shown.text(".flip-badge") == "pending"
    assert shown.text(".flip-round") == "not started yet"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") is None
    shown.show(snapshot())
    assert shown.text(".flip-badge") == "running"
    assert shown.text(".flip-round") == "round 4 / 20"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") == "16"
    assert shown.attribute("[role=progressbar]", "aria-valuetext") == "round 4 / 20"
    assert shown.attribute(".flip-badge", "aria-live") == "polite"
    assert shown.page.locator(".flip-value").all_inner_texts() == ["0.8", "0.8"]
    words = "Training: 2 of 4 clients done"
    assert shown.attribute(".flip-squares", "aria-label") == words
    assert shown.page.locator(".flip-squares .flip-d").count() == 2
    shown.show(snapshot(end={"state": "completed"}))
    assert shown.attribute(".flip-monitor", "data-state") == "completed"
    assert shown.attribute("[role=progressbar]", "aria-valuenow") == "100"
    assert shown.page.locator(".flip-cohort").is_hidden()
    assert shown.text(".flip-foot code") == f'lab.run("{RUN_ID}")'
    assert shown.errors == []
    assert {url.split("/")[2] for url in shown.requests if "data:" not in url} == {site[7:]}


def test_a_failure_shows_code_fix_and_evidence_by_keyboard(
    browser: BrowserContext, site: str
) -> None:
    """The remedy is in sight; the evidence opens with Enter and stays open."""
    shown = Shown(browser, site, snapshot(end=FAILED))
    assert shown.text(".flip-note strong") == "FLIP-303"
    assert "Fix: Lower the learning rate." in shown.text(".flip-note")
    assert not shown.page.locator(".flip-note pre").is_visible()
    shown.page.locator(".flip-note summary").focus()
    shown.page.keyboard.press("Enter")
    assert "ValueError: bad data" in shown.text(".flip-note pre")
    shown.show(snapshot(end=FAILED, values=(0.5, 0.6)))
    assert shown.page.locator(".flip-note pre").is_visible()
    assert shown.errors == []


@pytest.mark.parametrize(("nodes", "size_px"), [(2, 14), (200, 9)])
def test_the_strip_suits_two_and_two_hundred_clients(
    browser: BrowserContext, site: str, nodes: int, size_px: int
) -> None:
    """Every client has its square, inside the widget, also on a narrow page."""
    shown = Shown(browser, site, snapshot(nodes=nodes, done=1, failed=1))
    squares = shown.page.locator(".flip-squares i")
    assert squares.count() == nodes
    shown.page.set_viewport_size({"width": 300, "height": 600})
    edge = shown.page.locator(".flip-monitor").bounding_box()
    assert edge is not None
    boxes = squares.evaluate_all(
        "all => all.map(i => i.getBoundingClientRect()).map(b => [b.x, b.width, b.height])"
    )
    for left, width, height in boxes:
        assert (width, height) == (size_px, size_px)
        assert edge["x"] < left < left + width < edge["x"] + edge["width"]


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
    end: dict[str, Json] = FAILED if state == "failed" else {"state": state}
    shown = Shown(browser, site, snapshot(end=end), dark=dark)
    paper = shown.colour(".flip-monitor", "backgroundColor")
    assert (luminance(paper) < 0.1) == dark
    sunk = shown.colour(".flip-tile", "backgroundColor")
    places = [(".flip-badge", paper), (".flip-elapsed", paper), (".flip-foot", paper)]
    places += [(".flip-metric", sunk), (".flip-best", sunk), (".flip-value", sunk)]
    if state == "failed":
        places.append((".flip-note strong", sunk))
    for selector, ground in places:
        ink = luminance(shown.colour(selector, "color"))
        low, high = sorted((ink, luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector


def test_the_static_card_is_the_live_view(browser: BrowserContext, site: str) -> None:
    """Python and JavaScript draw the same words, the same curves and the same squares."""
    values = (0.5, float("nan"), 0.25, 0.875, float("inf"), 0.8)
    drawn = snapshot(nodes=30, done=20, failed=3, values=values, end={"state": "paused"})
    shown = Shown(browser, site, drawn)
    shown.page.evaluate(
        "(html) => { document.getElementById('card').innerHTML = html; }", card_html(drawn)
    )
    facts = """(root) => {
        const all = (selector) => [...document.querySelectorAll(`${root} ${selector}`)];
        return {
            words: all(`:is(.flip-head *, .flip-line *, .flip-tiles *, .flip-notes *,
                .flip-cohort p, .flip-totals, code)`)
                .filter((node) => !node.children.length && node.textContent.trim())
                .map((node) => node.textContent),
            curves: all("path").map((path) => path.getAttribute("d")),
            squares: all("i").map((square) => square.className),
        };
    }"""
    live, card = (shown.page.evaluate(facts, root) for root in ("#view", "#card"))
    assert live == card
    assert {"Hearts", RUN_ID, "paused", "round 7 / 20", "0.8"} <= set(live["words"])
    assert len(live["curves"]) == 6
    assert len(live["squares"]) == 30


def test_hostile_text_stays_text(browser: BrowserContext, site: str) -> None:
    """A name with markup in it makes no element and runs no script."""
    hostile = '<img src=x onerror="window.stolen=1"><b>x</b>'
    shown = Shown(browser, site, snapshot(name=hostile, end={**FAILED, "what": hostile}))
    assert shown.text(".flip-name") == hostile
    assert shown.page.locator(".flip-monitor :is(img, b)").count() == 0
    assert shown.page.evaluate("window.stolen") is None


def test_leaving_the_page_lets_go_of_the_model(browser: BrowserContext, site: str) -> None:
    """A closed view neither listens nor ticks."""
    shown = Shown(browser, site, snapshot())
    assert shown.page.evaluate("window.listeners()") == 1
    shown.page.evaluate("window.leave()")
    assert shown.page.evaluate("window.listeners()") == 0


def test_the_hint_can_be_copied(browser: BrowserContext, site: str) -> None:
    """The button tells that it worked."""
    shown = Shown(browser, site, snapshot())
    shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    shown.page.get_by_role("button", name="Copy").click()
    shown.page.get_by_role("button", name="Copied").wait_for()
    assert shown.page.evaluate("navigator.clipboard.readText()") == f'lab.run("{RUN_ID}")'
