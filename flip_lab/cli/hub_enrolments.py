"""``flip-lab hub enrol-token | enrolments | kit``: how devices are let in."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli.desks import (
    NameArgument,
    at_desk,
    lifetime_s,
    list_rows,
    minute,
    node_config,
    wished,
    words,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import page, people, print_json

if TYPE_CHECKING:
    from flip_lab.hub.desk import Desk

TagsOption = Annotated[
    list[str] | None, typer.Option(help="Tags, with commas: eu,gpu. May be repeated.")
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE of the node's configuration: partition-id=0. Repeat it."),
]
ExpiresOption = Annotated[
    str, typer.Option(help="How long the token is good for: 90m, 24h, 7d.")
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Withdraw an open token for the same name.")
]


@guarded
@at_desk
def enrol_token(  # noqa: PLR0913, PLR0917  # one parameter for each option
    desk: Desk,
    name: NameArgument,
    tags: TagsOption = None,
    config: ConfigOption = None,
    expires: ExpiresOption = "24h",
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a one-time token for a device; it is shown this once."""
    from flip_lab.hub.wishes import EnrolmentWish

    wish = wished(
        EnrolmentWish,
        name=name,
        tags=words(tags),
        config=node_config(config),
        lifetime_s=lifetime_s(expires) or 0,
        replace=replace,
    )
    made = desk.make_enrolment(wish)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    people.print(
        f"On the device, until {minute(made.expires_at)} UTC: flip-lab node enroll "
        f"--hub {made.address} --token-file -",
        soft_wrap=True,
        highlight=False,
    )
    typer.echo(made.token)


@guarded
@at_desk
def enrolments(
    desk: Desk,
    withdraw: Annotated[
        str | None, typer.Option(help="Let no device enrol with the token of this id.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List one-time tokens with their state; never the tokens themselves."""
    if withdraw is not None:
        desk.withdraw_enrolment(withdraw)
    found = desk.enrolments()
    list_rows(
        "enrolments",
        found.items,
        {
            "id": lambda each: each.id,
            "node": lambda each: each.name,
            "state": lambda each: each.state,
            "tags": lambda each: " ".join(each.tags),
            "made by": lambda each: each.created_by,
            "expires": lambda each: minute(each.expires_at),
            "used": lambda each: minute(each.used_at),
        },
        as_json=as_json,
    )


@guarded
@at_desk
def kit(  # noqa: PLR0913, PLR0917  # one parameter for each option
    desk: Desk,
    name: NameArgument,
    to: Annotated[Path, typer.Option(help="A new directory, or a new file: NAME.zip.")],
    tags: TagsOption = None,
    config: ConfigOption = None,
    expires: ExpiresOption = "24h",
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a kit for a site: all that a device needs to become a node, but its key."""
    from flip_lab.hub.kits import kit_of
    from flip_lab.hub.wishes import EnrolmentWish
    from flip_lab.node.drafts import require_nothing

    wish = wished(
        EnrolmentWish,
        name=name,
        tags=words(tags),
        config=node_config(config),
        lifetime_s=lifetime_s(expires) or 0,
        replace=replace,
    )
    require_nothing(to.expanduser().absolute())  # before a token is made for it
    made = desk.make_enrolment(wish)
    path = kit_of(made).write_to(to)
    if as_json:
        told = made.model_dump(mode="json", include={"id", "name", "expires_at"})
        print_json({**told, "kit": str(path)})
        return
    page.print(f"The kit of {name} is in {path}", soft_wrap=True, highlight=False)
    people.print(
        f"Its token is good once, until {minute(made.expires_at)} UTC: hand the kit over "
        "as you would hand over a password.",
        soft_wrap=True,
    )
