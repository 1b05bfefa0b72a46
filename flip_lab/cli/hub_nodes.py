"""``flip-lab hub node``: the hub's nodes, their tags, and who is let in no more."""

# typer.Option and typer.Argument are untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flip_lab.cli.desks import (
    NameArgument,
    at_desk,
    list_rows,
    minute,
    tell,
    wished,
    words,
)
from flip_lab.cli.guard import guarded
from flip_lab.cli.options import JsonOption

if TYPE_CHECKING:
    from flip_lab.hub.desk import Desk

node = typer.Typer(name="node", help="The hub's nodes.", no_args_is_help=True)


@node.command("list")
@guarded
@at_desk
def list_nodes(desk: Desk, as_json: JsonOption = False) -> None:
    """List nodes with their tags, and when each was seen last."""
    found = desk.nodes()
    list_rows(
        "nodes",
        found.items,
        {
            "node": lambda each: each.name,
            "status": lambda each: each.status,
            "online": lambda each: {None: "?", True: "yes", False: "no"}[each.is_online],
            "tags": lambda each: " ".join(each.tags),
            "partition": lambda each: (
                "" if each.partition_id is None else each.partition_id
            ),
            "flip-lab": lambda each: each.flip_lab or "",
            "skew": lambda each: (
                "" if each.clock_skew_s is None else f"{each.clock_skew_s:+.1f} s"
            ),
            "last seen": lambda each: minute(each.last_seen_at),
        },
        as_json=as_json,
    )


@node.command("tag")
@guarded
@at_desk
def tag_node(
    desk: Desk,
    name: NameArgument,
    tags: Annotated[
        list[str] | None, typer.Argument(help="New tags; more words, or with commas.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Tags to take away, with commas.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Give a node tags, or take some away; launches choose nodes by them."""
    from flip_lab.hub.wishes import TagWish

    wish = wished(TagWish, add=words(tags), remove=words(remove))
    row = desk.tag_node(name, wish)
    said = f"{row.name}: {', '.join(row.tags) or 'no tags'}"
    tell(row.model_dump(mode="json"), said, as_json=as_json)


@node.command("revoke")
@guarded
@at_desk
def revoke_node(
    desk: Desk,
    name: NameArgument,
    as_json: JsonOption = False,
) -> None:
    """Let a node in no more; a hub that is up turns it away within seconds."""
    row = desk.revoke_node(name)
    said = f"{row.name} is revoked; its name is free again."
    tell(row.model_dump(mode="json"), said, as_json=as_json)
