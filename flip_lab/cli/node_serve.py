"""``flip-lab node serve``: a site's prediction endpoint by itself."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import people, print_json


@guarded
def serve(  # noqa: PLR0917  # one parameter for each option
    directory: Annotated[
        Path, typer.Argument(help="The node's directory, made by `flip-lab node enroll`.")
    ] = Path(),
    host: Annotated[
        str | None, typer.Option(help="Where to listen. Default: node.toml's, or 127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The port; 0 takes a free one. Default: 8082"),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file to show; other hosts can call it then.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer predictions with the models that were delivered, until Ctrl-C.

    It needs neither the hub nor the running node: the last versions that were installed
    answer. With --json the line of JSON comes as soon as it listens.
    """
    from flip_lab.node.config import ServeSettings, load_node
    from flip_lab.node.serving.listening import Place
    from flip_lab.node.serving.listening import serve as serve_models

    config = load_node(directory)
    given = {"host": host, "port": port, "certificate": certificate, "key": key}
    settings = replace(
        config.serve or ServeSettings(),
        **{name: value for name, value in given.items() if value is not None},  # pyright: ignore[reportArgumentType]  # each has its field's type
    )

    def tell(place: Place) -> None:
        if as_json:
            told = {"url": place.url, "token_file": str(place.token_file)}
            print_json({**told, "process_id": place.process_id})
            return
        people.print(f"[bold]{config.name}[/bold] answers predictions", soft_wrap=True)
        people.print(f"  at       {place.url}", soft_wrap=True, highlight=False)
        people.print(f"  token in {place.token_file}", soft_wrap=True, highlight=False)

    serve_models(replace(config, serve=settings), on_ready=tell)
