"""The nodes of a hub, as those see them who look after it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from flip_lab.core.clock import at_utc
from flip_lab.hub.answers import NodeRow, Nodes
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.names import checked_tags


def list_nodes(database: HubDatabase, online: Collection[int] | None = None) -> Nodes:
    """List every node, revoked ones, too.

    Args:
        database: The hub's.
        online: Flower's ids of the nodes that are connected; ``None`` where only the
            running hub knows.
    """
    return Nodes(items=[node_row(record, online) for record in database.nodes.list()])


def tag_node(
    database: HubDatabase, name: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> NodeRow:
    """Give a node tags, and take some away; takes effect with the next launch.

    Args:
        database: The hub's.
        name: An enrolled node.
        add: New tags.
        remove: Tags that it need not have.

    Raises:
        InvalidValueError: If a new tag cannot be one.
        NoSuchPlaceError: If no enrolled node has that name.
    """
    return node_row(database.nodes.tag(name, add=checked_tags(add), remove=remove))


def revoke_node(database: HubDatabase, name: str) -> NodeRow:
    """Let a node in no more; a running hub turns it away within seconds.

    Args:
        database: The hub's.
        name: An enrolled node.

    Raises:
        NoSuchPlaceError: If no enrolled node has that name.
    """
    return node_row(database.nodes.revoke(name))


def node_row(record: NodeRecord, online: Collection[int] | None = None) -> NodeRow:
    """Give what is known of a node.

    Args:
        record: What the database says.
        online: As of ``list_nodes``.
    """
    facts = record.facts
    partition = record.config.get("partition-id")
    return NodeRow(
        name=record.name,
        node_id=str(record.node_id),
        public_key_fingerprint=record.fingerprint,
        status=record.status,
        is_online=None if online is None else record.node_id in online,
        tags=list(record.tags),
        config=dict(record.config),
        partition_id=partition if isinstance(partition, int) else None,
        enrolled_at=at_utc(record.enrolled_s),
        enrolled_by=record.enrolled_by,
        revoked_at=_at(record.revoked_s),
        revoked_by=record.revoked_by,
        last_seen_at=_at(record.last_seen_s),
        flip_lab=facts.get("flip_lab"),
        flower=facts.get("flower"),
        clock_skew_s=facts.get("clock_skew_s"),
    )


def _at(time_s: float | None) -> datetime | None:
    return None if time_s is None else at_utc(time_s)
