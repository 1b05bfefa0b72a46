"""Steering from the terminal, where no run is under way: families, refusals, usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir

RUNNER = CliRunner()
MakeRun = Callable[..., Run]


def told(lab_dir: LabDir, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Give what a command prints last, as JSON."""
    done = RUNNER.invoke(app, [*arguments, "--lab", str(lab_dir.root), "--json"])
    assert done.exit_code == status, done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause",),
        ("step", "2"),
        ("set", "learning_rate=0.01"),
        ("policy", "--deadline", "none", "--quorum", "0.8"),
        ("exclude", "1", "2"),
        ("include", "1"),
        ("stop-when", "eval_accuracy >= 0.9"),
        ("stop-when", "--patience", "3", "--metric", "eval_loss", "--goal", "min"),
        ("break-when", "loss is nan"),
        ("clear",),
    ],
    ids=" ".join,
)
def test_an_ended_run_takes_no_command(
    lab_dir: LabDir, make_run: MakeRun, arguments: tuple[str, ...]
) -> None:
    """Each is refused with the same code, and says how to go on."""
    make_run("one")
    command, *more = arguments
    error = told(lab_dir, command, "one", *more, status=1)["error"]
    assert error["code"] == "FLIP-310"
    assert "Fork it" in error["fix"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("stop-when", "one"), "FLIP-311"),
        (("stop-when", "one", "accuracy >"), "FLIP-311"),
        (("break-when", "one", "loss is big"), "FLIP-311"),
        (("set", "one", "learning_rate=-1.0"), "FLIP-103"),
        (("pause", "nobody"), "FLIP-301"),
        (("family", "nobody"), "FLIP-301"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(
    lab_dir: LabDir, make_run: MakeRun, arguments: tuple[str, ...], code: str
) -> None:
    """Before the run hears of it."""
    make_run("one")
    assert told(lab_dir, *arguments, status=1)["error"]["code"] == code


@pytest.mark.parametrize(
    "arguments",
    [("stop-when", "one", "--goal", "more"), ("exclude", "one", "a"), ("exclude", "one")],
    ids=str,
)
def test_wrong_usage_ends_with_status_2(
    lab_dir: LabDir, make_run: MakeRun, arguments: tuple[str, ...]
) -> None:
    """As typer says it."""
    make_run("one")
    done = RUNNER.invoke(app, [*arguments, "--lab", str(lab_dir.root)])
    assert done.exit_code == 2


def test_a_family_is_listed_with_its_changes(lab_dir: LabDir, make_run: MakeRun) -> None:
    """As JSON, and indented for people."""
    make_run("one")
    changes = {"seed": 7}
    make_run(
        "two",
        parent_run_id="one",
        forked_at_round=1,
        changes=changes,
        state=RunState.STOPPED,
    )
    first, second = told(lab_dir, "family", "two")["family"]
    assert (first["run_id"], first["forked_at_round"]) == ("one", None)
    assert (second["depth"], second["changed"]) == (1, "seed 4 → 7")
    plain = RUNNER.invoke(app, ["family", "one", "--lab", str(lab_dir.root)]).stdout
    assert [line.split()[0] for line in plain.splitlines()[1:]] == ["one", "two"]
    assert "\n  two" in plain


def test_a_difference_tells_lineage_and_edits(lab_dir: LabDir, make_run: MakeRun) -> None:
    """The terminal says what is shared before it says what is not."""
    edit = {"id": "c", "command": "set", "author": "ana", "from_round": 2}
    make_run("one")
    edits = [{**edit, "values": {"learning_rate": 0.5}}]
    make_run("two", parent_run_id="one", forked_at_round=1, edits=edits)
    found = told(lab_dir, "diff", "one", "two", status=1)
    assert found["relation"] == "two is a fork of one: rounds 1 to 1 are the same"
    assert [each["edit"] for each in found["edits"]] == ["set learning_rate = 0.5"]
    arguments = ["diff", "one", "two", "--lab", str(lab_dir.root)]
    plain = RUNNER.invoke(app, arguments).stdout
    assert "set learning_rate = 0.5" in plain
    assert plain.startswith("two is a fork of one")
