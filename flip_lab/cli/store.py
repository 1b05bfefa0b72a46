"""``flip-lab store``: what a lab holds, and what can be done about its size."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption, lab_dir
from flip_lab.cli.output import page, people, print_json, print_table, size
from flip_lab.core.errors import InvalidValueError

store = typer.Typer(
    name="store",
    help="What a lab holds, and what can be done about its size.",
    no_args_is_help=True,
)
_DAY_S = 86400.0


@store.command()
@guarded
def info(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Say what the lab holds, and what takes the room."""
    from flip_lab.runs.care_info import store_info

    told = store_info(lab_dir(lab))
    if as_json:
        print_json(asdict(told))
        return
    segments = sum(told.levels.values())
    page.print(
        f"{told.num_runs} runs, {told.num_sealed} of them sealed in {segments} segments "
        f"(by level: {told.levels or 'none'})\n"
        f"{size(told.journal_bytes)} in journals, {size(told.runs_bytes)} in runs' "
        f"directories, {size(told.blob_bytes)} in {told.num_blobs} kept files\n"
    )
    print_table(
        ["sealed", "rows", "size"],
        [(each.name, each.num_rows, size(each.size_bytes)) for each in told.tables],
    )
    page.print()
    print_table(
        ["run", "facts", "files"],
        [
            (each.run_id, size(each.facts_bytes), size(each.files_bytes))
            for each in told.biggest
        ],
    )


@store.command()
@guarded
def compact(
    now: Annotated[
        bool, typer.Option("--now", help="Also remove what others may still be reading.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal the runs that have ended; done by itself after every sixteenth run or so."""
    from flip_lab.runs.care import compact_lab

    done = compact_lab(lab_dir(lab), now=now)
    for run_id, why in done.damaged.items():
        people.print(
            f"Run {run_id} is left as it is: {why}", style="yellow", soft_wrap=True
        )
    if as_json:
        print_json(asdict(done))
    else:
        page.print(
            f"{done.num_sealed} runs sealed, {done.num_merged} segments merged, "
            f"{done.num_removed} leftovers removed."
        )
    if done.damaged:
        raise typer.Exit(1)


@store.command()
@guarded
def collect(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove kept files that no run speaks of any more."""
    from flip_lab.runs.care import collect_unused

    done = collect_unused(lab_dir(lab), dry_run=dry_run)
    if as_json:
        print_json(asdict(done))
    else:
        word = "would be" if dry_run else "are"
        page.print(f"{done.num_files} files ({size(done.freed_bytes)}) {word} removed.")


@store.command()
@guarded
def prune(  # noqa: PLR0913, PLR0917  # one parameter for each option
    keep_last: Annotated[
        int | None, typer.Option(help="Leave so many of an experiment's newest runs alone.")
    ] = None,
    older_than_days: Annotated[
        float | None, typer.Option(help="Only runs that ended at least so long ago.")
    ] = None,
    keep: Annotated[
        str,
        typer.Option(help="summary: facts of clients and checkpoints go; none: all goes."),
    ] = "summary",
    experiment: Annotated[
        str | None, typer.Option(help="Only runs of this experiment.")
    ] = None,
    do_it: Annotated[
        bool, typer.Option("--yes", help="Do it; else only say what would be done.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let go of what takes the room in old runs; not of those with the tag keep."""
    from flip_lab.runs.care_retention import prune_runs

    if keep not in ("summary", "none"):
        raise InvalidValueError(f"--keep is {keep!r}.", fix="Write summary or none.")
    done = prune_runs(
        lab_dir(lab),
        keep_last=keep_last,
        older_than_s=None if older_than_days is None else older_than_days * _DAY_S,
        keep=keep,
        experiment=experiment,
        dry_run=not do_it,
    )
    if as_json:
        print_json(asdict(done))
        return
    for run_id in done.run_ids:
        page.print(run_id)
    freed = f"{len(done.run_ids)} runs, {size(done.freed_bytes)}"
    page.print(f"{freed} freed." if do_it else f"{freed} would be freed; --yes does it.")
