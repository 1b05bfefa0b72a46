"""One-time tokens with which a device becomes a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import insert, select, update

from flip_lab.core.clock import now_s
from flip_lab.core.errors import NoSuchPlaceError, nearest
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_enrolment_rules import (
    KEPT,
    Device,
    EnrolmentRecord,
    enrolment_of,
    enrolment_record,
    free_name,
    is_done,
    open_enrolments,
    see_that_it_is_open,
    see_that_the_key_is_new,
    see_that_the_name_is_free,
    shown_enrolment,
    withdraw_enrolment,
)
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_nodes import add_node
from flip_lab.hub.database_schema import enrolments
from flip_lab.hub.secret import Secret, new_secret
from flip_lab.node.config import NodeScalar
from flip_lab.store.audit_writer import acting_as, author


class Enrolments:
    """The table of enrolment tokens.

    Args:
        connections: The database.
        log: Where what people do is written down.
    """

    def __init__(self, connections: Connections, log: Log) -> None:
        """Read nothing yet."""
        self._connections = connections
        self._log = log

    def list(self) -> list[EnrolmentRecord]:
        """Give every enrolment, the newest last."""
        with self._connections.reading() as connection:
            rows = connection.execute(select(enrolments).order_by(enrolments.c.created_s))
            return [enrolment_record(row) for row in rows]

    def create(
        self,
        name: str,
        *,
        tags: Sequence[str] = (),
        config: Mapping[str, NodeScalar] | None = None,
        expires_s: float,
        replace: bool = False,
    ) -> tuple[EnrolmentRecord, Secret]:
        """Make an enrolment for a name that no node has yet.

        Args:
            name: What the node will be called.
            tags: What it will be tagged with.
            config: What Flower calls its node configuration.
            expires_s: When it ends, seconds since the Unix epoch.
            replace: Whether to withdraw one that is still open for that name.

        Returns:
            What is kept of it, and the secret, which nobody can show again.

        Raises:
            EnrolmentError: If a node or another open enrolment has the name.
        """
        secret = new_secret()
        record = EnrolmentRecord(
            id=secret.id,
            name=name,
            tags=tuple(sorted(set(tags))),
            config=dict(config or {}),
            created_s=now_s(),
            created_by=author(),
            expires_s=expires_s,
            used_s=None,
            withdrawn_s=None,
        )
        told = {each: getattr(record, each) for each in KEPT}
        with self._connections.writing() as connection:
            free_name(connection, name, replace=replace)
            connection.execute(insert(enrolments).values(secret_hash=secret.hash, **told))
            self._log("enrolment_create", {"enrolment": secret.id, "node": name})
        return record, secret

    def withdraw(self, enrolment_id: str) -> EnrolmentRecord:
        """Let no device enrol with a token any more.

        Raises:
            NoSuchPlaceError: If no open enrolment has that id.
        """
        with self._connections.writing() as connection:
            open_ones = {each.id: each for each in open_enrolments(connection)}
            if enrolment_id not in open_ones:
                raise NoSuchPlaceError(
                    f"No open enrolment has the id {enrolment_id!r}.",
                    fix=nearest(enrolment_id, open_ones),
                )
            withdraw_enrolment(connection, enrolment_id)
            self._log("enrolment_withdraw", {"enrolment": enrolment_id})
            return enrolment_of(connection, enrolment_id)

    def redeem(self, enrolment_id: str, secret: str, device: Device) -> EnrolmentRecord:
        """Turn a token into a node: both happen, or neither.

        Args:
            enrolment_id: The token's public part.
            secret: Its secret part.
            device: Who shows it.

        Returns:
            What the token said of the node.

        Raises:
            EnrolmentError: If the token is wrong, used, expired or withdrawn, or the key
                or the name belongs to a node.
        """
        with self._connections.writing() as connection:
            found = shown_enrolment(connection, enrolment_id, secret)
            if is_done(connection, found, device):  # its answer may have got lost
                return found
            see_that_it_is_open(found)
            see_that_the_key_is_new(connection, device.fingerprint)
            see_that_the_name_is_free(connection, found.name)
            now = now_s()
            node = {
                "name": found.name,
                "fingerprint": device.fingerprint,
                "public_key": device.public_key,
                "node_id": str(device.node_id),
                "tags": list(found.tags),
                "config": dict(found.config),
                "enrolled_s": now,
                "enrolled_by": found.created_by,
            }
            add_node(connection, node)
            mine = update(enrolments).where(enrolments.c.id == enrolment_id)
            connection.execute(mine.values(used_s=now))
            told = {"node": found.name, "fingerprint": device.fingerprint}
            told |= {"enrolment": found.id}
            with acting_as(f"node {found.name}"):
                self._log("node_enrol", told)
        return found
