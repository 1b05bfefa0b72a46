"""Reports: whole, self-contained, of any run, and never broken by what they show."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

from flip_lab.core.errors import (
    AnalysisError,
    ClientsFailedError,
    InvalidValueError,
    RunNotFoundError,
)
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.state import RunState
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.report import Question, report_html, write_report
from flip_lab.runs.report_page import ReportTheme
from flip_lab.runs.report_question import separating_keys
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.views.theme import plotly_javascript

EVIL = "</script><script>alert('x')</script><b>&\"'"
LINEAGE = {
    "git_commit": "c0ffee" * 6,
    "git_dirty": True,
    "env_sha256": "e" * 64,
    "python": "3.11.7",
    "flwr": "1.41.0",
    "flip_lab": "0.1.0",
}


def headings(page: str) -> list[str]:
    """Give the titles of a report's sections."""
    return re.findall(r"<h2>(.*?)</h2>", page)


def figures(page: str) -> list[Any]:
    """Read the figures of a report in its first look, as a browser would."""
    found = re.findall(
        r'<figure>.*?<script type="application/json" data-theme="\w+">(.*?)</script>', page
    )
    return [json.loads(text) for text in found]


def without_plotly(page: str) -> str:
    """Give the page with plotly's own script emptied: it is large, and not ours."""
    return page.replace(plotly_javascript(), "")


def body_of(page: str) -> str:
    """Give what a reader sees: the page without plotly's script and the figures' data."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def record(
    lab: LabDir,
    run_id: str,
    *,
    error: ClientsFailedError | None = None,
    accuracy: float = 0.8,
    name: str = "app",
    **config: Any,  # noqa: ANN401  # values of a run configuration
) -> None:
    """Record a run of two rounds and four clients that evaluated."""
    spec = RunSpec(
        run_id=run_id,
        name=name,
        kind="app",
        created_s=1_700_000_000.0 + len(list(lab.runs.glob("*"))),
        seed=int(config.pop("seed", 0)),
        num_rounds=2,
        num_nodes=4,
        engine="in_process",
        federation=None,
        workers=1,
        run_config=config,
        overrides={},
        lineage=LINEAGE,
    )
    write_json_atomic(lab.run_dir(run_id) / "run.json", spec.to_json())
    recorder = Recorder(run_id, JournalWriter(lab, run_id))
    recorder.enter(RunState.STARTING)
    recorder.enter(RunState.RUNNING)
    for server_round in (1, 2):
        recorder.emit(EventKind.ROUND_STARTED, {"num_rounds": 2}, server_round=server_round)
        for partition_id in range(4):
            value = accuracy + partition_id / 100
            fact = _client(partition_id, value if partition_id else math.nan)
            recorder.emit(EventKind.CLIENT, fact.body(), server_round=server_round)
        body: dict[str, Json] = {
            "phase": "evaluate",
            "scope": "federated",
            "name": "eval_accuracy",
            "value": accuracy + server_round / 50,
        }
        recorder.emit(EventKind.METRIC, body, server_round=server_round)
        recorder.emit(EventKind.ROUND_ENDED, {"duration_s": 1.5}, server_round=server_round)
    recorder.enter(RunState.FAILED if error else RunState.COMPLETED, error)
    recorder.close()


def _client(partition_id: int, value: float) -> ClientFact:
    failed = partition_id == 3
    return ClientFact(
        phase="evaluate",
        node_id=partition_id + 100,
        partition_id=partition_id,
        num_examples=8,
        started_s=1_700_000_000.0,
        duration_s=0.25,
        bytes_down=1024,
        bytes_up=2048,
        metrics={} if failed else {"eval_accuracy": value},
        error_code=1 if failed else 0,
        error=f"{EVIL}\nTraceback" if failed else "",
    )


def test_a_report_of_a_run_is_whole(lab_dir: LabDir) -> None:
    """Each part that the run has facts for is there, with its numbers and hashes."""
    record(lab_dir, "r1")
    page = report_html(lab_dir, ["r1"])
    assert headings(page) == [
        "Results",
        "Clients",
        "Fairness",
        "Time and bytes",
        "What was run",
        "Where it came from",
    ]
    seen = body_of(page)
    for words in ("completed", "0.84", LINEAGE["git_commit"], "with uncommitted changes"):
        assert str(words) in seen
    assert "Failures: 2" in seen
    assert len(figures(page)) >= 5


def test_a_report_needs_nothing_from_anywhere(lab_dir: LabDir) -> None:
    """No link, image, font or script of another place; plotly.js is in it once."""
    record(lab_dir, "r1")
    page = report_html(lab_dir, ["r1"])
    assert page.count(plotly_javascript()) == 1
    ours = without_plotly(page)
    assert not re.search(r"""(src|href)=|url\(|@import|https?://""", ours)
    assert "default-src 'none'" in unescape(page)


def test_whatever_a_run_is_called_or_raised_is_text(lab_dir: LabDir) -> None:
    """A name, a setting, an error and its detail made of markup stay words."""
    error = ClientsFailedError(f"what {EVIL}", fix=f"fix {EVIL}", detail=f"detail {EVIL}")
    record(lab_dir, "r1", name=EVIL, error=error, key=EVIL)
    page = without_plotly(report_html(lab_dir, ["r1"]))
    assert len(re.findall(r"<script>", page)) == 2  # plotly's, now empty, and the page's
    assert set(re.findall(r"<script[^>]*>", page)) == {
        "<script>",
        '<script type="application/json" data-theme="light">',
        '<script type="application/json" data-theme="dark">',
    }
    seen = body_of(page)
    assert "alert('x')" not in seen
    assert seen.count("&lt;/script&gt;") >= 6
    assert "[FLIP-303]" in seen
    for part in ("what ", "fix ", "detail "):
        assert f"{part}&lt;/script&gt;" in seen


def test_a_run_that_did_nothing_has_a_report(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """No round, no metric, no client: words and settings, no crash."""
    run = make_run("r1", rounds=0, state=RunState.STOPPED)
    page = report_html(lab_dir, [run.run_id])
    assert "stopped" in body_of(page)
    assert "Clients" not in headings(page)


@pytest.mark.parametrize(
    ("theme", "looks"),
    [("auto", {"light", "dark"}), ("light", {"light"}), ("dark", {"dark", "light"})],
)
def test_figures_are_there_in_every_look_that_is_needed(
    lab_dir: LabDir, theme: str, looks: set[str]
) -> None:
    """A dark report has light figures too: paper is light."""
    record(lab_dir, "r1")
    page = report_html(lab_dir, ["r1"], theme=cast("ReportTheme", theme))
    assert set(re.findall(r'json" data-theme="(\w+)"', page)) == looks
    assert f'data-theme="{theme}" data-media="screen"' in page


def test_a_comparison_is_whole(lab_dir: LabDir) -> None:
    """Groups by what differs, bands, tests, fairness, differences and runs."""
    for rate, accuracy in (("0.1", 0.5), ("0.3", 0.8)):
        for seed in (1, 2, 3):
            run_id = f"lr{rate}-s{seed}"
            record(lab_dir, run_id, accuracy=accuracy + seed / 100, lr=rate, seed=seed)
    run_ids = sorted(path.name for path in lab_dir.runs.iterdir())
    page = report_html(lab_dir, run_ids, question=Question(target=0.7))
    assert headings(page) == [
        "Leaderboard",
        "Curves",
        "Differences",
        "Time to eval_accuracy of 0.7",
        "Fairness",
        "What differs",
        "Runs",
    ]
    titles = [figure["layout"]["title"]["text"] for figure in figures(page)]
    assert "Leaderboard: eval_accuracy" in titles
    assert "Time to eval_accuracy ≥ 0.7" in titles
    seen = body_of(page)
    assert "Comparison of 6 runs" in seen
    assert "paired t" in seen
    assert seen.count("lr0.1-s1") >= 2


def test_runs_that_cannot_be_compared_are_named(lab_dir: LabDir) -> None:
    """A failed run is left out with its reason, not without a word."""
    for seed in (1, 2):
        record(lab_dir, f"good{seed}", seed=seed)
    record(lab_dir, "bad", seed=3, error=ClientsFailedError("All failed.", fix="Look."))
    seen = body_of(report_html(lab_dir, ["good1", "good2", "bad"]))
    assert "Left out" in seen
    assert "nothing: all runs are one group" in seen
    with pytest.raises(AnalysisError):
        report_html(lab_dir, ["good1", "good2"], question=Question(by=("nonsense",)))


def test_few_settings_tell_the_groups_apart() -> None:
    """What follows from another setting makes no group of its own, nor does a seed."""
    differing = pd.DataFrame(
        {
            "a": ["FedAvg", "0.1", "1", "ray", "5"],
            "b": ["FedAvg", "0.3", "2", "in_process", "5"],
            "c": ["FedProx", "0.1", "1", "ray", "9"],
        },
        index=["strategy.name", "train.rate", "seed", "engine", "num_rounds"],
    )
    assert separating_keys(differing) == ("strategy.name", "train.rate")
    assert separating_keys(differing.loc[["seed", "engine"]]) == ()


def test_the_name_says_which_kind_of_file(lab_dir: LabDir, tmp_path: Path) -> None:
    """HTML is written whole, folders are made; another name is refused before any work."""
    record(lab_dir, "r1")
    path = write_report(lab_dir, ["r1"], tmp_path / "new" / "r.HTML", theme="light")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(InvalidValueError, match=r"r\.docx.*\.html or \.pdf"):
        write_report(lab_dir, ["r1"], tmp_path / "r.docx")
    with pytest.raises(InvalidValueError, match=r"no report theme 'drak'.*'dark'"):
        write_report(
            lab_dir, ["r1"], tmp_path / "r.html", theme=cast("ReportTheme", "drak")
        )


def test_no_run_is_no_report(lab_dir: LabDir) -> None:
    """Neither none nor one that is not there."""
    with pytest.raises(RunNotFoundError):
        report_html(lab_dir, [])
    with pytest.raises(RunNotFoundError):
        report_html(lab_dir, ["gone"])


def test_a_handle_writes_its_report(tmp_path: Path, make_run: Callable[..., Run]) -> None:
    """``Run.report`` is the short way."""
    run = make_run("r1")
    path = run.report(tmp_path / "r1.html", theme="dark")
    assert path == tmp_path / "r1.html"
    assert "hospitals · r1" in path.read_text(encoding="utf-8")
