"""Turn coded errors into a message and an exit status, for every command alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from flip_lab.cli.output import error_body, print_error, print_json
from flip_lab.core.errors import FlipLabError

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Print an error of ours with its fix and exit with 1; anything else is a bug."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except FlipLabError as error:
            print_error(error)
            if kwargs.get("as_json"):
                print_json({"error": error_body(error)})
            raise typer.Exit(1) from error

    return wrapper
