"""``flip-lab hub token``: what opens a hub to people."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli.desks import (
    at_desk,
    day,
    lifetime_s,
    list_rows,
    minute,
    tell,
    wished,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import people, print_json

if TYPE_CHECKING:
    from flip_lab.hub.desk import Desk

token = typer.Typer(
    name="token", help="Tokens that open the hub to people.", no_args_is_help=True
)


@token.command("create")
@guarded
@at_desk
def create_token(  # noqa: PLR0917  # one parameter for each option
    desk: Desk,
    person: Annotated[str, typer.Argument(help="Whose it is, as logs will show it.")],
    role: Annotated[str, typer.Option(help="viewer, researcher or admin.")] = "researcher",
    expires: Annotated[
        str, typer.Option(help="How long it is good for: 90d, 12h, or never.")
    ] = "90d",
    to: Annotated[
        Path | None, typer.Option(help="Write it into this new file, for you alone.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for somebody; it is shown this once."""
    from flip_lab.hub.place import write_private
    from flip_lab.hub.wishes import TokenWish
    from flip_lab.node.drafts import require_nothing

    wish = wished(TokenWish, role=role, person=person, lifetime_s=lifetime_s(expires))
    if to is not None:
        require_nothing(to.expanduser().absolute())  # before a token is made for it
    made = desk.make_token(wish)
    if to is not None:
        write_private(to, f"{made.token}\n".encode("ascii"))
    if as_json:
        hidden = {"token"} if to is not None else set[str]()
        print_json(made.model_dump(mode="json", exclude=hidden))
        return
    people.print(f"{made.role} {made.person}, until {day(made.expires_at, 'revoked')}.")
    typer.echo(str(to) if to is not None else made.token)


@token.command("list")
@guarded
@at_desk
def list_tokens(desk: Desk, as_json: JsonOption = False) -> None:
    """List tokens with their roles; never the tokens themselves."""
    found = desk.tokens()
    list_rows(
        "tokens",
        found.items,
        {
            "id": lambda each: each.id,
            "person": lambda each: each.person,
            "role": lambda each: each.role,
            "state": lambda each: each.state,
            "made by": lambda each: each.created_by,
            "expires": lambda each: day(each.expires_at, "never"),
            "last used": lambda each: minute(each.last_used_at),
        },
        as_json=as_json,
    )


@token.command("revoke")
@guarded
@at_desk
def revoke_token(
    desk: Desk,
    token_id: Annotated[str, typer.Argument(help="Its id, as the list shows it.")],
    as_json: JsonOption = False,
) -> None:
    """Let a token open nothing any more."""
    row = desk.revoke_token(token_id)
    said = f"{row.person}'s token {row.id} is revoked."
    tell(row.model_dump(mode="json"), said, as_json=as_json)
