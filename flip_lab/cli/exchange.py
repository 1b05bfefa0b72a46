"""Commands that take runs out of a lab and into one: export, import, report."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption, WhereOption
from flip_lab.cli.output import page, print_json


@guarded
def export(  # noqa: PLR0917  # one parameter for each option
    path: Annotated[Path, typer.Argument(help="Where the export goes; nothing is there.")],
    run_ids: Annotated[
        list[str] | None, typer.Argument(help="Only these runs. Default: all.")
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="parquet, ro-crate, mlflow, tensorboard, wandb or flip."
        ),
    ] = "parquet",
    where: WhereOption = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write ended runs in a format that others read."""
    from flip_lab.runs.lab import Lab

    written = Lab(lab).export(path, run_ids or None, where=where, format=format_)
    if as_json:
        print_json({"path": str(written), "format": format_})
    else:
        page.print(f"Written: {written}", markup=False, soft_wrap=True)


@guarded
def import_(
    path: Annotated[
        Path, typer.Argument(help="What export or another tool wrote, or another lab.")
    ],
    format_: Annotated[
        str | None, typer.Option("--format", help="Default: what it looks like.")
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring runs into the lab: all of them, or none when one will not do."""
    from flip_lab.runs.lab import Lab

    imported = [run.run_id for run in Lab(lab).import_(path, format=format_)]
    if as_json:
        print_json({"run_ids": imported})
    else:
        page.print(f"{len(imported)} runs: {', '.join(imported)}", markup=False)


@guarded
def report(  # noqa: PLR0913, PLR0917  # one parameter for each option
    path: Annotated[
        Path, typer.Argument(help="Ends in .html or .pdf; an old file is replaced.")
    ],
    run_ids: Annotated[
        list[str] | None, typer.Argument(help="Only these runs. Default: all.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="What makes a group. Default: in what the runs differ."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric. Default: the evaluated accuracy.")
    ] = None,
    where: WhereOption = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a run, or of the comparison of several, as one file."""
    from flip_lab.runs.lab import Lab

    written = Lab(lab).report(path, run_ids or None, where=where, by=by, metric=metric)
    if as_json:
        print_json({"path": str(written)})
    else:
        page.print(f"Written: {written}", markup=False, soft_wrap=True)
