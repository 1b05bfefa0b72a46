"""One-time tokens with which a device becomes a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, insert, select, update

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import EnrolmentError, NoSuchPlaceError, nearest
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_nodes import add_node, enrolled_names
from flip_lab.hub.database_schema import enrolments, nodes
from flip_lab.hub.secret import Secret, is_secret, new_secret
from flip_lab.node.config import NodeScalar
from flip_lab.store.audit_writer import acting_as, author

EnrolmentState: TypeAlias = Literal["open", "used", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRecord:
    """What the hub knows of one enrolment token.

    Attributes:
        id: Its public part.
        name: What the node will be called.
        tags: What the node will be tagged with.
        config: What Flower calls its node configuration.
        created_s: When it was made, seconds since the Unix epoch.
        created_by: Who made it.
        expires_s: When it ends.
        used_s: When a device enrolled with it; ``None`` if none did.
        withdrawn_s: When it was withdrawn; ``None`` if it was not.
    """

    id: str
    name: str
    tags: tuple[str, ...]
    config: Mapping[str, NodeScalar]
    created_s: float
    created_by: str
    expires_s: float
    used_s: float | None
    withdrawn_s: float | None

    @property
    def state(self) -> EnrolmentState:
        """Whether a device can still enrol with it."""
        if self.used_s is not None:
            return "used"
        if self.withdrawn_s is not None:
            return "withdrawn"
        return "expired" if self.expires_s <= now_s() else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Who wants to become a node.

    Attributes:
        public_key: PEM.
        fingerprint: SHA-256 of its DER form, 64 hexadecimal digits.
        node_id: What Flower will call it.
    """

    public_key: str
    fingerprint: str
    node_id: int


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
            return [_record(row) for row in rows]

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
        told = {each: getattr(record, each) for each in _KEPT}
        with self._connections.writing() as connection:
            _see_that_none_is_open(connection, name, replace=replace)
            connection.execute(insert(enrolments).values(secret_hash=secret.hash, **told))
            self._log("enrolment_create", {"enrolment": secret.id, "node": name})
        return record, secret

    def withdraw(self, enrolment_id: str) -> EnrolmentRecord:
        """Let no device enrol with a token any more.

        Raises:
            NoSuchPlaceError: If no open enrolment has that id.
        """
        with self._connections.writing() as connection:
            open_ones = {each.id: each for each in _open(connection)}
            if enrolment_id not in open_ones:
                raise NoSuchPlaceError(
                    f"No open enrolment has the id {enrolment_id!r}.",
                    fix=nearest(enrolment_id, open_ones),
                )
            _withdraw(connection, enrolment_id)
            self._log("enrolment_withdraw", {"enrolment": enrolment_id})
            return _of_id(connection, enrolment_id)

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
            found = _shown(connection, enrolment_id, secret)
            if _is_done(connection, found, device):  # its answer may have got lost
                return found
            _see_that_it_is_open(found)
            _see_that_the_key_is_new(connection, device.fingerprint)
            _see_that_the_name_is_free(connection, found.name)
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


def _shown(connection: Connection, enrolment_id: str, secret: str) -> EnrolmentRecord:
    """Give the enrolment whose secret a device knows.

    Raises:
        EnrolmentError: If there is none.
    """
    wanted = select(enrolments).where(enrolments.c.id == enrolment_id)
    row = connection.execute(wanted).one_or_none()
    # An unknown id takes as long as a wrong secret, and is told in the same words.
    if not is_secret(secret, row.secret_hash if row else "-") or row is None:
        raise EnrolmentError(
            f"The hub knows no enrolment token {enrolment_id!r} with this secret.",
            fix="Copy the token whole; flip-lab hub enrol-token makes a new one.",
        )
    return _record(row)


def _is_done(connection: Connection, found: EnrolmentRecord, device: Device) -> bool:
    """Say whether this very device has enrolled with this very token."""
    mine = (nodes.c.fingerprint == device.fingerprint) & (nodes.c.status == "enrolled")
    owner = connection.execute(select(nodes.c.name).where(mine)).scalar()
    return found.state == "used" and owner == found.name


def _see_that_it_is_open(record: EnrolmentRecord) -> None:
    if record.state != "open":
        since_s = record.used_s or record.withdrawn_s or record.expires_s
        raise EnrolmentError(
            f"The enrolment token of {record.name!r} was {record.state} at "
            f"{at_utc(since_s):%Y-%m-%d %H:%M:%S} UTC.",
            fix="Ask for a new one (flip-lab hub enrol-token). If you did not use it "
            "yourself, let the hub's admin revoke the node.",
        )


def _see_that_the_key_is_new(connection: Connection, fingerprint: str) -> None:
    wanted = select(nodes.c.name).where(nodes.c.fingerprint == fingerprint)
    if (owner := connection.execute(wanted).scalar()) is not None:
        raise EnrolmentError(
            f"This key belongs to the node {owner!r} already.",
            fix="Let flip-lab node enroll make a new key: do not copy one.",
        )


def _see_that_none_is_open(connection: Connection, name: str, *, replace: bool) -> None:
    _see_that_the_name_is_free(connection, name)
    for other in _open(connection):
        if other.name != name:
            continue
        if not replace:
            raise EnrolmentError(
                f"There is an open enrolment for {name!r} already ({other.id}, until "
                f"{at_utc(other.expires_s):%Y-%m-%d %H:%M} UTC).",
                fix="Use that token, or withdraw it with --replace.",
            )
        _withdraw(connection, other.id)


def _see_that_the_name_is_free(connection: Connection, name: str) -> None:
    if name in enrolled_names(connection):
        raise EnrolmentError(
            f"A node called {name!r} is enrolled already.",
            fix="Choose another name, or revoke the old one: flip-lab hub node revoke "
            f"{name}",
        )


def _open(connection: Connection) -> list[EnrolmentRecord]:
    rows = connection.execute(select(enrolments))
    return [each for row in rows if (each := _record(row)).state == "open"]


def _of_id(connection: Connection, enrolment_id: str) -> EnrolmentRecord:
    wanted = select(enrolments).where(enrolments.c.id == enrolment_id)
    return _record(connection.execute(wanted).one())


def _withdraw(connection: Connection, enrolment_id: str) -> None:
    mine = update(enrolments).where(enrolments.c.id == enrolment_id)
    connection.execute(mine.values(withdrawn_s=now_s()))


_KEPT = tuple(EnrolmentRecord.__slots__)


def _record(row: Row[Any]) -> EnrolmentRecord:
    told: dict[str, Any] = {name: getattr(row, name) for name in _KEPT}
    told["tags"] = tuple(told["tags"])
    return EnrolmentRecord(**told)
