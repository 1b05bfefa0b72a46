"""``flip-lab hub up``: a hub, until Ctrl-C."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import people, print_json


@guarded
def up(
    directory: Annotated[Path, typer.Argument(help="The hub's directory.")],
    host: Annotated[
        str, typer.Option(help="An address of this machine to listen at; default: all.")
    ] = "0.0.0.0",  # noqa: S104  # devices are elsewhere, and every path has a door
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port. Default: that of hub.toml."),
    ] = None,
    standby: Annotated[
        bool, typer.Option(help="Wait until no other process is the active hub.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve nodes and researchers until Ctrl-C; nodes come back to the next hub.

    One process is the active hub of a directory. Further ones with --standby take over
    when it ends, however it ends. With --json a line of JSON comes as soon as it listens,
    and one when it becomes active.
    """
    from flip_lab.hub.place import open_hub
    from flip_lab.hub.serving import HubAddress, serve_hub

    place = open_hub(directory)

    def tell(url: str, /, *, is_active: bool) -> None:
        if as_json:
            print_json({"url": url, "is_active": is_active, "process_id": os.getpid()})
        elif is_active:
            people.print(f"[bold]FLIP Lab hub[/bold] {place.path} at {url}", soft_wrap=True)
        else:
            people.print(f"Standby of {place.path} at {url}", soft_wrap=True)

    serve_hub(place, HubAddress(host=host, port=port), is_standby=standby, on_ready=tell)
