"""Commands that keep a lab safe and sound: backup, restore, doctor."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption, lab_dir
from flip_lab.cli.output import page, people, print_json, print_table, size

if TYPE_CHECKING:
    from flip_lab.store.doctor import Finding

DestinationArgument = Annotated[
    Path, typer.Argument(help="A directory for the backups of this lab.")
]


@guarded
def backup(
    destination: DestinationArgument,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check what is there; copy what is damaged anew."),
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Only list the snapshots that are there.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a lab while its runs go on; again, only what is new is copied."""
    from flip_lab.runs.care import backup_lab

    if listing:
        _list(destination, as_json=as_json)
        return
    done = backup_lab(lab_dir(lab), destination, verify=verify)
    for path, why in done.left_out.items():
        people.print(f"Left out: {path} ({why})", style="yellow", soft_wrap=True)
    if as_json:
        print_json(asdict(done))
    else:
        page.print(
            f"Snapshot {done.snapshot}: {done.num_runs} runs, {done.num_files} files, "
            f"{size(done.size_bytes)}; {done.num_new} files ({size(done.new_bytes)}) "
            f"were new. {done.duration_s:.1f} s."
        )
    if done.left_out:
        raise typer.Exit(1)


def _list(destination: Path, *, as_json: bool) -> None:
    from flip_lab.core.clock import at_utc
    from flip_lab.store.backup import BackupDir

    there = BackupDir(destination.expanduser().absolute())
    snapshots = [there.read(name) for name in there.names()] or [there.read()]
    if as_json:
        rows = [
            {
                "snapshot": each.name,
                "taken_s": each.taken_s,
                "num_runs": each.num_runs,
                "num_files": len(each.files),
                "size_bytes": each.size_bytes,
            }
            for each in snapshots
        ]
        print_json({"snapshots": rows})
        return
    print_table(
        ["snapshot", "taken (UTC)", "runs", "files", "size"],
        [
            (
                each.name,
                f"{at_utc(each.taken_s):%Y-%m-%d %H:%M:%S}",
                each.num_runs,
                len(each.files),
                size(each.size_bytes),
            )
            for each in snapshots
        ],
    )


@guarded
def restore(
    destination: DestinationArgument,
    new_lab: Annotated[
        Path, typer.Argument(help="Where the lab shall be; nothing may be there yet.")
    ],
    snapshot: Annotated[
        str | None, typer.Option(help="Which snapshot. Default: the newest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a lab of a backup; every file is compared with its hash."""
    from flip_lab.runs.care import restore_lab

    done = restore_lab(destination, new_lab, snapshot=snapshot)
    if as_json:
        print_json(asdict(done))
    else:
        page.print(
            f"Snapshot {done.snapshot} is restored to {done.path}: {done.num_runs} runs, "
            f"{done.num_files} files, {size(done.size_bytes)}. {done.duration_s:.1f} s.",
            soft_wrap=True,
        )


@guarded
def doctor(
    mend: Annotated[
        bool, typer.Option("--repair", help="Mend what can be; nothing is lost by it.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare lengths of files, not their hashes.")
    ] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look a lab over, and repair it; exits with 1 when something is damaged."""
    from flip_lab.runs.care_examining import examine, repair

    here = lab_dir(lab)
    found = examine(here, is_quick=quick)
    left = repair(here, found) if mend and found else found
    if as_json:
        print_json(
            {
                "found": [_told(finding) for finding in found],
                "left": [_told(finding) for finding in left],
            }
        )
    elif not found:
        page.print("The lab is in good order.")
    else:
        _print_findings(found)
        if mend:
            page.print(f"\nAfter the repair {len(left)} of these are left:")
            _print_findings(left)
        else:
            page.print("\nflip-lab doctor --repair does what stands in the last column.")
    if any(not finding.is_note for finding in left):
        raise typer.Exit(1)


def _told(finding: Finding) -> dict[str, str | None]:
    return {
        "kind": finding.kind.value,
        "path": str(finding.path),
        "what": finding.what,
        "run_id": finding.run_id,
        "repair": finding.repair,
    }


def _print_findings(findings: Sequence[Finding]) -> None:
    print_table(
        ["finding", "where", "what", "a repair …"],
        [(each.kind, each.path, each.what, each.repair or "–") for each in findings],
    )
