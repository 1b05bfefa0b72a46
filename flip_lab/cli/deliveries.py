"""``flip-lab models deliver``, ``withdraw`` and ``deliveries``: models for nodes."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption, LabOption
from flip_lab.cli.output import page, print_json, print_table

if TYPE_CHECKING:
    from flip_lab.runs.deliver import Delivery

NameArgument = Annotated[str, typer.Argument(help="The model.")]
VersionArgument = Annotated[int, typer.Argument(min=1, help="The version's number.")]
ToOption = Annotated[str, typer.Option(help="A federation of flip-lab.toml.")]
NodesOption = Annotated[
    str | None, typer.Option(help='Which nodes: "eu and not slow". Default: all.')
]


@guarded
def deliver(  # noqa: PLR0913, PLR0917  # one parameter for each option
    name: NameArgument,
    to: ToOption,
    version: Annotated[
        str, typer.Option(help="A number, production, staging or latest.")
    ] = "production",
    nodes: NodesOption = None,
    stage: Annotated[
        str, typer.Option(help="production is live at once; staging is kept beside.")
    ] = "production",
    scenario: Annotated[
        str | None, typer.Option(help="Its scenario, where its run is gone.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the nodes; 0: do not.")
    ] = 0.0,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a version to the nodes of a federation, signed by its hub."""
    from flip_lab.runs.lab import Lab

    which: Any = int(version) if version.isdecimal() else version
    kind: Any = stage  # the hub checks it
    sent = Lab(lab).models.deliver(
        name, which, to=to, nodes=nodes, stage=kind, scenario=scenario
    )
    _tell_delivery(sent.wait(wait) if wait else sent, as_json=as_json)


@guarded
def withdraw(  # noqa: PLR0917  # one parameter for each option
    name: NameArgument,
    version: VersionArgument,
    to: ToOption,
    nodes: NodesOption = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a version off nodes; what was live there before it is live again."""
    from flip_lab.runs.lab import Lab

    sent = Lab(lab).models.withdraw(name, version, to=to, nodes=nodes)
    _tell_delivery(sent, as_json=as_json)


@guarded
def deliveries(
    to: ToOption,
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was delivered, and what each node made of it."""
    from flip_lab.runs.deliver import deliveries_of

    rows = deliveries_of(to, name)
    if as_json:
        print_json({"deliveries": rows})
        return
    columns = ["model", "version", "action", "node", "state", "why", "delivered_by"]
    print_table(columns, [[row[column] for column in columns] for row in rows])


def _tell_delivery(delivery: Delivery, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(delivery))
    else:
        page.print(f"{delivery}", markup=False)
