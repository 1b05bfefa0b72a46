"""Which hub a command is about: a directory here, or an address elsewhere."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    ParamSpec,
    TypeVar,
    get_type_hints,
)

import typer
from pydantic import BaseModel, ValidationError

from flip_lab.cli.options import assignments
from flip_lab.cli.output import page, print_json, print_table
from flip_lab.core.errors import InvalidValueError

if TYPE_CHECKING:
    from flip_lab.hub.desk import Desk

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_STDIN = "-"

Shape = TypeVar("Shape", bound=BaseModel)
P = ParamSpec("P")

NameArgument = Annotated[str, typer.Argument(help="What the node is called.")]
DirectoryArgument = Annotated[Path, typer.Argument(help="The hub's directory.")]
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--directory", "-d", help="The hub's directory. Default: here."),
]
HubOption = Annotated[
    str | None,
    typer.Option("--hub", help="A hub elsewhere, host:port; needs an admin's token."),
]
TokenFileOption = Annotated[
    str | None,
    typer.Option(help="A file with that token; - reads it. Default: $FLIP_LAB_TOKEN"),
]
AuthoritiesOption = Annotated[
    Path | None,
    typer.Option("--ca", help="The hub's ca.crt. Default: what this machine trusts."),
]


_WHICH_HUB: Mapping[str, object] = {
    "directory": DirectoryOption,
    "hub": HubOption,
    "token_file": TokenFileOption,
    "ca": AuthoritiesOption,
}


def at_desk(command: Callable[Concatenate[Desk, P], None]) -> Callable[..., None]:
    """Give a command the options that name a hub, before ``--json``, and open that hub.

    Args:
        command: Takes the desk first, and ``as_json`` last.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        which: dict[str, Any] = {name: kwargs.pop(name) for name in _WHICH_HUB}
        with desk_at(**which) as desk:
            command(desk, *args, **kwargs)

    _, *own = signature(command).parameters.values()
    told = SimpleNamespace(__annotations__={each.name: each.annotation for each in own})
    kinds = get_type_hints(told, vars(sys.modules[command.__module__]), include_extras=True)
    own = [each.replace(annotation=kinds[each.name]) for each in own]
    hub = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _WHICH_HUB.items()
    ]
    last = own[-1].replace(kind=Parameter.KEYWORD_ONLY)
    wrapper.__signature__ = Signature([*own[:-1], *hub, last])  # pyright: ignore[reportAttributeAccessIssue]  # read by inspect.signature
    wrapper.__annotations__ = {}
    return wrapper


def desk_at(
    directory: Path | None, hub: str | None, token_file: str | None, ca: Path | None
) -> Desk:
    """Open the hub that a command is about.

    Raises:
        BadParameter: If both kinds are given, or a hub elsewhere without a token.
        FlipLabError: If it cannot be opened.
    """
    if hub is None:
        if token_file is not None or ca is not None:
            raise typer.BadParameter("It goes with --hub.", param_hint="--token-file, --ca")
        from flip_lab.hub.local_desk import LocalDesk
        from flip_lab.hub.place import open_hub

        return LocalDesk(open_hub(directory or Path()))
    if directory is not None:
        raise typer.BadParameter(
            "Give a directory or --hub, not both.", param_hint="--directory"
        )
    from flip_lab.hub.desk import RemoteDesk

    address = hub.removeprefix("https://").rstrip("/")
    return RemoteDesk(address, _token(token_file), ca)


def _token(file: str | None) -> str:
    token = os.environ.get("FLIP_LAB_TOKEN", "") if file is None else secret_in(file)
    if not token:
        raise typer.BadParameter(
            "A hub elsewhere wants an admin's token.", param_hint="--token-file"
        )
    return token


def secret_in(file: str) -> str:
    """Read a secret from a file, or from standard input: it is in no process list then.

    Args:
        file: Its name; ``-`` for standard input.

    Raises:
        BadParameter: If it cannot be read, or is empty.
    """
    try:
        text = sys.stdin.readline() if file == _STDIN else Path(file).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{file} cannot be read ({error}).", param_hint="--token-file"
        ) from error
    if not text.strip():
        raise typer.BadParameter(f"{file} is empty.", param_hint="--token-file")
    return text.strip()


def lifetime_s(text: str, *, option: str = "--expires") -> float | None:
    """Read a time such as ``24h`` or ``30d``; ``never`` is None.

    Raises:
        BadParameter: If it is none.
    """
    if text == "never":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no time. Write a number and s, m, h, d or w: 24h, 30d; or never.",
            param_hint=option,
        )
    return float(found[1]) * _UNITS_S[found[2]]


def words(texts: list[str] | None) -> list[str]:
    """Read words that are separated by commas, given once or several times."""
    every = ",".join(texts or []).split(",")
    return [word.strip() for word in every if word.strip()]


def node_config(texts: list[str] | None) -> dict[str, bool | int | float | str]:
    """Read ``partition-id=0`` and the like; several may stand in one text.

    Raises:
        BadParameter: If one is no ``KEY=VALUE`` with a single value.
    """
    config = assignments(texts)
    for key, value in config.items():
        if not isinstance(value, bool | int | float | str):
            raise typer.BadParameter(
                f"{key} must be a single value, not {value!r:.80}.", param_hint="--config"
            )
    return config


def wished(shape: type[Shape], **values: Any) -> Shape:  # noqa: ANN401  # as it takes them
    """Make a wish of what the command line says.

    Raises:
        InvalidValueError: If a value cannot be one.
    """
    try:
        return shape(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidValueError(
            f"{where}: {first['msg']} (got {first.get('input')!r:.80}).",
            fix="Give a shorter or another value.",
        ) from error


def list_rows(
    name: str,
    rows: Sequence[Shape],
    columns: Mapping[str, Callable[[Shape], object]],
    *,
    as_json: bool,
) -> None:
    """Print rows as a table for people, or whole for programs.

    Args:
        name: What they are, in JSON.
        rows: The rows.
        columns: What each column shows of a row.
        as_json: Whether for programs.
    """
    if as_json:
        print_json({name: [row.model_dump(mode="json") for row in rows]})
        return
    shown = [tuple(show(row) for show in columns.values()) for row in rows]
    print_table([*columns], shown)


def tell(row: dict[str, Any], said: str, *, as_json: bool) -> None:
    """Print what was done, for people or for programs."""
    if as_json:
        print_json(row)
    else:
        page.print(said, soft_wrap=True, highlight=False)


def minute(time: datetime | None) -> str:
    """Write a time; nothing where there is none."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"


def day(time: datetime | None, none: str) -> str:
    """Write a day; or what there is in its place."""
    return none if time is None else f"{time:%Y-%m-%d}"
