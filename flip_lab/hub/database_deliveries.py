"""Models that were delivered: what was signed, for which nodes, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    RowMapping,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from flip_lab.core.clock import now_s
from flip_lab.core.errors import NoSuchPlaceError
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_log import Log
from flip_lab.hub.database_schema import METADATA
from flip_lab.node.serving.manifest import Manifest, SignedManifest

DeliveryState: TypeAlias = Literal["pending", "installed", "withdrawn", "refused"]
"""What a node made of a delivery; ``pending`` until it says."""

deliveries = Table(
    "deliveries",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("action", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
    Column("delivered_s", Float, nullable=False),
    Column("delivered_by", Text, nullable=False),
    Column("manifest", LargeBinary, nullable=False),  # the bytes that were signed
    Column("signature", LargeBinary, nullable=False),
)

delivery_nodes = Table(
    "delivery_nodes",
    METADATA,
    Column("delivery", Integer, ForeignKey("deliveries.id"), primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("told_s", Float),  # when the node said so
)

Signing: TypeAlias = Callable[[int], tuple[Manifest, SignedManifest]]
"""Gives the signed manifest of a delivery that has this number."""


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


class Deliveries:
    """The tables of deliveries.

    Args:
        connections: The database.
        log: Where what people do is written down.
    """

    def __init__(self, connections: Connections, log: Log) -> None:
        """Read nothing yet."""
        self._connections = connections
        self._log = log

    def add(self, sign: Signing, nodes: Mapping[str, str]) -> Manifest:
        """Deliver something.

        Numbers grow with the time, so that a hub that was restored from a backup does not
        give again what nodes have seen.

        Args:
            sign: Writes the manifest, once its number is known.
            nodes: Names of the nodes that it is for, by fingerprint.

        Returns:
            The manifest.
        """
        with self._connections.writing() as connection:
            last = connection.execute(select(func.max(deliveries.c.id))).scalar() or 0
            manifest, signed = sign(max(int(last) + 1, int(now_s())))
            row = {
                "id": manifest.delivery,
                "action": manifest.action,
                "model": manifest.name,
                "version": manifest.version,
                "stage": manifest.stage,
                "sha256": manifest.sha256,
                "delivered_s": manifest.time_s,
                "delivered_by": manifest.delivered_by,
                "manifest": signed.content,
                "signature": signed.signature,
            }
            connection.execute(insert(deliveries).values(row))
            told = {"delivery": manifest.delivery, "state": "pending", "why": ""}
            rows = [{**told, "fingerprint": f, "node": n} for f, n in nodes.items()]
            connection.execute(insert(delivery_nodes), rows)
            self._log(_action(manifest), _body(manifest, sorted(nodes.values())))
        return manifest

    def rows(
        self, *, model: str | None = None, delivery: int | None = None
    ) -> list[DeliveryRow]:
        """Give what nodes made of deliveries, the newest delivery first, by node.

        Args:
            model: Only of this model.
            delivery: Only this one.
        """
        wanted = (
            select(
                deliveries,
                delivery_nodes.c.node,
                delivery_nodes.c.state,
                delivery_nodes.c.why,
                delivery_nodes.c.told_s,
            )
            .join(delivery_nodes)
            .order_by(deliveries.c.id.desc(), delivery_nodes.c.node)
        )
        if model is not None:
            wanted = wanted.where(deliveries.c.model == model)
        if delivery is not None:
            wanted = wanted.where(deliveries.c.id == delivery)
        with self._connections.reading() as connection:
            return [_row(row) for row in connection.execute(wanted).mappings()]

    def of_node(self, fingerprint: str, *, after: int, most: int) -> list[SignedManifest]:
        """Give what is for a node, the oldest first.

        Args:
            fingerprint: Of the node's key.
            after: The last one that it dealt with.
            most: Longest list.
        """
        wanted = (
            select(deliveries.c.manifest, deliveries.c.signature)
            .join(delivery_nodes)
            .where(delivery_nodes.c.fingerprint == fingerprint, deliveries.c.id > after)
            .order_by(deliveries.c.id)
            .limit(most)
        )
        with self._connections.reading() as connection:
            return [
                SignedManifest(content=row.manifest, signature=row.signature)
                for row in connection.execute(wanted)
            ]

    def is_for(self, fingerprint: str, sha256: str) -> bool:
        """Say whether a file was ever delivered to a node."""
        wanted = (
            select(deliveries.c.id)
            .join(delivery_nodes)
            .where(
                delivery_nodes.c.fingerprint == fingerprint, deliveries.c.sha256 == sha256
            )
            .limit(1)
        )
        with self._connections.reading() as connection:
            return connection.execute(wanted).first() is not None

    def tell(self, delivery: int, fingerprint: str, state: str, why: str) -> None:
        """Keep what a node made of a delivery.

        Raises:
            NoSuchPlaceError: If it was not for that node.
        """
        mine = (delivery_nodes.c.delivery == delivery) & (
            delivery_nodes.c.fingerprint == fingerprint
        )
        change = {"state": state, "why": why, "told_s": now_s()}
        with self._connections.writing() as connection:
            found = connection.execute(update(delivery_nodes).where(mine).values(change))
            if not found.rowcount:
                raise NoSuchPlaceError(
                    f"Delivery {delivery} is not for this node.",
                    fix="Ask which ones are: GET /flip/v1/device/deliveries.",
                )

    def installed(self, model: str, version: int) -> dict[str, str]:
        """Give the names of nodes that a version was delivered to, by fingerprint."""
        wanted = (
            select(delivery_nodes.c.fingerprint, delivery_nodes.c.node)
            .join(deliveries)
            .where(
                deliveries.c.model == model,
                deliveries.c.version == version,
                deliveries.c.action == "install",
            )
        )
        with self._connections.reading() as connection:
            return {row.fingerprint: row.node for row in connection.execute(wanted)}


def _action(manifest: Manifest) -> str:
    return "deliver_model" if manifest.action == "install" else "withdraw_model"


def _body(manifest: Manifest, nodes: Sequence[str]) -> dict[str, Any]:
    return {
        "delivery": manifest.delivery,
        "model": manifest.name,
        "version": manifest.version,
        "stage": manifest.stage,
        "sha256": manifest.sha256,
        "nodes": list(nodes),
    }


def _row(row: RowMapping) -> DeliveryRow:
    told = dict[Any, Any](row)
    del told["manifest"], told["signature"]
    return DeliveryRow(delivery=told.pop("id"), **told)
