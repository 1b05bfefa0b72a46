"""``flip-lab hub node``: the hub's nodes, their tags, and who is let in no more."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import Annotated

import typer

from flip_lab.cli.desks import (
    AuthoritiesOption,
    DirectoryOption,
    HubOption,
    NameArgument,
    TokenFileOption,
    desk_at,
    minute,
    tell,
    wished,
    words,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption
from flip_lab.cli.output import print_json, print_table

node = typer.Typer(name="node", help="The hub's nodes.", no_args_is_help=True)


@node.command("list")
@guarded
def list_nodes(
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """List nodes with their tags, and when each was seen last."""
    with desk_at(directory, hub, token_file, ca) as desk:
        found = desk.nodes()
    if as_json:
        print_json({"nodes": found.model_dump(mode="json")["items"]})
        return
    print_table(
        ["node", "status", "online", "tags", "partition", "flip-lab", "skew", "last seen"],
        [
            (
                each.name,
                each.status,
                {None: "?", True: "yes", False: "no"}[each.is_online],
                " ".join(each.tags),
                "" if each.partition_id is None else each.partition_id,
                each.flip_lab or "",
                "" if each.clock_skew_s is None else f"{each.clock_skew_s:+.1f} s",
                minute(each.last_seen_at),
            )
            for each in found.items
        ],
    )


@node.command("tag")
@guarded
def tag_node(  # noqa: PLR0913, PLR0917  # one parameter for each option
    name: NameArgument,
    tags: Annotated[
        list[str] | None, typer.Argument(help="New tags; more words, or with commas.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Tags to take away, with commas.")
    ] = None,
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a node tags, or take some away; launches choose nodes by them."""
    from flip_lab.hub.wishes import TagWish

    wish = wished(TagWish, add=words(tags), remove=words(remove))
    with desk_at(directory, hub, token_file, ca) as desk:
        row = desk.tag_node(name, wish)
    said = f"{row.name}: {', '.join(row.tags) or 'no tags'}"
    tell(row.model_dump(mode="json"), said, as_json=as_json)


@node.command("revoke")
@guarded
def revoke_node(  # noqa: PLR0917  # one parameter for each option
    name: NameArgument,
    directory: DirectoryOption = None,
    hub: HubOption = None,
    token_file: TokenFileOption = None,
    ca: AuthoritiesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a node in no more; a hub that is up turns it away within seconds."""
    with desk_at(directory, hub, token_file, ca) as desk:
        row = desk.revoke_node(name)
    said = f"{row.name} is revoked; its name is free again."
    tell(row.model_dump(mode="json"), said, as_json=as_json)
