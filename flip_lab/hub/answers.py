"""What the hub answers to those who look after it: on its machine and from afar alike."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

NodeScalars = dict[str, bool | int | float | str]


class TokenRow(BaseModel):
    """What the hub knows of a token.

    Attributes:
        id: Its public part.
        role: What it may do.
        person: Whose it is.
        state: Whether it still opens anything.
        created_at: When it was made.
        created_by: Who made it.
        expires_at: When it ends; null: never.
        last_used_at: When it was used last, to the minute; null: never.
    """

    id: str
    role: Literal["viewer", "researcher", "admin"]
    person: str
    state: Literal["good", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenMade(TokenRow):
    """A new token.

    Attributes:
        token: The token itself, which nobody can show again.
    """

    token: str


class Tokens(BaseModel):
    """Tokens, the newest last.

    Attributes:
        items: The tokens.
    """

    items: list[TokenRow]


class NodeRow(BaseModel):
    """What the hub knows of a node.

    Attributes:
        name: What people call it; one enrolled node has it.
        node_id: Flower's id of it, as text: it has 64 bits.
        public_key_fingerprint: SHA-256 of its public key.
        status: Whether it is let in.
        is_online: Whether it is connected now; null where only the running hub knows.
        tags: What cohorts choose by.
        config: What Flower calls its node configuration.
        partition_id: The same in that; null if there is none.
        enrolled_at: When.
        enrolled_by: Who made the token that it enrolled with.
        revoked_at: When it was turned away; null for an enrolled one.
        revoked_by: Who did that.
        last_seen_at: When it last reported.
        flip_lab: Its version of FLIP Lab, as it last said; null before its first report.
        flower: Its version of Flower.
        clock_skew_s: How far its clock was ahead of the hub's when it last reported.
    """

    name: str
    node_id: str | None
    public_key_fingerprint: str
    status: Literal["enrolled", "revoked"]
    is_online: bool | None
    tags: list[str]
    config: NodeScalars
    partition_id: int | None
    enrolled_at: datetime
    enrolled_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    last_seen_at: datetime | None
    flip_lab: str | None
    flower: str | None
    clock_skew_s: float | None


class Nodes(BaseModel):
    """Nodes, by name.

    Attributes:
        items: The nodes.
    """

    items: list[NodeRow]


class EnrolmentRow(BaseModel):
    """What the hub knows of an enrolment token.

    Attributes:
        id: Its public part.
        name: What the node will be called.
        tags: What it will be tagged with.
        config: What Flower calls its node configuration.
        state: Whether a device can still enrol with it.
        created_at: When it was made.
        created_by: Who made it.
        expires_at: When it ends.
        used_at: When a device enrolled with it; null if none did.
    """

    id: str
    name: str
    tags: list[str]
    config: NodeScalars
    state: Literal["open", "used", "expired", "withdrawn"]
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None


class EnrolmentMade(EnrolmentRow):
    """A new enrolment, with all that a kit is made of.

    Attributes:
        token: The token itself, which nobody can show again.
        address: `host:port` that the device shall reach the hub by.
        authorities: Whom the device shall trust, PEM.
        signing_key: What it checks delivered models with, PEM.
    """

    token: str
    address: str
    authorities: str
    signing_key: str


class Enrolments(BaseModel):
    """Enrolments, the newest last.

    Attributes:
        items: The enrolments.
    """

    items: list[EnrolmentRow]
