"""The tables of deliveries, and the rows that say what is in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    RowMapping,
    Table,
    Text,
    func,
    select,
)

from flip_lab.hub.database_columns import key, later, number, row_id, text, time
from flip_lab.hub.database_schema import METADATA
from flip_lab.node.serving.manifest import SignedManifest

DeliveryState: TypeAlias = Literal["pending", "installed", "withdrawn", "refused"]
"""What a node made of a delivery; ``pending`` until it says."""

EVERYBODY = ""
"""A wish about all nodes, in the column ``meant``."""

deliveries = Table(
    "deliveries",
    METADATA,
    row_id(),
    text("action"),
    text("model"),
    number("version"),
    text("stage"),
    text("sha256", index=True),
    time("delivered_s"),
    text("delivered_by"),
    Column("manifest", LargeBinary, nullable=False),  # the bytes that were signed
    Column("signature", LargeBinary, nullable=False),
    Column("meant", Text),  # a choice of nodes, also later ones; null: those it names
    Column("wish", Integer, ForeignKey("deliveries.id")),  # the one it carries out
)

delivery_nodes = Table(
    "delivery_nodes",
    METADATA,
    Column("delivery", Integer, ForeignKey("deliveries.id"), primary_key=True),
    key("fingerprint"),
    text("node"),
    text("state"),
    text("why"),
    later("told_s"),  # when the node said so
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """What one node made of one delivery.

    Attributes:
        delivery: Its number.
        action: ``"install"`` or ``"withdraw"``.
        model: The model.
        version: The version.
        stage: The stage that it was delivered for.
        sha256: Hash of the file.
        delivered_s: When, seconds since the Unix epoch.
        delivered_by: Who did that.
        node: The node's name.
        state: What it made of it.
        why: Why it refused it; else empty.
        told_s: When it said so; ``None`` while it is pending.
    """

    delivery: int
    action: str
    model: str
    version: int
    stage: str
    sha256: str
    delivered_s: float
    delivered_by: str
    node: str
    state: DeliveryState
    why: str
    told_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What was said about a version, and about whom.

    Attributes:
        number: Of the delivery.
        action: ``"install"`` or ``"withdraw"``.
        model: The model.
        version: The version.
        stage: The stage that it was delivered for.
        meant: A wish about the nodes that a choice fits, now and later; empty: about all;
            ``None``: about those alone that it was delivered to.
        wish: Number of the earlier delivery that this one repeats for a later node.
    """

    number: int
    action: str
    model: str
    version: int
    stage: str
    meant: str | None
    wish: int | None

    @property
    def rank(self) -> int:
        """When it was said: of two words about a version the later one counts."""
        return self.number if self.wish is None else self.wish


WORD_COLUMNS = (
    deliveries.c.id.label("number"),
    deliveries.c.action,
    deliveries.c.model,
    deliveries.c.version,
    deliveries.c.stage,
    deliveries.c.meant,
    deliveries.c.wish,
)
"""What a ``Word`` is made of."""

ROW_COLUMNS = (
    deliveries.c.id.label("delivery"),
    deliveries.c.action,
    deliveries.c.model,
    deliveries.c.version,
    deliveries.c.stage,
    deliveries.c.sha256,
    deliveries.c.delivered_s,
    deliveries.c.delivered_by,
    delivery_nodes.c.node,
    delivery_nodes.c.state,
    delivery_nodes.c.why,
    delivery_nodes.c.told_s,
)
"""What a ``DeliveryRow`` is made of."""


def word_of(row: RowMapping) -> Word:
    """Give a row of ``WORD_COLUMNS``."""
    return Word(**{name: row[name] for name in Word.__slots__})


def delivery_row(row: RowMapping) -> DeliveryRow:
    """Give a row of ``ROW_COLUMNS``."""
    told: dict[str, Any] = {name: row[name] for name in DeliveryRow.__slots__}
    return DeliveryRow(**told)


def last_number(connection: Connection) -> int:
    """Give the number of the last delivery; 0 if there was none."""
    return int(connection.execute(select(func.max(deliveries.c.id))).scalar() or 0)


def own_words(connection: Connection) -> Mapping[str, Sequence[Word]]:
    """Give what was delivered to each node, by fingerprint."""
    wanted = select(*WORD_COLUMNS, delivery_nodes.c.fingerprint).join(
        delivery_nodes, delivery_nodes.c.delivery == deliveries.c.id
    )
    found: defaultdict[str, list[Word]] = defaultdict(list)
    for row in connection.execute(wanted).mappings():
        found[row["fingerprint"]].append(word_of(row))
    return found


def signed_manifest(connection: Connection, number: int) -> SignedManifest:
    """Give a delivery as it was signed; it must be there."""
    wanted = select(deliveries.c.manifest, deliveries.c.signature)
    row = connection.execute(wanted.where(deliveries.c.id == number)).one()
    return SignedManifest(content=row.manifest, signature=row.signature)
