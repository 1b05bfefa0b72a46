"""Turn coded errors into a message and an exit status, for every command alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from flip_lab.cli.output import error_body, print_error, print_json
from flip_lab.core.errors import FlipLabError, MissingExtraError

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Print an error of ours with its fix and exit with 1; anything else is a bug."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (FlipLabError, ModuleNotFoundError) as raised:
            error = _coded(raised)
            print_error(error)
            if kwargs.get("as_json"):
                print_json({"error": error_body(error)})
            raise typer.Exit(1) from raised

    return wrapper


def _coded(raised: FlipLabError | ModuleNotFoundError) -> FlipLabError:
    """Say which part of FLIP Lab a missing package belongs to.

    Raises:
        ModuleNotFoundError: If it is a module of our own: that is a bug.
    """
    if isinstance(raised, FlipLabError):
        return raised
    if (raised.name or "flip_lab").startswith("flip_lab"):
        raise raised
    extra, what = _EXTRAS.get(raised.name or "", ("lab", "workstation parts"))
    return MissingExtraError(
        f"This command needs {raised.name!r}, which is not installed.",
        fix=f'Install the {what}: pip install "flip-lab[{extra}]"',
    )


_EXTRAS = {
    "sqlalchemy": ("hub", "parts of a hub"),
    "psutil": ("node", "parts of a node"),
}
"""What a package belongs to, where it is not the workstation's."""
