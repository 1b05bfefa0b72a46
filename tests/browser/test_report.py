"""A report in a real browser: every figure is drawn in its theme, and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from flip_lab.core.events import EventKind, Json
from flip_lab.core.state import RunState
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.report import report_pdf, write_report
from flip_lab.runs.spec import RunSpec
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic

pytestmark = pytest.mark.browser

PAPER_PX = 688
PATIENCE_MS = 180_000  # shared machines are slow at times


@pytest.fixture
def recorded(lab_path: Path) -> LabDir:
    """Give a lab with one run of three rounds."""
    lab = open_lab(lab_path)
    spec = RunSpec(
        run_id="r1",
        name="</title><script>document.title='broken'</script>",
        kind="app",
        created_s=1_700_000_000.0,
        seed=0,
        num_rounds=3,
        num_nodes=2,
        engine="in_process",
        federation=None,
        workers=1,
        run_config={},
        overrides={},
    )
    write_json_atomic(lab.run_dir("r1") / "run.json", spec.to_json())
    recorder = Recorder("r1", JournalWriter(lab, "r1"))
    recorder.enter(RunState.STARTING)
    recorder.enter(RunState.RUNNING)
    for at in (1, 2, 3):
        recorder.emit(EventKind.ROUND_STARTED, {"num_rounds": 3}, server_round=at)
        body: dict[str, Json] = {
            "phase": "evaluate",
            "scope": "federated",
            "name": "eval_accuracy",
            "value": at / 4,
        }
        recorder.emit(EventKind.METRIC, body, server_round=at)
        recorder.emit(EventKind.ROUND_ENDED, {"duration_s": 1.0}, server_round=at)
    recorder.enter(RunState.COMPLETED)
    recorder.close()
    return lab


def opened(page: Page, path: Path) -> tuple[list[str], list[str]]:
    """Open a report; give the complaints and the addresses of what it asked for."""
    complaints: list[str] = []
    asked: list[str] = []
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure')]"
        ".every(figure => figure.dataset.drawn && figure.querySelector('.main-svg'))"
    )
    return complaints, asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_in_the_readers_theme(
    recorded: LabDir, chromium: Browser, scheme: Literal["light", "dark"]
) -> None:
    """Nothing is asked of the network, nothing complains, and the title is the name."""
    path = write_report(recorded, ["r1"], recorded.root / "report.html")
    with chromium.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        complaints, asked = opened(page, path)
        figures = page.locator("figure")
        assert figures.count() >= 2
        for at in range(figures.count()):
            assert figures.nth(at).get_attribute("data-drawn") == scheme
        assert page.title().startswith("</title><script>")
        assert complaints == []
        assert [
            url for url in asked if not url.startswith(("file:", "data:", "blob:"))
        ] == []


def test_paper_is_light_and_as_wide_as_paper(recorded: LabDir, chromium: Browser) -> None:
    """Printing a dark page from the browser redraws its figures, and turns them back."""
    path = write_report(recorded, ["r1"], recorded.root / "report.html", theme="dark")
    with chromium.new_context() as context:
        page = context.new_page()
        opened(page, path)
        figure = page.locator("figure").first
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert figure.get_attribute("data-drawn") == "light"
        width = figure.locator(".main-svg").first.evaluate("svg => svg.clientWidth")
        assert width == PAPER_PX
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert figure.get_attribute("data-drawn") == "dark"


@pytest.mark.usefixtures("chromium_path")
def test_a_pdf_is_printed_with_its_figures(recorded: LabDir) -> None:
    """The file is whole, and holds more drawing than a page of words would."""
    printed = report_pdf(recorded, ["r1"])
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 2
    assert len(printed) > 30_000
