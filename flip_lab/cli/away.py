"""``flip-lab fetch``: runs that go on with a hub come home."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption
from flip_lab.cli.output import page, print_json


@guarded
def fetch(
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Runs of the hub. Default: all that were launched from here."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(help="The hub's federation, for runs not launched from here."),
    ] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring ended runs of a hub into the lab; those under way stay there."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab)
    fetched, under_way = [here.fetch(run_id, on=on) for run_id in run_ids or ()], []
    if not run_ids:
        away = here.detached()
        fetched = [here.fetch(run) for run in away if run.state.is_final]
        under_way = [run.run_id for run in away if not run.state.is_final]
    at_home = [run.run_id for run in fetched]
    if as_json:
        print_json({"run_ids": at_home, "under_way": under_way})
        return
    page.print(f"At home: {', '.join(at_home) or 'none'}", markup=False)
    if under_way:
        page.print(f"Under way: {', '.join(under_way)}", markup=False)
