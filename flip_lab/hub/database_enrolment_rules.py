"""What must be so before a device may enrol, and the rows that say it.

Each function is a part of a transaction: what it finds stays so until that ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, select, update

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import EnrolmentError
from flip_lab.hub.database_nodes import enrolled_names
from flip_lab.hub.database_schema import enrolments, nodes
from flip_lab.hub.secret import is_secret
from flip_lab.node.config import NodeScalar

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


def shown_enrolment(
    connection: Connection, enrolment_id: str, secret: str
) -> EnrolmentRecord:
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
    return enrolment_record(row)


def is_done(connection: Connection, found: EnrolmentRecord, device: Device) -> bool:
    """Say whether this very device has enrolled with this very token."""
    mine = (nodes.c.fingerprint == device.fingerprint) & (nodes.c.status == "enrolled")
    owner = connection.execute(select(nodes.c.name).where(mine)).scalar()
    return found.state == "used" and owner == found.name


def see_that_it_is_open(record: EnrolmentRecord) -> None:
    """See that a device can still enrol with a token.

    Raises:
        EnrolmentError: If it is used, expired or withdrawn.
    """
    if record.state != "open":
        since_s = record.used_s or record.withdrawn_s or record.expires_s
        raise EnrolmentError(
            f"The enrolment token of {record.name!r} was {record.state} at "
            f"{at_utc(since_s):%Y-%m-%d %H:%M:%S} UTC.",
            fix="Ask for a new one (flip-lab hub enrol-token). If you did not use it "
            "yourself, let the hub's admin revoke the node.",
        )


def see_that_the_key_is_new(connection: Connection, fingerprint: str) -> None:
    """See that no node has, or had, a key.

    Raises:
        EnrolmentError: If one has it.
    """
    wanted = select(nodes.c.name).where(nodes.c.fingerprint == fingerprint)
    if (owner := connection.execute(wanted).scalar()) is not None:
        raise EnrolmentError(
            f"This key belongs to the node {owner!r} already.",
            fix="Let flip-lab node enroll make a new key: do not copy one.",
        )


def free_name(connection: Connection, name: str, *, replace: bool) -> None:
    """See that a name is free, or free it of an open enrolment.

    Args:
        connection: The transaction.
        name: What a node will be called.
        replace: Whether to withdraw an open enrolment for it.

    Raises:
        EnrolmentError: If a node has the name, or another enrolment that is to stay.
    """
    see_that_the_name_is_free(connection, name)
    for other in open_enrolments(connection):
        if other.name != name:
            continue
        if not replace:
            raise EnrolmentError(
                f"There is an open enrolment for {name!r} already ({other.id}, until "
                f"{at_utc(other.expires_s):%Y-%m-%d %H:%M} UTC).",
                fix="Use that token, or withdraw it with --replace.",
            )
        withdraw_enrolment(connection, other.id)


def see_that_the_name_is_free(connection: Connection, name: str) -> None:
    """See that no enrolled node has a name.

    Raises:
        EnrolmentError: If one has it.
    """
    if name in enrolled_names(connection):
        raise EnrolmentError(
            f"A node called {name!r} is enrolled already.",
            fix="Choose another name, or revoke the old one: flip-lab hub node revoke "
            f"{name}",
        )


def open_enrolments(connection: Connection) -> list[EnrolmentRecord]:
    """Give the enrolments that a device can still use."""
    rows = connection.execute(select(enrolments))
    return [each for row in rows if (each := enrolment_record(row)).state == "open"]


def enrolment_of(connection: Connection, enrolment_id: str) -> EnrolmentRecord:
    """Give the enrolment of an id; it must be there."""
    wanted = select(enrolments).where(enrolments.c.id == enrolment_id)
    return enrolment_record(connection.execute(wanted).one())


def withdraw_enrolment(connection: Connection, enrolment_id: str) -> None:
    """Let no device enrol with a token any more."""
    mine = update(enrolments).where(enrolments.c.id == enrolment_id)
    connection.execute(mine.values(withdrawn_s=now_s()))


KEPT = tuple(EnrolmentRecord.__slots__)
"""Columns of an enrolment that are known to more than the database."""


def enrolment_record(row: Row[Any]) -> EnrolmentRecord:
    """Give a row as what the hub knows of an enrolment."""
    told: dict[str, Any] = {name: getattr(row, name) for name in KEPT}
    told["tags"] = tuple(told["tags"])
    return EnrolmentRecord(**told)
