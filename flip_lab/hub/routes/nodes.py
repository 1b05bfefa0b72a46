"""Nodes: who is let in, and what cohorts choose them by."""

from __future__ import annotations

from fastapi import APIRouter

from flip_lab.api.documents import told
from flip_lab.hub.answers import NodeRow, Nodes
from flip_lab.hub.nodes import list_nodes, node_row, revoke_node, tag_node
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import HubAdmin, HubReader, TheHub
from flip_lab.hub.wishes import TagWish

router = APIRouter(prefix="/hub/nodes", tags=["nodes"], route_class=StrictRoute)


@router.get("", responses=told())
def hub_nodes(hub: TheHub, person: HubReader) -> Nodes:
    """List every node, revoked ones, too."""
    del person
    return list_nodes(hub.database, hub.presence.online())


@router.get("/{name}", responses=told(404))
def hub_node(name: str, hub: TheHub, person: HubReader) -> NodeRow:
    """Show the enrolled node of a name."""
    del person
    return node_row(hub.database.nodes.named(name), hub.presence.online())


@router.patch("/{name}", responses=told(404, 422))
def tag_hub_node(name: str, wish: TagWish, hub: TheHub, person: HubAdmin) -> NodeRow:
    """Give a node tags, or take some away."""
    del person
    return tag_node(hub.database, name, add=wish.add, remove=wish.remove)


@router.delete("/{name}", responses=told(404))
def revoke_hub_node(name: str, hub: TheHub, person: HubAdmin) -> NodeRow:
    """Let a node in no more, at once; its name is free again."""
    del person
    row = revoke_node(hub.database, name)
    hub.learn_nodes()
    return row
