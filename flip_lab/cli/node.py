"""``flip-lab node``: make this device a node, look it over, and keep it running."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli import node_serve, node_up
from flip_lab.cli.desks import secret_in
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import page, people, print_json, print_table
from flip_lab.cli.services import UserOption, program, service_user
from flip_lab.core.errors import HubStateError, PreflightError

if TYPE_CHECKING:
    from flip_lab.node.config import NodeConfig

node = typer.Typer(
    name="node",
    help="This device as a node of a federation.",
    no_args_is_help=True,
)
node.command()(node_up.up)
node.command()(node_up.allow)
node.command()(node_up.deny)
node.command()(node_serve.serve)

NodeArgument = Annotated[Path, typer.Argument(help="The node's directory.")]

_TOKEN_FILE = "enrolment.token"  # noqa: S105  # a name


@node.command()
@guarded
def enroll(  # noqa: PLR0917  # one parameter for each option
    hub: Annotated[str | None, typer.Option(help="The hub, host:port.")] = None,
    token: Annotated[
        str | None,
        typer.Option(help="The one-time token; - reads it. Better: --token-file."),
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="A file with the token; - reads it.")
    ] = None,
    kit: Annotated[
        Path | None, typer.Option(help="A kit's directory, in place of all of these.")
    ] = None,
    directory: Annotated[
        Path, typer.Option(help="Where the node shall live: nothing may be there yet.")
    ] = Path("node"),
    as_json: JsonOption = False,
) -> None:
    """Make this device a node: the key is made here, and only its public half is sent."""
    from flip_lab.node.config import load_node
    from flip_lab.node.enrol import enrol_node

    if kit and kit.is_file():
        raise typer.BadParameter(
            f"{kit} is a file: unpack it, and name its directory.", param_hint="--kit"
        )
    address = hub or (load_node(kit).hub if kit else None)
    if address is None:
        raise typer.BadParameter("Which hub?", param_hint="--hub")
    shown = _shown(token, token_file, kit)
    address = address.removeprefix("https://").rstrip("/")
    config = enrol_node(shown, hub=address, directory=directory, kit=kit)
    if as_json:
        told = {"name": config.name, "hub": config.hub, "directory": str(config.directory)}
        print_json({**told, "config": dict(config.config)})
        return
    page.print(
        f"{config.name} is a node of {config.hub} now; it lives in {config.directory}",
        soft_wrap=True,
        highlight=False,
    )
    people.print(
        f"Look through node.toml, then: flip-lab node preflight {directory}, and flip-lab "
        f"node up {directory}",
        soft_wrap=True,
        highlight=False,
    )


@node.command()
@guarded
def preflight(
    directory: NodeArgument = Path(),
    app: Annotated[
        Path | None, typer.Option(help="An app's directory: can this device import it?")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that a run will need of this device; exits with 1 if something is wrong."""
    from flip_lab.node.preflight import check_node

    report = check_node(directory, app=app)
    if as_json:
        print_json(report.as_json())
    else:
        marks = {"good": "✓", "warning": "!", "wrong": "✗", "skipped": "–"}
        print_table(
            ["", "check", "found", "what to do"],
            [
                (marks[check.verdict], check.name, check.found, check.fix)
                for check in report.checks
            ],
        )
    if report.wrong:
        if not as_json:
            names = ", ".join(check.name for check in report.wrong)
            people.print(f"[{PreflightError.code}] Not ready: {names}.", style="bold red")
        raise typer.Exit(1)


@node.command()
@guarded
def status(directory: NodeArgument = Path(), as_json: JsonOption = False) -> None:
    """Say what a node is doing: read from its directory, whether it runs or not."""
    from flip_lab.node.config import load_node

    config = load_node(directory)
    told = _status(config)
    if as_json:
        print_json(told)
        return
    width = max(map(len, told))
    for key, value in told.items():
        page.print(f"{key:<{width}}  {value}", soft_wrap=True, highlight=False)


@node.command()
@guarded
def unit(
    directory: NodeArgument = Path(),
    user: UserOption = None,
) -> None:
    """Print the systemd unit that keeps this node running."""
    from flip_lab.node.config import load_node
    from flip_lab.node.units import unit_of

    config = load_node(directory)
    home, here = config.directory, program()
    account = service_user(home, user)
    typer.echo(unit_of(config.name, directory=home, program=here, user=account), nl=False)


def _shown(token: str | None, token_file: str | None, kit: Path | None) -> str:
    """Give the token, from wherever it is.

    Raises:
        BadParameter: If there is none, or more than one.
    """
    given = [each for each in (token, token_file) if each is not None]
    if len(given) > 1:
        raise typer.BadParameter("Give one of them.", param_hint="--token, --token-file")
    if token is not None and token != "-":  # noqa: S105  # standard input
        return token
    if not given and kit is None:
        raise typer.BadParameter("Which token?", param_hint="--token-file")
    return secret_in(given[0] if given else str((kit or Path()) / _TOKEN_FILE))


def _status(config: NodeConfig) -> dict[str, object]:
    """Read what a node last said of itself.

    Raises:
        HubStateError: If it cannot be read.
    """
    try:
        return json.loads(config.status_file.read_bytes())
    except FileNotFoundError:
        return {"name": config.name, "hub": config.hub, "state": "never started"}
    except (OSError, ValueError) as error:
        raise HubStateError(
            f"{config.status_file} cannot be read ({error}).",
            fix="Start the node: it writes the file anew.",
        ) from error
