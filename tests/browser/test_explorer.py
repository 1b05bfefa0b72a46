"""The partition explorer and the fleet view in plain Chromium, on a model without Jupyter.

The page's model hands everything to the real widget in this process, as a comm would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from flip_lab import Lab
from flip_lab.core.events import ClientFact, EventKind, RunEvent
from flip_lab.fl.data.catalog import DATASETS
from flip_lab.fl.data.dataset import Dataset
from flip_lab.runs.run import Run
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import open_lab, write_json_atomic
from flip_lab.widgets.fleet import FleetView
from flip_lab.widgets.partitions import PartitionExplorer

pytestmark = pytest.mark.browser


PATIENCE_MS = 180_000  # shared machines are slow at times
PAGE = """<!doctype html><meta charset="utf-8"><title>%(name)s</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/%(name)s.css">
<body data-jp-theme-light="%(light)s" style="background: %(page)s"><div id="view"></div>
<script type="module">
  import widget from "/%(name)s.js";
  const state = %(state)s;
  const handlers = new Map();
  const fire = (event, ...told) =>
    [...(handlers.get(event) ?? [])].forEach((each) => each(...told));
  const asked = new Set();
  window.passed = [];  // keys that the widget left to the page
  document.addEventListener("keydown", (event) => window.passed.push(event.key));
  async function tell(message) {
    const told = await window.kernel(message);
    for (const [key, value] of Object.entries(told.state)) {
      state[key] = value;
      fire(`change:${key}`);
    }
    for (const each of told.sent) fire("msg:custom", each);
  }
  const model = {
    get: (key) => state[key],
    set: (key, value) => { state[key] = value; asked.add(key); fire(`change:${key}`); },
    save_changes: () => {
      tell({ set: Object.fromEntries([...asked].map((key) => [key, state[key]])) });
      asked.clear();
    },
    send: (message) => tell({ ask: message }),
    on: (event, handler) => handlers.set(event, [...(handlers.get(event) ?? []), handler]),
    off: (event, handler) =>
      handlers.set(event, (handlers.get(event) ?? []).filter((each) => each !== handler)),
  };
  window.listeners = () => [...handlers.values()].flat().length;
  window.leave = widget.render({ model, el: document.getElementById("view") });
</script>"""


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Give a fresh profile, so that no test sees what another left."""
    opened = chromium.new_context(viewport={"width": 1000, "height": 1100})
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


class Shown:
    """One page with a widget on it, and every error that the page met."""

    def __init__(
        self,
        context: BrowserContext,
        site: str,
        widget: PartitionExplorer | FleetView,
        *,
        dark: bool = False,
    ) -> None:
        """Open the page and wait until the widget stands."""
        self.widget = widget
        self.name = "fleet" if isinstance(widget, FleetView) else "partitions"
        self.traits = ("fleet", "settings")
        if self.name == "partitions":
            self.traits = ("catalogue", "settings", "picture")
        self.sent: list[object] = []
        widget.send = self._send
        self.known = self._state()  # to the browser
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.expose_function("kernel", self._kernel)
        html = PAGE % {
            "name": self.name,
            "light": str(not dark).lower(),
            "page": "#111" if dark else "#fff",
            "state": json.dumps(self.known, allow_nan=False).replace("<", "\\u003c"),
        }
        self.page.route(
            f"{site}/page", lambda route: route.fulfill(body=html, content_type="text/html")
        )
        self.page.goto(f"{site}/page")
        self.view: Locator = self.page.locator(f".flip-{self.name}")
        self.view.locator(".flip-title").wait_for()

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self.widget, name) for name in self.traits}

    def _send(self, content: object, buffers: object = None) -> None:
        """Keep a message of the widget, as a comm would deliver it."""
        del buffers
        self.sent.append(content)

    def _kernel(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a kernel does with a message of the browser; tell what changed by it."""
        self.sent.clear()
        if "set" in message:
            self.known |= message["set"]
            self.widget.set_state(message["set"])
        else:
            self.widget._hear(self.widget, message["ask"], [])
        now = self._state()
        changed = {name: now[name] for name in now if now[name] != self.known[name]}
        self.known = now
        told = {"state": changed, "sent": [*self.sent]}
        return json.loads(json.dumps(told, allow_nan=False))

    def colour(self, selector: str, kind: str) -> list[int]:
        """Give the red, green and blue of one element's computed style."""
        found = self.view.locator(selector).first.evaluate(
            "(element, kind) => getComputedStyle(element)[kind]", kind
        )
        return [int(part) for part in found[found.index("(") + 1 : -1].split(",")[:3]]

    def wait_until_within(self) -> None:
        """Wait until pictures fit into the page, and nothing sticks out to the right."""
        self.page.wait_for_function(
            """() => {
              const { scrollWidth, clientWidth } = document.documentElement;
              const fits = (map) => map.getBoundingClientRect().width <= clientWidth;
              const isDrawn = [...document.querySelectorAll("svg.flip-map")].every(fits);
              return isDrawn && scrollWidth <= clientWidth;
            }"""
        )


def made_up(num_examples: int = 40_000) -> Dataset:
    """Give a data set that ten thousand nodes can share."""
    labels = np.random.default_rng(0).integers(0, 10, num_examples)
    return Dataset(
        title="Made up",
        features=np.zeros((num_examples, 1), dtype=np.float32),
        labels=labels,
        class_names=tuple("abcdefghij"),
        attribution="Nobody.",
    )


def make_fleet(home: Path, *, nodes: int, rounds: int = 4) -> Run:
    """Tell a run in which some nodes fail, one is slow, one is left out, one diverges."""
    lab, run_id = open_lab(home), f"261122-120000-{nodes:04x}"
    spec = {
        "run_id": run_id,
        "name": "hospitals",
        "kind": "scenario",
        "created_s": 1_790_000_000.0,
        "seed": 0,
        "num_rounds": rounds,
        "num_nodes": nodes,
        "engine": "in_process",
        "federation": None,
        "workers": 1,
        "run_config": {},
        "overrides": {},
        "scenario": {},
    }
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec)
    random = np.random.default_rng(0)
    facts: list[tuple[EventKind, int, dict[str, Any]]] = [
        (EventKind.SETTINGS, 1, {"excluded": [5]})
    ]
    for at in range(1, rounds + 1):
        facts.append((EventKind.ROUND_STARTED, at, {"num_rounds": rounds}))
        for node in range(nodes):
            if node % 11 == 10:
                continue  # not sampled
            facts += [
                (EventKind.CLIENT, at, _reply(random, node, at, phase))
                for phase in ("train", "evaluate")
            ]
        facts.append((EventKind.ROUND_ENDED, at, {"duration_s": 2.0}))
    writer = JournalWriter(lab, run_id)
    writer.append(
        [
            RunEvent(
                run_id=run_id,
                sequence=sequence,
                time_s=1_790_000_000.0 + sequence / 50,
                server_round=server_round,
                kind=kind,
                body=body,
            )
            for sequence, (kind, server_round, body) in enumerate(facts)
        ]
    )
    writer.close()
    return Run(lab, run_id)


def _reply(
    random: np.random.Generator, node: int, server_round: int, phase: str
) -> dict[str, Any]:
    fails = phase == "train" and (node % 17 == 2 or (node % 13 == 4 and server_round == 2))
    accuracy = float("nan") if node == 7 else 0.9 - 0.5 / server_round
    metrics = {
        "train": {"train_loss": 1 / server_round},
        "evaluate": {"eval_accuracy": accuracy + random.normal(0, 0.03)},
    }
    return ClientFact(
        phase=phase,
        node_id=node + 1000,
        partition_id=node,
        num_examples=0 if fails else 40 + node % 30,
        started_s=0.0,
        duration_s=float(random.lognormal(-0.5, 0.4)) * (6 if node == 3 else 1),
        bytes_down=40_000,
        bytes_up=40_000,
        metrics={} if fails else metrics[phase],
        error_code=206 if fails else 0,
        error="Traceback …\nMemoryError: <b>no</b> room" if fails else "",
    ).body()


@pytest.fixture
def big_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a data set for ten thousand nodes."""
    monkeypatch.setitem(DATASETS._things, "made-up", made_up)


def contrast(one: list[int], other: list[int]) -> float:
    """Give the contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""

    def luminance(colour: list[int]) -> float:
        parts = [c / 255 for c in colour]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def wait_for_title(shown: Shown, text: str) -> None:
    """Wait until Python has drawn what was chosen."""
    expect(shown.view.locator(".flip-title")).to_have_text(text)


def test_a_slider_draws_while_it_moves(context: BrowserContext, site: str) -> None:
    """One wish at a time; what stands in Python follows."""
    explorer = PartitionExplorer()
    shown = Shown(context, site, explorer)
    alpha = shown.view.get_by_role("slider", name="alpha")
    alpha.focus()
    for _ in range(12):
        shown.page.keyboard.press("ArrowRight")
    code = shown.view.locator("pre")
    expect(code).to_contain_text('"data.options.alpha": 0.33')
    assert explorer.overrides == {"data.options.alpha": 0.33}
    expect(shown.view.locator(".flip-busy")).to_have_text("")
    nodes = shown.view.get_by_role("spinbutton", name="Nodes, exactly")
    nodes.fill("24")
    nodes.press("Enter")
    wait_for_title(shown, "digits over 24 nodes: dirichlet")
    assert explorer.scenario.data.num_partitions == 24
    expect(shown.view.locator(".flip-count").first).to_be_visible()
    shown.view.get_by_role("button", name="Back to the scenario").click()
    expect(code).to_have_text('lab.launch("digits-dirichlet")')
    assert shown.errors == []
    assert shown.page.evaluate("window.passed") == []  # Jupyter would take the arrows


def test_a_partitioner_brings_its_controls(context: BrowserContext, site: str) -> None:
    """Choices, numbers that may be left empty, switches; and those of another are gone."""
    explorer = PartitionExplorer()
    shown = Shown(context, site, explorer)
    partitioner = shown.view.get_by_label("Partitioner", exact=True)
    partitioner.select_option("pathological")
    wait_for_title(shown, "digits over 10 nodes: pathological")
    expect(shown.view.get_by_role("slider", name="alpha")).to_have_count(0)
    shown.view.get_by_label("class assignment").select_option("random")
    expect(shown.view.locator("pre")).to_contain_text('{"class_assignment": "random"}')
    partitioner.select_option("shard")
    size = shown.view.get_by_role("spinbutton", name="shard size, exactly")
    expect(size).to_have_attribute("placeholder", "none")
    size.fill("20")
    size.press("Enter")
    expect(shown.view.locator("pre")).to_contain_text('"shard_size": 20')
    size.fill("")
    size.press("Enter")
    expect(shown.view.locator("pre")).to_contain_text('"data.options": {}')
    assert explorer.overrides == {"data.partitioner": "shard", "data.options": {}}
    partitioner.select_option("dirichlet")
    shown.view.get_by_role("checkbox", name="self balancing").check()
    expect(shown.view.locator("pre")).to_contain_text('"data.options.self_balancing": True')
    assert shown.errors == []


def test_what_cannot_be_split_keeps_the_last_picture(
    context: BrowserContext, site: str
) -> None:
    """Code and remedy stand above it; the next good choice takes them away."""
    shown = Shown(context, site, PartitionExplorer())
    nodes = shown.view.get_by_role("spinbutton", name="Nodes, exactly")
    nodes.fill("900")
    nodes.press("Enter")
    alert = shown.view.get_by_role("alert")
    expect(alert).to_contain_text("FLIP-110 1797 examples cannot fill 900 partitions")
    expect(alert).to_contain_text("898 or less")
    expect(shown.view.locator(".flip-title")).to_have_text(
        "digits over 10 nodes: dirichlet"
    )
    expect(shown.view.locator(".flip-map")).to_have_count(2)
    nodes.fill("898")
    shown.view.get_by_label("Partitioner", exact=True).select_option("iid")
    wait_for_title(shown, "digits over 898 nodes: iid")
    expect(alert).to_be_hidden()
    assert shown.errors == []


def test_cells_are_walked_and_told(context: BrowserContext, site: str) -> None:
    """Left and right from node to node, up and down from label to label, in words."""
    shown = Shown(context, site, PartitionExplorer())
    maps = shown.view.locator(".flip-map")
    expect(maps).to_have_count(2)
    cells, pairs = maps.all()
    told = shown.view.locator(".flip-readout")
    cells.focus()
    expect(told).to_contain_text("node 0: 31 examples · label 0: 3 examples, 10 %")
    for key in ("ArrowRight", "ArrowDown"):
        shown.page.keyboard.press(key)
    expect(told).to_contain_text("node 1: 108 examples · label 1: 24 examples, 22 %")
    shown.page.keyboard.press("End")
    expect(told).to_contain_text("node 9")
    pairs.focus()
    expect(told).to_have_text("node 0 and node 0: total variation 0.00")
    shown.page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("node 0 and node 1")
    cells.hover(position={"x": 500, "y": 200})
    expect(told).to_contain_text("label")
    expect(told).to_have_attribute("aria-live", "polite")
    assert shown.page.evaluate("window.passed") == []


@pytest.mark.usefixtures("big_dataset")
def test_ten_thousand_nodes_are_a_few_columns(context: BrowserContext, site: str) -> None:
    """A few paths, and nothing sticks out; sliders draw when they are let go."""
    explorer = PartitionExplorer(
        overrides={
            "data.dataset": "made-up",
            "data.num_partitions": 10_000,
            "data.partitioner": "iid",
            "data.options": {},
        }
    )
    shown = Shown(context, site, explorer)
    wait_for_title(shown, "made-up over 10,000 nodes: iid")
    expect(shown.view.locator(".flip-host path")).not_to_have_count(0)
    assert shown.view.locator(".flip-host path").count() < 30
    expect(shown.view.locator(".flip-matrix")).to_be_hidden()
    shown.view.locator(".flip-map").first.focus()
    expect(shown.view.locator(".flip-readout")).to_contain_text("41 nodes from node")
    slider = shown.view.get_by_role("slider", name="Nodes")
    shown.page.clock.install()
    slider.evaluate(
        "(node) => { node.value = 950; node.dispatchEvent(new Event('input')); }"
    )
    shown.page.clock.run_for(1_000)  # longer than a slider that draws would wait
    shown.wait_until_within()
    assert explorer.scenario.data.num_partitions == 10_000
    assert shown.errors == []


@pytest.mark.parametrize("dark", [False, True])
def test_both_read_in_light_and_dark_and_on_narrow_pages(
    context: BrowserContext, site: str, tmp_path: Path, *, dark: bool
) -> None:
    """Text has 4.5:1 on its ground, nothing is wider than the page, no network is used."""
    run = make_fleet(tmp_path / "lab", nodes=60)
    for widget in (PartitionExplorer(), FleetView(run)):
        shown = Shown(context, site, widget, dark=dark)
        ground = shown.colour("xpath=.", "backgroundColor")
        assert (sum(ground) < 200) == dark
        for text in (".flip-title", ".flip-facts dt", ".flip-readout", "button"):
            assert contrast(shown.colour(text, "color"), ground) >= 4.5
        shown.page.set_viewport_size({"width": 380, "height": 900})
        shown.wait_until_within()
        assert shown.errors == []
        assert all(
            each.startswith(("http://127.0.0.1", "data:")) for each in shown.requests
        )
        shown.page.evaluate("window.leave()")
        assert shown.page.evaluate("window.listeners()") == 0
        shown.page.close()


def test_nodes_are_sorted_found_and_told(
    context: BrowserContext, site: str, tmp_path: Path
) -> None:
    """The table, the map, and one node's story."""
    shown = Shown(context, site, FleetView(make_fleet(tmp_path / "lab", nodes=60)))
    rows = shown.view.locator(".flip-space .flip-row")
    expect(rows.first).to_contain_text("partition 0")
    shown.view.get_by_role("button", name="mean s").click()
    expect(rows.first).to_contain_text("partition 3")  # the slowest
    shown.view.get_by_label("Condition").select_option(label="excluded (1)")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("partition 5")
    shown.view.get_by_label("Condition").select_option("")
    shown.view.get_by_role("searchbox").fill("7, 12")
    expect(shown.view.locator(".flip-count")).to_have_text("2 of 60 nodes")
    shown.view.get_by_role("searchbox").fill("")

    shown.view.locator(".flip-map").focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("ArrowRight")
    expect(shown.view.locator(".flip-readout").first).to_contain_text(
        "partition 2 · failed at some time"
    )
    shown.page.keyboard.press("Enter")
    detail = shown.view.locator(".flip-detail")
    expect(detail.locator(".flip-chart")).to_have_count(2)
    expect(detail).to_contain_text("round 4, train, code 206")
    expect(detail.locator("summary").first).to_contain_text("<b>no</b> room")
    detail.locator(".flip-chart").last.focus()
    expect(detail.locator(".flip-readout")).to_contain_text("round 4 · seconds (train)")
    detail.get_by_role("button", name="Close").click()
    expect(detail).to_be_hidden()
    assert shown.errors == []
    assert shown.page.evaluate("window.passed") == []


def test_another_metric_and_what_is_new(
    context: BrowserContext, site: str, tmp_path: Path
) -> None:
    """Both are asked of Python; a run that came meanwhile is offered."""
    make_fleet(tmp_path / "lab", nodes=12)
    view = FleetView(Lab(tmp_path / "lab"))
    shown = Shown(context, site, view)
    head = shown.view.locator(".flip-row-head")
    expect(head).to_contain_text("eval_accuracy")
    shown.view.get_by_label("Metric").select_option("train/train_loss")
    expect(head).to_contain_text("train_loss")
    shown.view.get_by_label("Map shows").select_option("metric")
    expect(shown.view.locator(".flip-key").first).to_contain_text(
        "last metric, equal numbers"
    )
    make_fleet(tmp_path / "lab", nodes=20)
    shown.view.get_by_role("button", name="Refresh").click()
    scope = shown.view.get_by_label("Nodes of")
    expect(scope.locator("option")).to_have_count(2)
    scope.select_option("run:261122-120000-0014")
    expect(shown.view.locator(".flip-count")).to_have_text("20 nodes")
    assert len(view.nodes) == 20
    assert shown.errors == []


def test_a_table_of_two_thousand_nodes_holds_few_rows(
    context: BrowserContext, site: str, tmp_path: Path
) -> None:
    """Only rows in sight exist; keys reach the last one; the map is a few paths."""
    shown = Shown(
        context, site, FleetView(make_fleet(tmp_path / "lab", nodes=2_000, rounds=2))
    )
    rows = shown.view.locator(".flip-space .flip-row")
    expect(shown.view.locator(".flip-count")).to_have_text("2,000 nodes")
    assert rows.count() < 40
    grid = shown.view.get_by_role("grid")
    grid.focus()
    shown.page.keyboard.press("End")
    expect(rows.last).to_contain_text("partition 1999")
    expect(grid).to_have_attribute("aria-rowcount", "2000")
    assert shown.view.locator(".flip-host path").count() < 10
    shown.wait_until_within()
    assert shown.page.evaluate("window.passed") == []
