"""The nodes that a hub lets in, and those that it no longer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from flip_lab.core.clock import now_s
from flip_lab.core.errors import NoSuchPlaceError, nearest
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_schema import counters, nodes
from flip_lab.node.config import NodeScalar
from flip_lab.store.audit_writer import author

NodeStatus: TypeAlias = Literal["enrolled", "revoked"]

_CHANGES = "node-changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """What the hub knows of one node.

    Attributes:
        name: What people call it; one enrolled node has it.
        fingerprint: SHA-256 of its public key, 64 hexadecimal digits.
        public_key: The key itself, PEM.
        node_id: Flower's id of it, the same at every hub.
        status: Whether it is let in.
        tags: What cohorts choose by, sorted.
        config: What Flower calls its node configuration: ``partition-id`` and so on.
        enrolled_s: When, seconds since the Unix epoch.
        enrolled_by: Who made the token that it enrolled with.
        revoked_s: When it was turned away; ``None`` for an enrolled one.
        revoked_by: Who did that.
        last_seen_s: When it last reported.
        facts: What it last said of itself, such as ``flip_lab`` and ``clock_skew_s``.
    """

    name: str
    fingerprint: str
    public_key: str
    node_id: int
    status: NodeStatus
    tags: tuple[str, ...]
    config: Mapping[str, NodeScalar]
    enrolled_s: float
    enrolled_by: str
    revoked_s: float | None
    revoked_by: str | None
    last_seen_s: float | None
    facts: Mapping[str, Any]


class Nodes:
    """The table of nodes.

    Args:
        connections: The database.
        log: Where what people do is written down.
    """

    def __init__(self, connections: Connections, log: Log) -> None:
        """Read nothing yet."""
        self._connections = connections
        self._log = log

    def list(self, *, with_revoked: bool = True) -> list[NodeRecord]:
        """Give every node, by name; revoked ones after the enrolled one of their name."""
        wanted = select(nodes).order_by(nodes.c.name, nodes.c.status, nodes.c.id.desc())
        if not with_revoked:
            wanted = wanted.where(nodes.c.status == "enrolled")
        with self._connections.reading() as connection:
            return [_record(row) for row in connection.execute(wanted)]

    def named(self, name: str) -> NodeRecord:
        """Give the enrolled node of a name.

        Raises:
            NoSuchPlaceError: If there is none.
        """
        with self._connections.reading() as connection:
            return _enrolled(connection, name)

    def of_key(self, fingerprint: str) -> NodeRecord | None:
        """Give the node that has a key, enrolled or revoked; ``None``: nobody knows it."""
        wanted = select(nodes).where(nodes.c.fingerprint == fingerprint)
        with self._connections.reading() as connection:
            row = connection.execute(wanted).one_or_none()
            return None if row is None else _record(row)

    def tag(
        self, name: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> NodeRecord:
        """Give a node tags, and take some away.

        Args:
            name: An enrolled node.
            add: Tags, see ``flip_lab.hub.names.checked_tag``.
            remove: Tags that it need not have.

        Returns:
            The node as it is now.

        Raises:
            NoSuchPlaceError: If no enrolled node has that name.
        """
        with self._connections.writing() as connection:
            before = _enrolled(connection, name)
            tags = sorted({*before.tags, *add} - set(remove))
            changed = update(nodes).where(nodes.c.fingerprint == before.fingerprint)
            connection.execute(changed.values(tags=tags))
            count_change(connection)  # what is wished for such nodes is now for this one
            self._log("node_tag", {"node": name, "tags": tags})
        return self.named(name)

    def revoke(self, name: str) -> NodeRecord:
        """Let a node in no more; its name is free again.

        Returns:
            The node as it is now.

        Raises:
            NoSuchPlaceError: If no enrolled node has that name.
        """
        with self._connections.writing() as connection:
            found = _enrolled(connection, name)
            mine = nodes.c.fingerprint == found.fingerprint
            change = {"status": "revoked", "revoked_s": now_s(), "revoked_by": author()}
            connection.execute(update(nodes).where(mine).values(change))
            count_change(connection)
            self._log("node_revoke", {"node": name, "fingerprint": found.fingerprint})
            return _record(connection.execute(select(nodes).where(mine)).one())

    def seen(self, fingerprint: str, facts: Mapping[str, Any]) -> None:
        """Keep that a node reported, and what it said of itself.

        Args:
            fingerprint: Of its key.
            facts: Fit for JSON; in place of what it said before.
        """
        mine = update(nodes).where(nodes.c.fingerprint == fingerprint)
        with self._connections.writing() as connection:
            connection.execute(mine.values(last_seen_s=now_s(), facts=dict(facts)))

    def note_seen(self, seen: Mapping[str, float]) -> None:
        """Keep when nodes showed a sign of life.

        Args:
            seen: Seconds since the Unix epoch, by fingerprint.
        """
        with self._connections.writing() as connection:
            for fingerprint, time_s in seen.items():
                mine = update(nodes).where(nodes.c.fingerprint == fingerprint)
                connection.execute(mine.values(last_seen_s=time_s))

    def changes(self) -> int:
        """Count who came, went or was tagged: the active hub acts when it grows."""
        wanted = select(counters.c.value).where(counters.c.name == _CHANGES)
        with self._connections.reading() as connection:
            return int(connection.execute(wanted).scalar() or 0)


def add_node(connection: Connection, node: Mapping[str, Any]) -> None:
    """Add an enrolled node, as part of whatever else happens at the same time.

    Raises:
        IntegrityError: If its name or its key is taken.
    """
    connection.execute(insert(nodes).values(status="enrolled", facts={}, **node))
    count_change(connection)


def enrolled_names(connection: Connection) -> list[str]:
    """Give the names that are taken."""
    wanted = select(nodes.c.name).where(nodes.c.status == "enrolled")
    return [str(name) for name in connection.execute(wanted).scalars()]


def count_change(connection: Connection) -> None:
    """Let the active hub notice that other nodes may come in now."""
    first = insert_or(counters).values(name=_CHANGES, value=1)
    more = {"value": counters.c.value + 1}
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=more))


def _enrolled(connection: Connection, name: str) -> NodeRecord:
    here = (nodes.c.name == name) & (nodes.c.status == "enrolled")
    row = connection.execute(select(nodes).where(here)).one_or_none()
    if row is None:
        raise NoSuchPlaceError(
            f"No enrolled node is called {name!r}.",
            fix=nearest(name, enrolled_names(connection)),
        )
    return _record(row)


def _record(row: Row[Any]) -> NodeRecord:
    return NodeRecord(
        name=row.name,
        fingerprint=row.fingerprint,
        public_key=row.public_key,
        node_id=int(row.node_id),
        status=row.status,
        tags=tuple(row.tags),
        config=row.config,
        enrolled_s=row.enrolled_s,
        enrolled_by=row.enrolled_by,
        revoked_s=row.revoked_s,
        revoked_by=row.revoked_by,
        last_seen_s=row.last_seen_s,
        facts=row.facts,
    )
