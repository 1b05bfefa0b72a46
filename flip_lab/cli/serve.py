"""``flip-lab serve``: the lab over HTTP and WebSocket, for the API's clients."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption
from flip_lab.cli.output import people, print_json


@guarded
def serve(  # noqa: PLR0913, PLR0917  # one parameter for each option
    host: Annotated[
        str, typer.Option(help="Where to listen: a loopback address.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8765,
    socket: Annotated[
        Path | None,
        typer.Option(help="Listen at this Unix socket instead; only you can open it."),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="What paths begin with, before /v1.")
    ] = "/flip",
    token_file: Annotated[
        Path | None,
        typer.Option(help="Where the token is kept. Default: api/token in the lab."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name that a proxy with TLS is called by; may be repeated."),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, help="The largest upload that is taken, MiB.")
    ] = 1024,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the lab to clients of its API until Ctrl-C; runs go on without it.

    The token is made at the first start and stays the same. With --json the line of JSON
    comes as soon as the server listens.
    """
    from flip_lab.api.serving import Address
    from flip_lab.api.serving import serve as serve_lab
    from flip_lab.api.tokens import token_in
    from flip_lab.runs.lab import Lab

    here = Lab(lab)
    token = token_in(token_file or here.path / "api" / "token")

    def tell(url: str) -> None:
        if as_json:
            print_json(
                {
                    "url": url,
                    "token": token,
                    "lab": str(here.path),
                    "process_id": os.getpid(),
                }
            )
            return
        people.print(f"[bold]FLIP Lab[/bold] serves {here.path}", soft_wrap=True)
        people.print(f"  at     {url}", soft_wrap=True, highlight=False)
        people.print(f"  token  {token}", soft_wrap=True, highlight=False)
        people.print("Ctrl-C ends it; runs go on.")

    address = Address(
        host=host,
        port=port,
        socket=socket,
        prefix=prefix,
        hosts=frozenset(allow_host or ()),
    )
    serve_lab(here, address, token, on_ready=tell, largest_upload_bytes=max_upload * 2**20)
