"""What the command line prints: tables for people, one line of JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flip_lab.core.errors import FlipLabError

people = Console(stderr=True)
"""Progress and errors; standard output stays clean for results."""

page = Console(width=None if sys.stdout.isatty() else 160)
"""Results for people."""

STATE_COLOURS = {
    "completed": "green",
    "failed": "red",
    "stopped": "yellow",
    "running": "cyan",
}


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; NaN and infinities become strings."""
    typer.echo(json.dumps(_plain(value), allow_nan=False, default=str))


def _plain(value: Any) -> Any:  # noqa: ANN401  # any JSON-like value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, Any]", value)
        return {str(key): _plain(item) for key, item in pairs.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a run's state has its colour."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in {"run", "state"})
    for row in rows:
        table.add_row(*(Text(str(v), style=STATE_COLOURS.get(str(v), "")) for v in row))
    page.print(table)


def print_error(error: FlipLabError) -> None:
    """Say what went wrong and what to do about it."""
    people.print(Text(f"[{error.code}] {error.what}", style="bold red"), soft_wrap=True)
    people.print(Text(f"Fix: {error.fix}"), soft_wrap=True)
    if error.detail:
        people.print(Text(error.detail, style="dim"), soft_wrap=True)


def error_body(error: FlipLabError) -> dict[str, str]:
    """Give an error as plain data."""
    return {
        "code": error.code,
        "what": error.what,
        "fix": error.fix,
        "detail": error.detail,
    }


def short(number: object) -> str:
    """Write a value so that it can be read in a table; nothing where there is none."""
    if number is None:
        return ""
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def size(size_bytes: int) -> str:
    """Write a number of bytes so that it can be read."""
    power = 3 if size_bytes else 0
    while power and size_bytes < 2 ** (10 * power):
        power -= 1
    unit = ("bytes", "KiB", "MiB", "GiB")[power]
    return f"{size_bytes / 2 ** (10 * power):.{1 if power else 0}f} {unit}"
