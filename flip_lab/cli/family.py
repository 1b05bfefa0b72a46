"""``flip-lab family``: what came of a run that was forked."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import Annotated, Any

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption, RunArgument
from flip_lab.cli.output import print_json, print_table, short


@guarded
def family(
    run_id: RunArgument,
    metric: Annotated[str | None, typer.Option(help="Default: the accuracy.")] = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a run's forks and forebears, and what each changed."""
    from flip_lab.runs.lab import Lab

    frame = Lab(lab).family(run_id, metric=metric)
    cells: Any = frame.astype(object).where(frame.notna(), None)
    rows: list[dict[str, Any]] = cells.to_dict("records")
    if as_json:
        print_json({"family": rows})
        return
    columns = ["run", "forked at", "changed", "state", "rounds", "best", "last", "edits"]
    print_table(
        columns,
        [
            (
                "  " * row["depth"] + row["run_id"],
                short(row["forked_at_round"]),
                row["changed"],
                row["state"],
                row["rounds_done"],
                short(row["best"]),
                short(row["last"]),
                row["num_edits"] or "",
            )
            for row in rows
        ],
    )
