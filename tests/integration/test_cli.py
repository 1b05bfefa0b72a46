"""The command line as programs and people use it: JSON, exit codes, errors with a fix."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.runs.lab import Lab

APPS = Path(__file__).parents[1] / "apps"
COMMAND = "from flip_lab.cli.main import app; app()"
KEYS = {"run_id", "state", "num_rounds", "model_sha256", "metrics", "store"}
ENDLESS = ("--set", "num-server-rounds=1000000")
Start = Callable[..., subprocess.Popen[str]]
Cli = Callable[..., tuple[int, dict[str, Any], str]]


def strict(text: str) -> Any:  # noqa: ANN401  # any JSON
    """Read JSON as a strict reader does: NaN is no JSON."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def lab(shared_lab: Lab) -> Lab:
    """Give the lab of all commands here."""
    return shared_lab


@pytest.fixture(scope="module")
def cli(start: Start, lab: Lab) -> Cli:
    """Give a way to run a command in a process of its own: exit code, JSON, stderr."""

    def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
        process = start("-c", COMMAND, *arguments, "--json", lab=lab.path)
        output, error = process.communicate(timeout=240)
        return process.returncode, strict(output.splitlines()[-1]), error

    return call


@pytest.fixture
def here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Give the same inside this process, for commands that start nothing."""
    monkeypatch.setenv("FLIP_LAB_HOME", str(lab.path))

    def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        return done.exit_code, strict(done.stdout.splitlines()[-1]), done.stderr

    return call


@pytest.fixture(scope="module")
def completed(cli: Cli, slow_app: Path) -> dict[str, Any]:
    """Run an app to its end whose loss has diverged."""
    changes = ["--set", "loss=nan", "--set", "nap-s=0.0", "--set", "num-server-rounds=2"]
    code, said, _ = cli("run", str(slow_app), *changes)
    assert code == 0
    return said


@pytest.fixture(scope="module")
def failed(cli: Cli) -> tuple[dict[str, Any], str]:
    """Run an app whose clients all fail."""
    code, said, error = cli("run", str(APPS / "broken/all_fail"), "--nodes", "2")
    assert code == 1
    return said, error


def test_a_completed_run_says_exactly_what_was_promised(
    completed: dict[str, Any], lab: Lab
) -> None:
    """One object on the last line; NaN is a string, because JSON has none."""
    assert set(completed) == KEYS
    assert completed["state"] == "completed"
    assert completed["num_rounds"] == 2
    assert len(completed["model_sha256"]) == 64
    assert completed["metrics"] == {"train_loss": "nan"}
    assert completed["store"] == str(lab.path)
    assert math.isnan(lab.run(completed["run_id"]).outcome().metrics["train_loss"])


def test_a_failed_run_adds_its_error(failed: tuple[dict[str, Any], str]) -> None:
    """As JSON for programs, on stderr for people, both with code and fix."""
    said, error = failed
    assert set(said) == {*KEYS, "error"}
    assert (said["state"], said["model_sha256"]) == ("failed", "")
    assert set(said["error"]) == {"code", "what", "fix", "detail"}
    assert said["error"]["code"] == "FLIP-303"
    assert "every client fails on purpose" in said["error"]["detail"]
    assert "[FLIP-303]" in error
    assert f"Fix: {said['error']['fix']}" in error


def test_ctrl_c_stops_the_run_and_keeps_its_model(
    start: Start, lab: Lab, slow_app: Path
) -> None:
    """The exit code is that of an interrupted program."""
    process = start("-c", COMMAND, "run", str(slow_app), *ENDLESS, "--json", lab=lab.path)
    assert process.stderr is not None
    told = iter(process.stderr.readline, "")  # it says so itself: now it hears a Ctrl-C
    assert any(re.search(r"round [3-9]", line) for line in told)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the whole group
    output, error = process.communicate(timeout=240)
    assert process.returncode == 130, error
    said = strict(output.splitlines()[-1])
    assert said["state"] == "stopped"
    assert said["num_rounds"] >= 2
    assert len(said["model_sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["hospital"], "FLIP-101"),
        (["hospitals", "--set", "learning=1"], "FLIP-102"),
        (["hospitals", "--rounds", "0"], "FLIP-103"),
        (["hospitals", "--on", "nowhere"], "FLIP-502"),
        (["hospitals", "--engine", "rey"], "FLIP-502"),
        ([str(APPS / "broken/no_components")], "FLIP-201"),
        ([str(APPS / "numpy"), "--rounds", "3"], "FLIP-102"),
    ],
)
def test_what_cannot_be_launched_leaves_nothing(
    here: Cli, lab: Lab, arguments: list[str], code: str
) -> None:
    """Code and fix on stderr and as JSON; no half-done run in the lab."""
    before = sorted((lab.path / "runs").iterdir()) if (lab.path / "runs").exists() else []
    status, said, error = here("run", *arguments)
    assert status == 1
    assert set(said) == {"error"}
    assert said["error"]["code"] == code
    assert f"[{code}]" in error
    assert said["error"]["fix"] in error
    after = sorted((lab.path / "runs").iterdir()) if (lab.path / "runs").exists() else []
    assert after == before


def test_runs_lists_them_newest_first(
    completed: dict[str, Any], failed: tuple[dict[str, Any], str], here: Cli
) -> None:
    """With what a program needs to choose one."""
    status, said, _ = here("runs")
    assert status == 0
    listed = {row["run_id"]: row for row in said["runs"]}
    assert listed[completed["run_id"]]["state"] == "completed"
    assert listed[completed["run_id"]]["rounds_done"] == 2
    assert listed[failed[0]["run_id"]]["state"] == "failed"
    created = [row["created_at"] for row in said["runs"]]
    assert created == sorted(created, reverse=True)


def test_show_tells_one_run(
    completed: dict[str, Any], failed: tuple[dict[str, Any], str], here: Cli
) -> None:
    """Its metrics, its error, and the clients that failed."""
    status, said, _ = here("show", completed["run_id"])
    assert status == 0
    assert (said["state"], said["error"], said["failed_clients"]) == ("completed", None, [])
    assert [(row["name"], row["value"]) for row in said["metrics"]] == [
        ("train_loss", "nan")
    ]
    status, said, _ = here("show", failed[0]["run_id"])
    assert status == 0
    assert said["error"]["code"] == "FLIP-303"
    assert len(said["failed_clients"]) == 2
    assert "every client fails on purpose" in said["failed_clients"][0]["error"]


def test_people_can_read_it_too(
    failed: tuple[dict[str, Any], str], lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables without JSON."""
    monkeypatch.setenv("FLIP_LAB_HOME", str(lab.path))
    for arguments in (["runs"], ["show", failed[0]["run_id"]], ["scenarios"]):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert done.stdout.strip()


def test_logs_and_stop_of_a_run_that_has_ended(
    completed: dict[str, Any], here: Cli
) -> None:
    """Its last words; and stopping it again does nothing."""
    status, said, _ = here("logs", completed["run_id"], "--tail", "3")
    assert status == 0
    assert 0 < len(said["lines"]) <= 3
    status, said, _ = here("stop", completed["run_id"])
    assert (status, said["state"]) == (0, "completed")


@pytest.mark.parametrize("command", ["show", "logs", "stop", "check"])
def test_an_unknown_run_is_a_coded_error(here: Cli, command: str) -> None:
    """In each command alike."""
    status, said, error = here(command, "nothing")
    assert status == 1
    assert said["error"]["code"] == "FLIP-301"
    assert "Fix:" in error


def test_check_of_a_run_that_was_no_scenario(completed: dict[str, Any], here: Cli) -> None:
    """It promised nothing."""
    status, said, _ = here("check", completed["run_id"])
    assert (status, said["error"]["code"]) == (1, "FLIP-306")


def test_check_fails_when_an_expectation_does_not_hold(cli: Cli, here: Cli) -> None:
    """A scenario that hardly learns does not keep its promises."""
    changes = ["--set", "train.learning_rate=1e-9", "--seed", "5"]
    code, said, _ = cli("run", "hospitals", "--rounds", "1", *changes)
    assert code == 0
    status, checked, _ = here("check", said["run_id"])
    assert status == 1
    for outcome in checked["expectations"]:
        assert set(outcome) == {"says", "observed", "needed", "holds"}
    assert not all(outcome["holds"] for outcome in checked["expectations"])


def test_detach_returns_while_the_run_goes_on(cli: Cli, here: Cli, slow_app: Path) -> None:
    """And ``stop`` ends it from elsewhere."""
    code, said, _ = cli("run", str(slow_app), "--detach", *ENDLESS)
    assert code == 0
    assert set(said) == {"run_id", "state"}
    assert said["state"] in {"pending", "starting", "running"}
    status, stopped, _ = here("stop", said["run_id"])
    assert status == 0
    assert stopped == {"run_id": said["run_id"], "state": "stopped"}


def test_a_rule_from_the_command_line_ends_the_run(cli: Cli) -> None:
    """It has completed then; one that cannot be understood starts nothing."""
    code, said, _ = cli("run", "hospitals", "--stop-when", "eval_accuracy > 0.1")
    assert (code, said["state"], said["num_rounds"]) == (0, "completed", 1)
    code, said, _ = cli("run", "hospitals", "--stop-when", "good enough")
    assert (code, said["error"]["code"]) == (1, "FLIP-311")
