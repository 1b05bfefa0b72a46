"""Which lab a command is about: a directory, an address, or what is set."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from flip_lab.cli.labs import opened, place_of
from flip_lab.cli.main import app
from flip_lab.core.errors import LabUnreachableError
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

RUNNER = CliRunner()
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLIP_LAB_URL", raising=False)
    monkeypatch.delenv("FLIP_LAB_TOKEN", raising=False)


def test_a_directory_is_opened_here(lab_dir: LabDir) -> None:
    """With or without being told which."""
    for place in (str(lab_dir.root), None):
        lab = opened(place, None)
        assert isinstance(lab, Lab)
        assert place_of(lab) == str(lab_dir.root)


def test_an_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, or set; nobody is there."""
    with pytest.raises(LabUnreachableError):
        opened(NOBODY, "token")
    monkeypatch.setenv("FLIP_LAB_URL", NOBODY)
    with pytest.raises(LabUnreachableError):
        opened(None, None)


def test_a_directory_wins_over_an_address_that_is_set(
    lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written in the command counts."""
    monkeypatch.setenv("FLIP_LAB_URL", NOBODY)
    assert isinstance(opened(str(lab_dir.root), None), Lab)


def test_a_directory_has_no_token(lab_dir: LabDir) -> None:
    """Whoever gives one meant another lab."""
    with pytest.raises(typer.BadParameter, match="token"):
        opened(str(lab_dir.root), "token")


@pytest.mark.parametrize("command", [("doctor",), ("serve",), ("undo",), ("store", "info")])
def test_commands_for_files_refuse_addresses(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They neither make a directory of that name nor work on another lab in silence."""
    told = RUNNER.invoke(app, [*command, "--lab", NOBODY])
    monkeypatch.setenv("FLIP_LAB_URL", NOBODY)
    silent = RUNNER.invoke(app, [*command])
    for refused in (told, silent):
        assert refused.exit_code == 2
        assert "machine" in refused.output


def test_nobody_there_is_told_with_a_fix() -> None:
    """A terminal and a program both learn what to check."""
    failed = RUNNER.invoke(app, ["runs", "--lab", NOBODY, "--json"])
    assert failed.exit_code == 1
    assert '"code": "FLIP-720"' in failed.stdout
