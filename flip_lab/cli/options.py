"""Options that several commands share, and how their values are read."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flip_lab.store.layout import LabDir


def _only_here(lab: Path | None) -> Path | None:
    """Let a command that works on a lab's files say so.

    Raises:
        BadParameter: If the lab is an address.
    """
    place = os.environ.get("FLIP_LAB_URL", "") if lab is None else str(lab)
    if not place.startswith(_ADDRESSES):
        return lab
    whence = "FLIP_LAB_URL is set" if lab is None else f"{place} is an address"
    raise typer.BadParameter(
        f"{whence}, and this command works on a lab's own files. Run it on the lab's "
        "machine, or give a directory: --lab .flip-lab",
        param_hint="--lab",
    )


_ADDRESSES = ("http:/", "https:/", "unix:/")  # a Path has one slash where a URL has two

LabOption = Annotated[
    Path | None,
    typer.Option(
        "--lab",
        callback=_only_here,
        help="The lab's directory. Default: $FLIP_LAB_HOME or .flip-lab",
    ),
]
AnyLabOption = Annotated[
    str | None,
    typer.Option(
        "--lab",
        help="The lab's directory, or the address of one that is served. Default: "
        "$FLIP_LAB_URL, $FLIP_LAB_HOME or .flip-lab",
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(help="Opens a lab that is served. Default: $FLIP_LAB_TOKEN"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print, last, one JSON object on one line.")
]
RunArgument = Annotated[str, typer.Argument(help="A run's id, or its beginning or end.")]
RunsArgument = Annotated[
    list[str], typer.Argument(help="Ids of runs, or their beginnings or ends.")
]
WhereOption = Annotated[
    str | None,
    typer.Option(help='Only runs that meet this SQL condition: "seed < 3".'),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return at once; the run goes on.")
]
OnOption = Annotated[
    str | None,
    typer.Option(help="An engine or a federation. Default: where the run was."),
]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes that train side by side. Default: as before.")
]


def lab_dir(lab: Path | None) -> LabDir:
    """Open a lab as it is, for commands that make none where there is none.

    Raises:
        StoreError: If there is no lab, or it was written by a newer version.
    """
    from flip_lab.store.layout import open_lab  # its packages are an extra

    home = lab or os.environ.get("FLIP_LAB_HOME") or ".flip-lab"
    return open_lab(home, create=False)


def assignments(texts: list[str] | None) -> dict[str, Any]:
    """Read every ``KEY=VALUE`` of ``--set``.

    Raises:
        BadParameter: If one is no such thing.
    """
    return dict(_assignment(text) for text in texts or [])


def _assignment(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is TOML, or else plain text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--set")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def one_place(engine: str | None, on: str | None) -> str | None:
    """Give the one place that was asked for, if any.

    Raises:
        BadParameter: If an engine and a federation were asked for.
    """
    if engine is not None and on is not None:
        raise typer.BadParameter("Give --engine or --on, not both.", param_hint="--on")
    return on or engine
