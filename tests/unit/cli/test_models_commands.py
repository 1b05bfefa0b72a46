"""``flip-lab models``: what the registry does, from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.runs.artifacts import add_artifact
from flip_lab.store.layout import LabDir

Ask = Callable[..., Any]


@pytest.fixture
def ask(lab_dir: LabDir, make_run: Callable[..., Any]) -> Ask:
    """Give a way to ask for JSON, of a lab with two runs that keep a model."""
    for number, run_id in enumerate(("r1", "r2")):
        make_run(run_id)
        add_artifact(lab_dir, run_id, "model", {"w": np.full(3, float(number))})

    def asked(*words: str, status: int = 0) -> Any:  # noqa: ANN401  # JSON
        told = CliRunner().invoke(
            app, ["models", *words, "--lab", str(lab_dir.root), "--json"]
        )
        assert told.exit_code == status, told.output
        return json.loads(told.stdout.splitlines()[-1])

    return asked


def test_register_promote_roll_back_delete(ask: Ask) -> None:
    """The whole life of a model, each step answered with the version."""
    assert ask("register", "r1", "digits", "--tag", "a", "--note", "n")["version"] == 1
    assert ask("register", "r2", "digits")["version"] == 2
    assert ask("register", "r2", "digits")["version"] == 2
    assert ask("promote", "digits", "1")["stage"] == "production"
    assert ask("promote", "digits", "2", "production")["stage"] == "production"
    rolled = ask("rollback", "digits")
    assert (rolled["version"], rolled["stage"]) == (1, "production")
    stages = [(each["version"], each["stage"]) for each in ask("list")["models"]]
    assert stages == [(1, "production"), (2, "archived")]
    shown = ask("show", "digits", "production")
    assert (shown["run_id"], shown["tags"], shown["note"]) == ("r1", ["a"], "n")
    assert Path(shown["path"]).name == shown["sha256"]
    ask("delete", "digits", "2")
    assert [each["version"] for each in ask("list", "digits")["models"]] == [1]


def test_a_file_can_be_registered(ask: Ask, tmp_path: Path) -> None:
    """By its ending it is told from a run."""
    file = tmp_path / "m.safetensors"
    file.write_bytes(safetensors.numpy.save({"w": np.arange(4)}))
    assert ask("register", str(file), "other")["run_id"] is None
    assert ask("show", "other", "1")["artifact"] == "m.safetensors"


def test_mistakes_have_codes(ask: Ask) -> None:
    """As everywhere."""
    assert ask("show", "nothing", status=1)["error"]["code"] == "FLIP-451"
    ask("register", "r1", "digits")
    assert ask("promote", "digits", "1", "live", status=1)["error"]["code"] == "FLIP-452"
    assert ask("rollback", "digits", status=1)["error"]["code"] == "FLIP-452"
    assert ask("register", "r1", "a/b", status=1)["error"]["code"] == "FLIP-103"


def test_people_get_tables(ask: Ask, lab_dir: LabDir) -> None:
    """The list and one version, to be read."""
    ask("register", "r1", "digits")
    for words in (["list"], ["show", "digits"], ["promote", "digits", "1"]):
        told = CliRunner().invoke(app, ["models", *words, "--lab", str(lab_dir.root)])
        assert told.exit_code == 0
        assert "digits" in told.stdout
