"""Commands that say something about runs: tag, note, archive, delete, undo, trash."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.labs import opened
from flip_lab.cli.options import (
    AnyLabOption,
    JsonOption,
    LabOption,
    RunArgument,
    RunsArgument,
    TokenOption,
)
from flip_lab.cli.output import page, print_json, print_table

if TYPE_CHECKING:
    from flip_lab.cli.labs import AnyLab

BackOption = Annotated[bool, typer.Option("--back", help="The other way round.")]


@guarded
def tag(  # noqa: PLR0917  # one parameter for each option
    run_id: RunArgument,
    tags: Annotated[list[str], typer.Argument(help="One tag, or several.")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the tags off the run.")
    ] = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a run tags, or take them off it."""
    here = opened(lab, token)
    found = here.run(run_id).run_id
    (here.untag if remove else here.tag)(found, *tags)
    now = _row(here, found)["tags"]
    if as_json:
        print_json({"run_id": found, "tags": now})
    else:
        page.print(f"{found}: {', '.join(now) or 'no tags'}", markup=False)


@guarded
def note(
    run_id: RunArgument,
    text: Annotated[
        str | None, typer.Argument(help='The note; "" takes it away. Default: show it.')
    ] = None,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note something about a run in place of its last note, or show that."""
    here = opened(lab, token)
    found = here.run(run_id).run_id
    if text is not None:
        here.note(found, text)
    now = _row(here, found)["note"]
    if as_json:
        print_json({"run_id": found, "note": now})
    else:
        page.print(now or f"{found} has no note.", markup=False)


@guarded
def archive(
    run_ids: RunsArgument,
    back: BackOption = False,
    lab: AnyLabOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put runs away from the usual lists, or take them back."""
    here = opened(lab, token)
    found = [here.run(run_id).run_id for run_id in run_ids]
    (here.unarchive if back else here.archive)(found)
    _done(found, "taken back" if back else "archived", as_json)


@guarded
def delete(
    run_ids: RunsArgument,
    back: BackOption = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put runs into the trash, or take them out of it."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab)
    before = {*here.table("runs")["run_id"]}
    (here.undelete if back else here.delete)(run_ids)
    changed = sorted(before ^ {*here.table("runs")["run_id"]})
    _done(changed, "out of the trash" if back else "in the trash", as_json)


@guarded
def undo(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Take back your last tag, note, archive or delete; again: the one before."""
    from flip_lab.runs.lab import Lab

    undone = Lab(lab).undo()
    if as_json:
        print_json({"undone": asdict(undone)})
    else:
        page.print(str(undone), markup=False)


@guarded
def trash(
    empty: Annotated[
        bool, typer.Option("--empty", help="Remove what is in it for good.")
    ] = False,
    older_than_days: Annotated[
        float, typer.Option(min=0.0, help="Only what was deleted so long ago.")
    ] = 0.0,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the trash, or empty it."""
    from flip_lab.runs.lab import Lab

    here = Lab(lab)
    if empty:
        removed = here.empty_trash(older_than_s=older_than_days * 86400)
        _done(removed, "removed for good", as_json)
        return
    rows: list[dict[str, Any]] = here.deleted().to_dict("records")
    if as_json:
        print_json({"deleted": rows})
        return
    print_table(
        ["run", "name", "experiment", "deleted (UTC)", "by"],
        [
            (
                row["run_id"],
                row["name"],
                row["experiment"],
                f"{row['deleted_at']:%Y-%m-%d %H:%M:%S}",
                row["deleted_by"],
            )
            for row in rows
        ],
    )


def _row(lab: AnyLab, run_id: str) -> dict[str, Any]:
    statement = "SELECT tags, note FROM runs WHERE run_id = ?"
    rows: list[dict[str, Any]] = lab.sql(statement, [run_id], as_="rows")
    return rows[0]


def _done(run_ids: list[str], what: str, as_json: bool) -> None:  # noqa: FBT001  # as the option
    if as_json:
        print_json({"run_ids": run_ids})
    else:
        page.print(f"{', '.join(run_ids) or 'nothing'}: {what}")
