"""Units name an account that can run the service, and say what it still needs."""

from __future__ import annotations

import configparser
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flip_lab.cli import services
from flip_lab.cli.main import app
from flip_lab.hub.preparing import prepare_hub

ACCOUNTS = {"root": 0, "flip-lab": 990, "ada": 1000}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Give a new hub's directory, whose path needs quotes."""
    return prepare_hub(tmp_path / "my hub", hosts=["hub.test"]).place.path


@pytest.fixture
def owned_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give what lets every directory belong to an account of a made-up machine."""

    def entry(*, number: int | None = None, name: str | None = None) -> SimpleNamespace:
        for known, uid in ACCOUNTS.items():
            if known == name or uid == number:
                return SimpleNamespace(pw_name=known, pw_uid=uid)
        raise KeyError(name)

    def belong(owner: int) -> None:
        real = Path.stat
        state = SimpleNamespace(st_uid=owner)

        def stat(path: Path, **options: bool) -> object:
            return state if path.name == "my hub" and not options else real(path, **options)

        monkeypatch.setattr(services.Path, "stat", stat)

    monkeypatch.setattr(services.pwd, "getpwuid", lambda number: entry(number=number))
    monkeypatch.setattr(services.pwd, "getpwnam", lambda name: entry(name=name))
    return belong


def printed(hub: Path, *words: str) -> Result:
    """Print a hub's unit."""
    result = CliRunner().invoke(app, ["hub", "unit", str(hub), *words])
    assert result.exit_code == 0, result.output
    return result


def user_in(unit: str) -> str:
    """Give the account that a unit names."""
    read = configparser.ConfigParser(strict=True, interpolation=None)
    read.read_string(unit)
    return read["Service"]["User"]


def test_a_hub_of_root_is_handed_to_an_account_of_its_own(
    hub: Path, owned_by: Callable[[int], None]
) -> None:
    """The unit stays clean; beside it stands the command that is needed."""
    owned_by(0)
    result = printed(hub)
    assert user_in(result.stdout) == "flip-lab"
    assert "belongs to root" in result.stderr
    assert f"chown -R flip-lab: '{hub}'" in result.stderr
    assert "useradd" not in result.stderr


def test_a_hub_of_somebody_is_run_by_them(
    hub: Path, owned_by: Callable[[int], None]
) -> None:
    """Then nothing is missing, and nothing is said."""
    owned_by(ACCOUNTS["ada"])
    result = printed(hub)
    assert (user_in(result.stdout), result.stderr) == ("ada", "")


def test_an_account_that_is_not_there_is_told(
    hub: Path, owned_by: Callable[[int], None]
) -> None:
    """Who asks for another account gets that, and both commands."""
    owned_by(ACCOUNTS["ada"])
    result = printed(hub, "--user", "ward")
    assert user_in(result.stdout) == "ward"
    assert f"useradd --system --home-dir '{hub}' ward" in result.stderr
    assert "belongs to ada" in result.stderr


def test_an_account_without_a_name_is_named_by_its_number(
    hub: Path, owned_by: Callable[[int], None]
) -> None:
    """As in a container; systemd takes numbers, too."""
    owned_by(4711)
    result = printed(hub)
    assert (user_in(result.stdout), result.stderr) == ("4711", "")


def test_systemd_has_nothing_to_say_of_the_unit(hub: Path, tmp_path: Path) -> None:
    """Where this machine has systemd, it reads the unit; elsewhere a reader of ours."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    unit = printed(hub, "--user", me).stdout
    assert user_in(unit) == me
    file = tmp_path / "flip-lab-hub.service"
    file.write_text(unit)
    if (analyse := shutil.which("systemd-analyze")) is not None:
        words = [analyse, "verify", "--man=no", str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
