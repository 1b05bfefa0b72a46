"""``flip-lab hub``: make a hub, look after it, and say who is let in."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli import hub_enrolments, hub_nodes, hub_tokens, hub_up
from flip_lab.cli.desks import DirectoryArgument
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import page, people, print_json, size
from flip_lab.cli.services import UserOption, program, service_user

hub = typer.Typer(
    name="hub",
    help="The server that nodes of real devices and researchers meet at.",
    no_args_is_help=True,
)
hub.add_typer(hub_tokens.token)
hub.add_typer(hub_nodes.node)
hub.command("enrol-token")(hub_enrolments.enrol_token)
hub.command()(hub_enrolments.enrolments)
hub.command()(hub_enrolments.kit)
hub.command()(hub_up.up)


@hub.command()
@guarded
def init(  # noqa: PLR0917  # one parameter for each option
    directory: Annotated[Path, typer.Argument(help="Where the hub shall be.")],
    host: Annotated[
        list[str],
        typer.Option(help="A name or address that it is reached by; the first is in kits."),
    ],
    port: Annotated[int, typer.Option(help="Where it will listen.")] = 8443,
    name: Annotated[str, typer.Option(help="What it is called.")] = "hub",
    admin: Annotated[
        str | None, typer.Option(help="Whose the first token is. Default: you.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a hub: its authority, certificate, secrets, database, and the first admin.

    The admin's token is printed once and kept nowhere.
    """
    from flip_lab.hub.preparing import prepare_hub

    made = prepare_hub(directory, hosts=host, port=port, name=name, admin=admin or "")
    if as_json:
        told = {"directory": str(made.place.path), "address": made.settings.address}
        print_json({**told, "ca": str(made.place.authorities), "token": made.token})
        return
    page.print(
        f"The hub {made.settings.name} is in {made.place.path}\n"
        f"  nodes will reach it at  {made.settings.address}\n"
        f"  they trust              {made.place.authorities}\n",
        soft_wrap=True,
        highlight=False,
    )
    page.print("The first admin's token, shown this once:", highlight=False)
    typer.echo(made.token)
    people.print(
        f"\nNext: flip-lab hub up {directory}, and flip-lab hub kit NAME --to DIR for each "
        "site.",
        soft_wrap=True,
    )


@hub.command()
@guarded
def status(directory: DirectoryArgument = Path(), as_json: JsonOption = False) -> None:
    """Say how a hub stands: who is active, its nodes, and when its certificates end."""
    from flip_lab.hub.place import open_hub
    from flip_lab.hub.status import status_of

    told = status_of(open_hub(directory))
    if as_json:
        print_json(told.as_json())
        return
    behind = f", {len(told.behind)} nodes to go" if told.behind else ""
    change = f" (changing over{behind})" if told.is_changing_over else ""
    to_come = f" (and soon {', '.join(told.hosts_to_come)})" if told.hosts_to_come else ""
    page.print(
        f"{told.name} at {told.address}, {told.path}\n"
        f"  active        {told.active or 'no process'}\n"
        f"  nodes         {told.num_enrolled} enrolled, {told.num_recent} seen within two "
        f"minutes, {told.num_revoked} revoked\n"
        f"  enrolments    {told.num_open_enrolments} open\n"
        f"  tokens        {told.num_tokens}\n"
        f"  runs          {told.num_runs_under_way} under way\n"
        f"  names         {', '.join(told.hosts)}{to_come}\n"
        f"  certificate   until {told.server_expires_at:%Y-%m-%d}\n"
        f"  authority     until {told.authority_expires_at:%Y-%m-%d}{change}\n"
        f"  disk          {size(told.free_bytes)} free",
        soft_wrap=True,
        highlight=False,
    )
    for warning in told.warnings:
        people.print(warning, style="yellow", soft_wrap=True)


@hub.command()
@guarded
def unit(directory: DirectoryArgument = Path(), user: UserOption = None) -> None:
    """Print the systemd unit that keeps this hub running; detached runs outlive it."""
    from flip_lab.hub.place import open_hub
    from flip_lab.hub.unit import unit_of_hub

    place = open_hub(directory)
    account = service_user(place.path, user)
    typer.echo(unit_of_hub(place, program=program(), user=account), nl=False)


@hub.command()
@guarded
def backup(
    directory: DirectoryArgument,
    destination: Annotated[Path, typer.Argument(help="Where this hub's backups are.")],
    as_json: JsonOption = False,
) -> None:
    """Copy a hub while it is up, with its lab and its private keys."""
    from flip_lab.hub.backup import backup_hub
    from flip_lab.hub.place import open_hub

    done = backup_hub(open_hub(directory), destination)
    if as_json:
        told = {"snapshot": done.snapshot, "path": str(done.path)}
        print_json({**told, "num_runs": done.num_runs, "left_out": done.left_out})
    else:
        page.print(
            f"Snapshot {done.snapshot}: {done.num_runs} runs, and the hub's own files in "
            f"{done.path}",
            soft_wrap=True,
            highlight=False,
        )
        people.print(
            "It holds the hub's private keys: whoever can read it can pose as the hub.",
            style="yellow",
            soft_wrap=True,
        )
    for path, why in done.left_out.items():
        people.print(f"Left out: {path} ({why})", style="yellow", soft_wrap=True)
    if done.left_out:
        raise typer.Exit(1)


@hub.command()
@guarded
def restore(
    source: Annotated[Path, typer.Argument(help="The directory of backups.")],
    directory: Annotated[Path, typer.Argument(help="Where the hub shall be.")],
    snapshot: Annotated[
        str | None, typer.Option(help="Which one. Default: the newest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a hub of a backup; nodes find it again if it is reached by the same name."""
    from flip_lab.hub.backup import restore_hub

    place = restore_hub(source, directory, snapshot=snapshot)
    if as_json:
        print_json({"directory": str(place.path)})
        return
    page.print(f"The hub is in {place.path}", soft_wrap=True, highlight=False)
    people.print(
        "Nodes and tokens that were revoked since are good again: revoke them anew.",
        style="yellow",
        soft_wrap=True,
    )


@hub.command("rotate-certs")
@guarded
def rotate_certs(  # noqa: PLR0917  # one parameter for each option
    directory: DirectoryArgument = Path(),
    host: Annotated[
        list[str] | None, typer.Option(help="One more name that it is reached by.")
    ] = None,
    ca: Annotated[bool, typer.Option("--ca", help="Make a new authority, too.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Trust the newest authority alone from now on.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Finish, and leave behind who has not changed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new server certificate; a hub that is up shows it seconds later.

    With --ca also a new authority: nodes trust the old and the new one, fetch the new one
    when they report, and --finish ends that once all of them have.
    """
    from flip_lab.hub import rotation
    from flip_lab.hub.database import HubDatabase
    from flip_lab.hub.place import open_hub

    _see_that_it_stands_alone(finish=finish, others=ca or bool(host))
    place = open_hub(directory)
    with HubDatabase(place) as database:
        if finish:
            rotation.finish(place, database, force=force)
        elif ca:
            rotation.begin(place, hosts=host or ())
        else:
            rotation.renew(place, hosts=host or ())
        now = rotation.certificates_of(place, database)
    if as_json:
        told = {"hosts": now.hosts, "hosts_to_come": now.hosts_to_come}
        ends = {"server_expires_at": now.server_expires_at.isoformat()}
        change = {"is_changing_over": now.is_changing_over, "behind": now.behind}
        print_json({**told, **ends, **change})
        return
    page.print(
        f"The certificate names {', '.join(now.hosts)} and is good until "
        f"{now.server_expires_at:%Y-%m-%d}.",
        soft_wrap=True,
        highlight=False,
    )
    if now.hosts_to_come:
        page.print(
            f"After --finish it also names {', '.join(now.hosts_to_come)}: the older "
            "authority, which some nodes still trust, may not speak for that.",
            soft_wrap=True,
            highlight=False,
        )
    if now.is_changing_over:
        page.print(
            "Nodes fetch the new authority when they report; then: rotate-certs --finish",
            soft_wrap=True,
        )


def _see_that_it_stands_alone(*, finish: bool, others: bool) -> None:
    """Refuse to begin and to finish a change at once."""
    if finish and others:
        raise typer.BadParameter("It stands alone.", param_hint="--finish")
