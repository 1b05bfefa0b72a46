"""The comparer in a real JupyterLab: choose, group, look into runs and clients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from flip_lab.core.events import ClientFact, EventKind, Json, RunEvent
from flip_lab.runs.life_sign import mark_ended
from flip_lab.store.compaction import compact
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic

pytestmark = pytest.mark.browser

PATIENCE_S = 180  # shared machines are slow at times
STRATEGIES = ("FedAvg", "FedProx", "FedAdam")
FEW, MANY = range(2)  # the cells
CELLS = (
    'Comparer(Lab("few"), by="strategy.name")',
    'Comparer(Lab("many"), by="train.learning_rate", draw="lines")',
)
RUN_CELL = """
async (index) => {
  window.jupyterapp.shell.currentWidget.content.activeCellIndex = index;
  await window.jupyterapp.commands.execute("notebook:run-cell");
}
"""
IS_DRAWN = """
(root) => [...root.querySelectorAll(".flip-main .flip-host")].every((host) => {
  const chart = host.querySelector(".flip-chart");
  return chart && Number(chart.getAttribute("width")) === Math.max(host.clientWidth, 220);
})
"""
"""Whether each chart is as wide as there is room; until then it is drawn anew."""

THEME = """
async (theme) => {
  await window.jupyterapp.commands.execute("apputils:change-theme", { theme });
}
"""
IS_IDLE = """
() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext
  .session?.kernel?.status === "idle"
"""


class Teller:
    """Writes runs as a run process would, without training anything."""

    def __init__(self, path: Path) -> None:
        """Begin with an empty lab."""
        self.lab: LabDir = open_lab(path)
        self.told: list[str] = []

    def run(self, number: int, *, rounds: int, clients: int, diverges: bool = False) -> str:
        """Tell one run; its strategy, learning rate and seed follow from its number."""
        run_id = f"261122-{number:06d}-{number:04x}"
        strategy = STRATEGIES[number % 3]
        rate = (0.1, 0.03, 0.01, None)[number // 3 % 4]
        spec = {
            "run_id": run_id,
            "name": "hospitals",
            "kind": "scenario",
            "created_s": 1_790_000_000.0 + 60 * number,
            "seed": number // 3 % 10,
            "num_rounds": rounds,
            "num_nodes": clients,
            "engine": "in_process",
            "federation": None,
            "workers": 1,
            "run_config": {},
            "overrides": {},
            "scenario": {
                "strategy": {"name": strategy},
                "train": {"local_epochs": 1 + number % 2}
                | ({} if rate is None else {"learning_rate": rate}),
            },
        }
        folder = self.lab.run_dir(run_id)
        folder.mkdir(parents=True)
        write_json_atomic(folder / "run.json", spec)
        writer = JournalWriter(self.lab, run_id)
        writer.append(self._events(run_id, number, rounds, clients, diverges=diverges))
        writer.close()
        mark_ended(folder)
        self.told.append(run_id)
        return run_id

    def _events(
        self, run_id: str, number: int, rounds: int, clients: int, *, diverges: bool
    ) -> list[RunEvent]:
        random = np.random.default_rng(number)
        best = 0.84 + 0.05 * (number % 3) - 0.02 * (number // 3 % 4)
        facts: list[tuple[EventKind, int, dict[str, Json]]] = [
            (EventKind.STATE, 0, {"state": state})
            for state in ("pending", "starting", "running")
        ]
        for at in range(1, rounds + 1):
            facts.append((EventKind.ROUND_STARTED, at, {"num_rounds": rounds}))
            course = best * (1 - math.exp(-at / 7))
            for node in range(clients):
                mine = course - 0.2 * (node == 3) + random.normal(0, 0.02)
                fact = ClientFact(
                    phase="evaluate",
                    node_id=1000 + node,
                    partition_id=node,
                    num_examples=40 + node,
                    started_s=0.0,
                    duration_s=0.4 + node / 100,
                    bytes_down=40_000,
                    bytes_up=40_000,
                    metrics={"eval_accuracy": min(mine, 1.0), "eval_loss": 1 - mine},
                )
                facts.append((EventKind.CLIENT, at, fact.body()))
            lost = diverges and at > rounds // 2
            value = math.nan if lost else course + random.normal(0, 0.012)
            facts += [
                (EventKind.METRIC, at, metric("eval_accuracy", "federated", value)),
                (
                    EventKind.METRIC,
                    at,
                    metric("eval_loss", "central", 2.3 * math.exp(-at / 9)),
                ),
                (EventKind.ROUND_ENDED, at, {"duration_s": 2.0 + number % 3}),
            ]
        facts.append((EventKind.STATE, rounds, {"state": "completed"}))
        return [
            RunEvent(
                run_id=run_id,
                sequence=sequence,
                time_s=1_790_000_000.0 + 60 * number + sequence / 50,
                server_round=server_round,
                kind=kind,
                body=body,
            )
            for sequence, (kind, server_round, body) in enumerate(facts)
        ]


def metric(name: str, scope: str, value: float) -> dict[str, Json]:
    """Give the body of a metric."""
    return {"phase": "evaluate", "scope": scope, "name": name, "value": value}


def make_labs(home: Path) -> None:
    """Make a lab of 30 runs with clients, and one of 1,000 runs that is sealed."""
    few = Teller(home / "few")
    for number in range(30):
        few.run(number, rounds=30, clients=8, diverges=number == 4)
    many = Teller(home / "many")
    for number in range(1000):
        many.run(number, rounds=40, clients=0)
    compact(many.lab, many.told)


@pytest.fixture(scope="module")
def jupyter_url(
    tmp_path_factory: pytest.TempPathFactory,
    serve_notebook: Callable[..., AbstractContextManager[str]],
) -> Iterator[str]:
    """Serve a notebook beside the labs that it shows."""
    home = tmp_path_factory.mktemp("comparer")
    make_labs(home / "work")
    setup = "from flip_lab import Comparer, Lab\n"
    with serve_notebook(home, [setup + text for text in CELLS]) as url:
        yield url


class Shown:
    """The notebook's page, what it asked the network for, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        """Listen to the page."""
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._asked)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def cell(self, index: int) -> Locator:
        """Run a cell anew and give its comparer, as it is at first."""
        output = self.page.locator(".jp-CodeCell").nth(index)
        output.evaluate("(cell) => cell.querySelector('.flip-comparer')?.remove()")
        self.page.evaluate(RUN_CELL, index)
        view = output.locator(".flip-comparer")
        view.locator(".flip-chart").first.wait_for()
        self.page.wait_for_function(IS_DRAWN, arg=view.element_handle())
        return view


@pytest.fixture(scope="module")
def shown(jupyter_url: str, chromium: Browser) -> Iterator[Shown]:
    """Open the notebook and wait for its kernel."""
    with chromium.new_context(viewport={"width": 1280, "height": 1500}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        opened = Shown(page)
        page.goto(jupyter_url, wait_until="domcontentloaded")
        page.wait_for_function(IS_IDLE)
        yield opened


def choose(view: Locator, label: str, value: str) -> None:
    """Choose in one of the comparer's controls."""
    view.get_by_label(label, exact=True).select_option(value)


def legend(view: Locator) -> list[str]:
    """Read the names of the groups."""
    return [text.strip() for text in view.locator(".flip-legend li").all_text_contents()]


def test_groups_are_drawn_chosen_and_hidden(shown: Shown) -> None:
    """Means with bands by strategy; another key; a group that is hidden."""
    view = shown.cell(FEW)
    expect(view.locator(".flip-title")).to_have_text("30 runs compared by strategy.name")
    assert [text.split()[0] for text in legend(view)] == ["FedAdam", "FedAvg", "FedProx"]
    expect(view.locator(".flip-band")).to_have_count(3)
    expect(view.locator(".flip-notes")).to_contain_text("1 run with NaN or infinite")

    choose(view, "Group by", "train.learning_rate")
    expect(view.locator(".flip-title")).to_contain_text("by train.learning_rate")
    assert [text.rsplit(" ", 2)[0] for text in legend(view)] == [
        "0.01",
        "0.03",
        "0.1",
        "not set",
    ]

    view.get_by_role("button", name="not set").click()
    expect(view.locator(".flip-band")).to_have_count(3)
    choose(view, "Against", "seconds")
    expect(view.locator(".flip-axis-title")).to_contain_text("time spent in rounds (min)")
    expect(view.locator(".flip-band")).to_have_count(3)  # still hidden
    assert shown.errors == []


def test_runs_are_searched_and_ticked(shown: Shown) -> None:
    """Words and key=value narrow the list; All and None act on what is listed."""
    view = shown.cell(FEW)
    search = view.get_by_role("searchbox")
    search.fill("seed=3")
    expect(view.locator(".flip-side .flip-count")).to_have_text(
        "30 of 30 chosen · 3 listed"
    )
    view.get_by_role("button", name="None", exact=True).click()
    expect(view.locator(".flip-title")).to_contain_text("27 runs compared")
    search.fill("seed=3 fedavg")
    expect(view.locator(".flip-side .flip-row[data-at]")).to_have_count(1)
    view.locator(".flip-side .flip-tick").click()
    expect(view.locator(".flip-title")).to_contain_text("28 runs compared")
    search.fill("nothing is called like this")
    expect(view.locator(".flip-side .flip-row[data-at]")).to_have_count(0)
    search.fill("")
    view.get_by_role("button", name="None", exact=True).click()
    expect(view.locator(".flip-charts")).to_contain_text("No run is chosen.")
    view.get_by_role("button", name="All", exact=True).click()
    expect(view.locator(".flip-title")).to_contain_text("30 runs compared")
    assert shown.errors == []


def test_keys_walk_along_lines_and_open_groups(shown: Shown) -> None:
    """All that the pointer does, keys do; JupyterLab does not take them."""
    view = shown.cell(FEW)
    chart, words = view.locator(".flip-chart"), view.locator(".flip-main .flip-readout")
    chart.focus()
    expect(words).to_contain_text("FedAdam · round 30 · eval_accuracy")
    expect(words).to_contain_text("95 % band")
    chart.press("ArrowLeft")
    expect(words).to_contain_text("FedAdam · round 29")
    chart.press("ArrowDown")
    expect(words).to_contain_text("FedAvg · round 29")
    chart.press("Home")
    expect(words).to_contain_text("FedAvg · round 1 ")
    chart.press("Enter")
    detail = view.locator(".flip-detail")
    expect(detail.locator("h4")).to_have_text("FedAvg: 10 runs")
    expect(detail).to_be_focused()
    rows = detail.locator(".flip-rows")
    rows.focus()
    rows.press("ArrowDown")
    rows.press("Enter")
    expect(detail.locator("h4")).to_contain_text("hospitals · 261122-")
    expect(detail.get_by_label("Round", exact=True)).to_have_value("1")
    active = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    assert shown.page.evaluate(active) == FEW
    assert shown.errors == []


def test_a_run_and_a_client_tell_their_history(shown: Shown) -> None:
    """From a line to its run, from the run to a client, from there to all its rounds."""
    view = shown.cell(FEW)
    choose(view, "Draw", "lines")
    expect(view.locator(".flip-path")).to_have_count(3)
    expect(view.locator(".flip-crosses")).to_have_count(1)
    view.get_by_role("searchbox").fill("0004")  # the run that diverges
    view.locator(".flip-side .flip-run").first.click()
    detail = view.locator(".flip-detail")
    expect(detail.locator(".flip-facts").first).to_contain_text("completed")
    expect(detail.locator(".flip-settings")).to_contain_text("strategy.name")
    expect(detail.locator(".flip-settings")).to_contain_text("of 29 others")
    clients = detail.locator(".flip-rows")
    expect(clients.locator(".flip-row[data-at]")).to_have_count(8)

    detail.get_by_role("button", name="Round before").click()
    expect(detail.get_by_label("Round", exact=True)).to_have_value("29")
    clients.get_by_role("button", name="eval_accuracy").click()
    expect(clients.locator(".flip-row[data-at]").first).to_contain_text("client 3")
    clients.locator(".flip-row[data-at]").first.click()
    expect(detail.locator(".flip-client strong")).to_have_text("client 3")
    expect(detail.locator(".flip-client .flip-band")).to_have_count(1)
    detail.locator(".flip-client .flip-chart").focus()
    expect(detail.locator(".flip-client .flip-readout")).to_contain_text(
        "client 3 · round 30"
    )
    detail.get_by_label("Metric of the client").select_option("evaluate/eval_loss")
    expect(detail.locator(".flip-client .flip-chart")).to_have_attribute(
        "aria-label", "eval_loss of client 3 over the rounds, and its cohort"
    )
    detail.get_by_role("button", name="Close").click()
    expect(detail).to_be_hidden()
    assert shown.errors == []


def test_smoothing_metrics_and_the_log_axis(shown: Shown) -> None:
    """The axis says what was done to the values; each metric has its panel."""
    view = shown.cell(FEW)
    slider = view.get_by_role("slider")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    expect(view.locator("figcaption")).to_have_text(
        "eval_accuracy, moving average (EMA) over 5 points"
    )
    view.locator(".flip-menu summary").click()
    view.locator(".flip-menu").get_by_label("eval_loss").check()
    expect(view.locator("figure .flip-chart")).to_have_count(2)
    view.locator(".flip-menu summary").press("Escape")
    values = view.locator("figure").last.locator(".flip-tick-text[text-anchor=end]")
    before = values.all_text_contents()
    assert len(before) > 1
    view.get_by_label("log axis").check()
    expect(values).not_to_have_text(before)
    expect(view.locator("figure .flip-chart")).to_have_count(2)
    assert shown.errors == []


def test_a_thousand_runs_stay_light(shown: Shown) -> None:
    """Only rows in sight exist, and lines of a group are one path."""
    view = shown.cell(MANY)
    expect(view.locator(".flip-title")).to_contain_text("1,000 runs compared")
    expect(view.locator(".flip-path")).to_have_count(4)
    assert view.locator(".flip-row").count() < 80
    rows = view.locator(".flip-side .flip-rows")
    rows.focus()
    rows.press("End")
    expect(rows.locator(".flip-active")).to_have_attribute("aria-rowindex", "1000")
    expect(rows.locator(".flip-active")).to_contain_text("0000")
    rows.press("Space")
    expect(view.locator(".flip-title")).to_contain_text("999 runs compared")
    assert view.locator(".flip-row").count() < 80
    assert shown.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(shown: Shown, theme: str) -> None:
    """JupyterLab's theme decides; every text has at least 4.5:1 (WCAG AA)."""
    shown.page.evaluate(THEME, f"JupyterLab {theme.title()}")
    view = shown.cell(FEW)
    shown.page.locator(f'[data-jp-theme-light="{str(theme == "light").lower()}"]').wait_for(
        state="attached"
    )
    view.locator(".flip-side .flip-run").first.click()
    view.locator(".flip-detail .flip-story").wait_for()
    paper = luminance(colour(view, "backgroundColor"))
    sunk = luminance(colour(view.locator(".flip-detail"), "backgroundColor"))
    assert (paper < 0.1) == (theme == "dark")
    for ground, selector in (
        (paper, ".flip-title"),
        (paper, ".flip-count"),
        (paper, ".flip-side small"),
        (paper, ".flip-notes"),
        (paper, ".flip-controls .flip-field > span"),
        (sunk, ".flip-row-head"),
        (sunk, ".flip-facts dt"),
        (sunk, ".flip-story"),
    ):
        ink = luminance(colour(view.locator(selector).first, "color"))
        low, high = sorted((ink, ground))
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector
    shown.page.evaluate(THEME, "JupyterLab Light")


def colour(place: Locator, kind: str) -> list[int]:
    """Give the red, green and blue of an element's computed style."""
    found: Any = place.evaluate("(node, kind) => getComputedStyle(node)[kind]", kind)
    return [int(part) for part in found[found.index("(") + 1 : -1].split(",")[:3]]


def luminance(rgb: list[int]) -> float:
    """Give the relative luminance of a colour (WCAG 2.2)."""
    parts = [value / 255 for value in rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_narrow_cell_shows_one_column(shown: Shown) -> None:
    """Nothing sticks out where there is little room."""
    view = shown.cell(FEW)
    view.evaluate("(root) => { root.style.width = '340px'; }")
    shown.page.wait_for_function(
        "(root) => root.querySelector('.flip-chart').getBoundingClientRect().width <= 340"
        " && root.scrollWidth <= root.clientWidth",
        arg=view.element_handle(),
    )


def test_nothing_is_asked_of_other_machines(shown: Shown) -> None:
    """The widget works without a network."""
    shown.cell(FEW)
    hosts = {url.split("/")[2] for url in shown.requests if url.startswith(("http", "ws"))}
    assert all(host.startswith("127.0.0.1:") for host in hosts), hosts
