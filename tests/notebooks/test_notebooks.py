"""The notebooks are clean in git, tell the truth when run, and become an offline report.

How notebook 01 is executed: papermill sets its parameters as a sweep would, and nbval's lax
mode runs the result, as the project's fixed tool for notebooks. Lax, because a stripped
notebook has no outputs to compare with; what it must show is asserted on what it left in
the store, which is stronger. The demo executes it a second time, by papermill alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import papermill
import pytest
from rich.console import Console

from flip_lab import Lab
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FIRST = NOTEBOOKS / "01_first_federation.ipynb"
CONTROL_ROOM = NOTEBOOKS / "02_control_room.ipynb"
DIVERGING = NOTEBOOKS / "03_debug_a_diverging_run.ipynb"
ANALYSIS = NOTEBOOKS / "04_analysis.ipynb"
DEMO = NOTEBOOKS / "demo.py"
HOSPITALS = ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")
NUM_FIGURES = 5

every_notebook = pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem
)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    """Give a cell's tags."""
    return cell.metadata.get("tags", [])


def num_figures(executed: Path) -> int:
    """Count the figures that an executed notebook shows."""
    return sum(
        "application/vnd.plotly.v1+json" in output.get("data", {})
        for cell in nbformat.read(executed, as_version=4).cells
        for output in cell.get("outputs", [])
    )


@every_notebook
def test_is_stripped(path: Path) -> None:
    """What a run leaves in a notebook is not kept in git."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags"}, (
            "papermill's and editors' notes are output too"
        )


@every_notebook
def test_is_short_and_can_be_driven(path: Path) -> None:
    """A story has at most 25 cells, parameters for papermill, and any Python's kernel."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 25
    assert sum("parameters" in tags(cell) for cell in notebook.cells) == 1
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.slow
def test_first_federation_leaves_what_it_tells(tmp_path: Path, lab_path: Path) -> None:
    """Two strategies on four hospitals, with the parameters given, every reply recorded."""
    prepared = tmp_path / FIRST.name
    papermill.execute_notebook(
        FIRST,
        prepared,
        parameters={"engine": "in_process", "num_rounds": 3, "seed": 7},
        prepare_only=True,
    )
    options = "-q -p no:cacheprovider -p no:randomly --nbval-lax --nbval-current-env"
    nbval = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options.split(), prepared],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert nbval.returncode == 0, nbval.stdout + nbval.stderr

    lab = Lab()
    assert lab.path == lab_path
    runs = lab.runs()
    assert sorted(json.loads(text)["strategy"]["name"] for text in runs["scenario"]) == [
        "FedAdam",
        "FedAvg",
    ]
    expected = {
        "name": "hospitals",
        "state": "completed",
        "seed": 7,
        "num_rounds": 3,
        "rounds_done": 3,
        "num_nodes": 4,
    }
    for column, value in expected.items():
        assert set(runs[column]) == {value}
    assert set(runs["engine"]) == {"in_process", "auto"}, "as asked for, and the default"
    assert runs["model_sha256"].nunique() == 2, "another strategy gives another model"
    assert runs["partition_sha256"].nunique() == 1, "from the same patients"

    replies = lab.table("clients")
    assert (replies["error_code"] == 0).all()
    each = replies.groupby(["run_id", "server_round", "phase"])["partition_id"].apply(
        sorted
    )
    assert len(each) == 2 * 3 * 2
    assert all(partitions == [0, 1, 2, 3] for partitions in each)
    accuracy = lab.sql("SELECT value FROM metrics WHERE name = 'eval_accuracy'")["value"]
    assert len(accuracy) == 2 * 3
    assert accuracy.between(0.6, 1).all(), "better than always saying the same"


@pytest.mark.slow
def test_analysis_compares_what_it_ran(tmp_path: Path, lab_path: Path) -> None:
    """Three strategies over five seeds, each run once even if the notebook is run twice."""
    executed = tmp_path / "executed.ipynb"
    for _ in range(2):
        papermill.execute_notebook(
            ANALYSIS, executed, parameters={"num_rounds": 4, "target": 0.5}, cwd=tmp_path
        )
    lab = Lab()
    assert lab.path == lab_path
    runs = lab.runs(sweep="strategies", state="completed")
    assert len(runs) == len(lab.runs()) == 15
    comparison = lab.compare(runs, by="strategy.name")
    assert sorted(comparison.groups["group"]) == ["FedAdam", "FedAvg", "FedProx"]
    assert set(comparison.groups["num_runs"]) == {5}
    assert len(comparison.pairwise().frame) == 3
    [odd] = lab.runs(tag="odd-client")["note"]
    assert re.fullmatch(r"Client \d is far from its round in \d rounds\.", odd)


@pytest.mark.slow
def test_control_room_steers_as_it_tells(tmp_path: Path, lab_path: Path) -> None:
    """Each edit in its round, ended by a rule; the fork is taken up where it stopped."""
    papermill.execute_notebook(CONTROL_ROOM, tmp_path / "executed.ipynb", cwd=tmp_path)
    lab = Lab()
    assert lab.path == lab_path
    run, fork = map(lab.run, lab.runs().sort_values("created_at")["run_id"])
    assert {run.state, fork.state} == {RunState.COMPLETED}
    commands = run.commands()
    told = "step set step exclude step include stop_when stop_when resume"
    assert list(commands["command"]) == told.split()
    assert not commands["is_refused"].any()

    begins = commands.drop_duplicates("command").set_index("command")["from_round"]
    faster, away, back = (int(begins[each]) for each in ("set", "exclude", "include"))
    assert faster >= 6, "a step that is taken late counts from the round under way"
    assert (away, back) == (faster + 3, faster + 5)
    rates = run.settings_by_round()["train.learning_rate"]
    assert (rates.iloc[0], rates[faster]) == (0.02, 0.3)
    moved = run.metrics().query("name == 'moved'").set_index("server_round")["value"]
    assert moved[faster] > 3 * moved[faster - 1], "and that is what it did"
    trained = run.clients().query("phase == 'train'")
    nodes = trained.groupby("server_round")["partition_id"].nunique()
    assert set(nodes[nodes == 9].index) == {away, away + 1}, "one was away"
    assert set(nodes.drop([away, away + 1])) == {10}
    assert len(nodes) < 60, "a rule ended it"

    assert fork.parent is not None
    assert fork.parent.run_id == run.run_id
    states = [e.body["state"] for e in fork.events() if e.kind is EventKind.STATE]
    assert states.count("stopped") == states.count("completed") == 1, "and went on"
    assert (fork.settings["momentum"], fork.settings["learning_rate"]) == (0.9, 0.02)
    assert set(fork.metrics()["server_round"]) == set(range(6, 21))


@pytest.mark.slow
def test_diverging_run_is_caught_and_cured(tmp_path: Path, lab_path: Path) -> None:
    """The break is met, the cause is everybody's, leaving one out is no cure, a fork is."""
    executed = tmp_path / "executed.ipynb"
    papermill.execute_notebook(
        DIVERGING, executed, parameters={"num_rounds": 4}, cwd=tmp_path
    )
    lab = Lab()
    assert lab.path == lab_path
    first = lab.runs().sort_values("created_at")["run_id"].iloc[0]
    run = lab.run(first)
    forks = {fork.scenario.strategy.name: fork for fork in run.forks}
    assert set(forks) == {"FedAvg", "FedProx"}
    assert {each.state for each in (run, *forks.values())} == {RunState.COMPLETED}

    replies = run.inspect()
    assert replies.because.startswith("train_loss"), "not NaN: that would be too late"
    assert replies.server_round == 3
    assert replies.clients["drift"].max() > 3
    lengths = run.client_metrics().query("name == 'update_norm'")
    middle = lengths.groupby("server_round")["value"].median()
    assert middle[2] > 5 * middle[1], "all of them went too far, a round before"
    farthest = replies.clients.sort_values("update_norm").iloc[-1]
    assert set(replies.clients["partition_id"]) - set(
        run.clients().query("server_round == 4 and phase == 'train'")["partition_id"]
    ) == {farthest["partition_id"]}, "the one that was left out"

    family = lab.family(run).set_index("run_id")
    assert set(family["forked_at_round"].dropna()) == {1}
    parent, fixed = family["last"][first], family["last"][forks["FedProx"].run_id]
    assert parent < 0.25, "no better than guessing, or hardly"
    assert fixed > parent + 0.1
    assert num_figures(executed) == 6


class Page(HTMLParser):
    """Collects what an HTML file would fetch, and what it shows.

    Args:
        text: The file's content.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.figures: list[Any] = []
        self.policy = ""
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element would fetch."""
        given = dict(attrs)
        self._inside = given.get("type") or tag if tag in {"script", "style"} else ""
        if tag != "a":  # a link is followed by a reader, not by the page
            self.fetched += [v or "" for k, v in attrs if k in {"src", "href", "srcset"}]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given.get("content") or ""

    def handle_endtag(self, tag: str) -> None:
        """Leave a script or a style sheet."""
        del tag
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Read a figure, a style sheet or words."""
        if self._inside == "application/json":
            self.figures.append(json.loads(data))
        elif self._inside == "style":
            self.fetched += re.findall(r"(?:url\(|@import )([^);]*)", data)
        elif not self._inside:
            self.words += data


@pytest.mark.slow
def test_demo_reports_offline_and_says_what_came_out(
    tmp_path: Path, lab_path: Path
) -> None:
    """One file with prose, figures and tables; the same numbers in terminal and store."""
    done = subprocess.run(
        [sys.executable, DEMO, "--engine", "in_process", "--output", "my report"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = Page((tmp_path / "my report" / "report.html").read_text(encoding="utf-8"))
    assert [place for place in page.fetched if not place.startswith("data:")] == []
    assert "default-src 'none'" in page.policy
    assert len(page.figures) == NUM_FIGURES
    assert all(figure["data"] and figure["layout"] for figure in page.figures)
    assert "lab.launch(scenario" not in page.words, "code is hidden"
    assert "without encryption" not in page.words, "and so are the kernel's warnings"
    assert "completed" in page.words, "the card of the run"

    lab = Lab()
    run_id = lab.sql("SELECT run_id FROM runs ORDER BY created_at")["run_id"][0]
    first = lab.run(run_id)
    reached = f"{first.outcome().metrics['eval_accuracy']:.1%}"
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("All"))
    assert row.split()[-2] == reached, "FedAvg, averaged over the hospitals by hand"
    for name in (*HOSPITALS, "local only", "pooled", "FedAvg", "FedAdam"):
        assert name in done.stdout
        assert name in page.words
    assert reached in page.words
    for place in ("my report/report.html", f"my report/{FIRST.name}", f"show {run_id}"):
        assert place in done.stdout
    assert os.path.relpath(lab_path, tmp_path) in done.stdout
    executed = nbformat.read(tmp_path / "my report" / FIRST.name, as_version=4)
    assert executed.metadata.papermill.exception is None


@pytest.mark.slow
def test_demo_interrupted_leaves_no_run_going(tmp_path: Path, lab_path: Path) -> None:
    """Ctrl-C ends the demo with the usual status, and the run that it had started."""
    demo = subprocess.Popen(
        [sys.executable, DEMO, "--engine", "in_process"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not list(lab_path.glob("runs/[!.]*/run.json")):
            assert demo.poll() is None
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        told, _ = demo.communicate(timeout=300)
    finally:
        demo.kill()
    assert demo.returncode == 130, told
    assert "Traceback" not in told
    assert "No run that the demo started goes on" in told
    states = set(Lab().runs()["state"])
    assert states <= {"completed", "stopped"}


def test_demo_tells_a_mistake_with_its_fix(tmp_path: Path) -> None:
    """An error of ours arrives as two lines, not as a traceback."""
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, DEMO],
        env={**os.environ, "FLIP_LAB_HOME": str(tmp_path / "file" / "lab")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("[FLIP-401]")
    assert "\nFix: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def demo() -> ModuleType:
    """Import the demo, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("flip_lab_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("message", "goes_on"),
    [
        ("[FLIP-501] Ray did not start. Fix: Free memory.", True),
        ("[FLIP-600] The engine 'ray' needs Ray. Fix: Install it.", True),
        ("[FLIP-303] All clients failed. Fix: Look at them.", False),
        ("division by zero", False),
    ],
)
def test_demo_does_without_ray(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, message: str, *, goes_on: bool
) -> None:
    """Only a Ray that does not start makes the demo try again, in process, and say so."""
    tried: list[str] = []

    def execute(_executed: Path, _console: Console, *, engine: str) -> str:
        tried.append(engine)
        if engine == "ray":
            raise demo.NotebookError("EngineStartError", message)
        return "the executed notebook"

    monkeypatch.setattr(demo, "execute", execute)
    console = Console(record=True, quiet=False)
    if not goes_on:
        with pytest.raises(demo.NotebookError):
            demo.execute_anyhow(Path("out.ipynb"), console, engine="ray")
        assert tried == ["ray"]
        return
    notebook, remark = demo.execute_anyhow(Path("out.ipynb"), console, engine="ray")
    assert (notebook, tried) == ("the executed notebook", ["ray", "in_process"])
    assert "Ray did not start" in remark
    assert "Ray did not start" in console.export_text()
