"""Commands about runs that have ended: asked for, labelled, deleted, carried away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app

Call = Callable[..., Any]


@pytest.fixture
def call(make_run: Callable[..., object]) -> Call:
    """Give a way to run a command in a lab with three runs: what it printed as JSON."""
    prox = {"strategy.name": "FedProx"}
    make_run("a1", seed=1, experiment="x")
    make_run("a2", seed=2, experiment="x", sweep="s")
    make_run("b1", seed=1, experiment="y", changes=prox)

    def invoke(*arguments: str, code: int = 0) -> Any:  # noqa: ANN401  # any JSON
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout.splitlines()[-1])

    return invoke


def text(*arguments: str) -> str:
    """Give what a command prints for people."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def ids(call: Call, *arguments: str) -> list[str]:
    """Give the runs that are listed."""
    return [run["run_id"] for run in call("runs", *arguments)["runs"]]


def test_runs_are_listed_and_chosen(call: Call) -> None:
    """By group, by label, by condition; for people as a table."""
    assert ids(call) == ["b1", "a2", "a1"]
    assert ids(call, "--experiment", "x", "--limit", "1") == ["a2"]
    assert ids(call, "--where", "seed = 1", "--state", "completed") == ["b1", "a1"]
    assert ids(call, "--sweep", "s") == ["a2"]
    call("tag", "a1", "good")
    assert ids(call, "--tag", "good") == ["a1"]
    assert "hospitals" in text("runs", "--tag", "good")
    assert "No such runs" in text("runs", "--tag", "nobody's")
    wrong = call("runs", "--where", "sead = 1", code=1)
    assert wrong["error"]["code"] == "FLIP-403"


def test_sql_answers_in_three_forms(call: Call) -> None:
    """JSON, CSV, a table; columns that are called alike stay apart."""
    statement = "SELECT run_id, seed AS n, seed + 1 AS n, tags FROM runs ORDER BY run_id"
    assert call("sql", statement) == {
        "columns": ["run_id", "n", "n", "tags"],
        "rows": [["a1", 1, 2, []], ["a2", 2, 3, []], ["b1", 1, 2, []]],
    }
    rows = [*csv.reader(io.StringIO(text("sql", statement, "--csv")))]
    assert rows[:2] == [["run_id", "n", "n", "tags"], ["a1", "1", "2", "[]"]]
    assert "a1" in text("sql", statement)
    assert call("sql", "DROP TABLE runs", code=1)["error"]["code"] == "FLIP-403"


def test_groups_are_compared(call: Call) -> None:
    """A leaderboard with ties."""
    found = call("compare")
    assert found["metric"] == "eval_accuracy"
    assert len(found["leaderboard"]) == 2
    assert len(call("compare", "a1", "a2", "--by", "seed")["leaderboard"]) == 2
    assert "eval_accuracy" in text("compare", "--by", "experiment")
    assert call("compare", "--metric", "nothing", code=1)["error"]["code"] == "FLIP-420"


def test_runs_are_labelled_and_it_is_undone(call: Call) -> None:
    """Each command says what is so now."""
    assert call("tag", "a1", "good", "paper")["tags"] == ["good", "paper"]
    assert call("tag", "a1", "good", "--remove")["tags"] == ["paper"]
    assert call("undo")["undone"]["action"] == "untag"
    assert text("tag", "a1", "[x]") == "a1: [x], good, paper\n"
    assert call("note", "a1", "it's [good]")["note"] == "it's [good]"
    assert text("note", "a1") == "it's [good]\n"
    assert not call("note", "a1", "")["note"]
    assert text("note", "a1") == "a1 has no note.\n"
    assert text("undo") == "undone: note of a1\n"


def test_runs_are_put_away_and_taken_back(call: Call) -> None:
    """Archived, and in the trash, for good at last."""
    assert call("archive", "a1", "a2")["run_ids"] == ["a1", "a2"]
    assert ids(call) == ["b1"]
    assert ids(call, "--archived") == ["b1", "a2", "a1"]
    assert text("archive", "a2", "--back") == "a2: taken back\n"
    assert call("delete", "a1", "b1")["run_ids"] == ["a1", "b1"]
    assert ids(call, "--archived") == ["a2"]
    assert call("delete", "b1", "--back")["run_ids"] == ["b1"]
    assert [run["run_id"] for run in call("trash")["deleted"]] == ["a1"]
    assert "a1" in text("trash")
    assert call("trash", "--empty", "--older-than-days", "1")["run_ids"] == []
    assert text("trash", "--empty") == "a1: removed for good\n"
    assert call("trash")["deleted"] == []
    assert call("undo")["undone"]["action"] == "undelete"


def test_runs_are_carried_to_another_lab(call: Call, tmp_path: Path) -> None:
    """There and back; a lab gets only what it has not."""
    written = tmp_path / "out"
    assert call("export", str(written), "a1")["path"] == str(written)
    other = str(tmp_path / "other")
    assert call("import", str(written), "--lab", other)["run_ids"] == ["a1"]
    assert ids(call, "--lab", other) == ["a1"]
    assert "1 runs: a1" in text("import", str(written), "--lab", other)
    assert call("export", str(written), code=1)["error"]["code"].startswith("FLIP-4")


def test_a_report_is_written(call: Call, tmp_path: Path) -> None:
    """Of the runs that are named."""
    written = tmp_path / "one.html"
    assert call("report", str(written), "a1")["path"] == str(written)
    assert "a1" in written.read_text(encoding="utf-8")
    code = call("report", str(tmp_path / "x.txt"), "a1", code=1)["error"]["code"]
    assert code == "FLIP-103"
