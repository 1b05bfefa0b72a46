"""What commands share that print how a machine keeps a program of ours running."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import pwd
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.output import people

_SERVICE_USER = "flip-lab"

UserOption = Annotated[
    str | None,
    typer.Option(
        help="Who runs it. Default: who owns the directory, or flip-lab where root does."
    ),
]


def program() -> str:
    """Give the command ``flip-lab`` of this environment, with its path."""
    beside = Path(sys.executable).with_name("flip-lab")
    return str(beside) if beside.exists() else shutil.which("flip-lab") or "flip-lab"


def service_user(directory: Path, user: str | None) -> str:
    """Choose who runs a service, and tell what that account still needs.

    A service of ours opens a port to the world, so it is never root's by default.

    Args:
        directory: What the service writes; private to its owner.
        user: Who was asked for, if anybody.

    Returns:
        The account's name, or its number where it has no name here.
    """
    owner = directory.stat().st_uid
    chosen = user or (_name(owner) if owner else _SERVICE_USER)
    number = _number(chosen)
    if number is None:
        _tell(
            f"This machine has no account {chosen}; make it before the service starts:",
            ["useradd", "--system", "--home-dir", str(directory), chosen],
        )
    if number != owner:
        _tell(
            f"{directory} belongs to {_name(owner)}; hand it over, or the service cannot "
            "read it:",
            ["chown", "-R", f"{chosen}:", str(directory)],
        )
    return chosen


def _tell(why: str, command: Sequence[str]) -> None:
    told = f"{why}\n  {shlex.join(command)}"
    people.print(told, style="yellow", soft_wrap=True, highlight=False, markup=False)


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _number(user: str) -> int | None:
    """Give an account's number; ``None`` if this machine does not know it."""
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
