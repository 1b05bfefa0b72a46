"""``flip-lab hub token``: what opens a hub to people."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flip_lab.cli.desks import (
    AuthoritiesOption,
    DirectoryOption,
    HubOption,
    TokenFileOption,
    day,
    desk_at,
    lifetime_s,
    minute,
    tell,
    wished,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import people, print_json, print_table

token = typer.Typer(
    name="token", help="Tokens that open the hub to people.", no_args_is_help=True
)


@token.command("create")
@guarded
def create_token(  # noqa: PLR0913, PLR0917  # one parameter for each option
    person: Annotated[str, typer.Argument(help="Whose it is, as logs will show it.")],
    role: Annotated[str, typer.Option(help="viewer, researcher or admin.")] = "researcher",
    expires: Annotated[
        str, typer.Option(help="How long it is good for: 90d, 12h, or never.")
    ] = "90d",
    to: Annotated[
        Path | None, typer.Option(help="Write it into this new file, for you alone.")
    ] = None,
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for somebody; it is shown this once."""
    from flip_lab.hub.place import write_private
    from flip_lab.hub.wishes import TokenWish
    from flip_lab.node.drafts import require_nothing

    wish = wished(TokenWish, role=role, person=person, lifetime_s=lifetime_s(expires))
    if to is not None:
        require_nothing(to.expanduser().absolute())  # before a token is made for it
    with desk_at(directory, hub, token_file, ca) as desk:
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
def list_tokens(
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tokens with their roles; never the tokens themselves."""
    with desk_at(directory, hub, token_file, ca) as desk:
        found = desk.tokens()
    if as_json:
        print_json({"tokens": found.model_dump(mode="json")["items"]})
        return
    print_table(
        ["id", "person", "role", "state", "made by", "expires", "last used"],
        [
            (
                each.id,
                each.person,
                each.role,
                each.state,
                each.created_by,
                day(each.expires_at, "never"),
                minute(each.last_used_at),
            )
            for each in found.items
        ],
    )


@token.command("revoke")
@guarded
def revoke_token(  # noqa: PLR0917  # one parameter for each option
    token_id: Annotated[str, typer.Argument(help="Its id, as the list shows it.")],
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a token open nothing any more."""
    with desk_at(directory, hub, token_file, ca) as desk:
        row = desk.revoke_token(token_id)
    said = f"{row.person}'s token {row.id} is revoked."
    tell(row.model_dump(mode="json"), said, as_json=as_json)
