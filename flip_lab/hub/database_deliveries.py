"""Models that were delivered: what was signed, for which nodes, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import Connection, insert, select, update

from flip_lab.core.clock import now_s
from flip_lab.core.errors import NoSuchPlaceError
from flip_lab.hub.database_core import Connections
from flip_lab.hub.database_delivery_tables import (
    ROW_COLUMNS,
    WORD_COLUMNS,
    DeliveryRow,
    Word,
    deliveries,
    delivery_nodes,
    delivery_row,
    last_number,
    own_words,
    signed_manifest,
    word_of,
)
from flip_lab.hub.database_log import Log
from flip_lab.node.serving.manifest import Manifest, SignedManifest
from flip_lab.store.audit_writer import acting_as

Signing: TypeAlias = Callable[[int], tuple[Manifest, SignedManifest]]
"""Gives the signed manifest of a delivery that has this number."""

Owing: TypeAlias = Callable[
    [Sequence[Word], Mapping[str, Sequence[Word]]], Mapping[int, Mapping[str, str]]
]
"""Says which wishes are owed to which nodes, of all wishes and of what each node was told:
names by fingerprint, by the number of the wish."""

Again: TypeAlias = Callable[[SignedManifest, int], tuple[Manifest, SignedManifest]]
"""Gives the signed manifest of an earlier delivery anew, under another number."""


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

    def add(
        self, sign: Signing, nodes: Mapping[str, str], *, meant: str | None = None
    ) -> Manifest:
        """Deliver something.

        Numbers grow with the time, so that a hub that was restored from a backup does not
        give again what nodes have seen.

        Args:
            sign: Writes the manifest, once its number is known.
            nodes: Names of the nodes that it is for, by fingerprint.
            meant: What chose them, if it is a wish about later nodes, too; see ``Word``.

        Returns:
            The manifest.
        """
        with self._connections.writing() as connection:
            return self._add(connection, sign, nodes, meant=meant)

    def carry_out(self, owing: Owing, again: Again) -> int:
        """Deliver to nodes what was wished for them before they were there.

        Args:
            owing: Finds out what that is.
            again: Signs it anew, for a node takes nothing older than the last delivery.

        Returns:
            How many deliveries that made.
        """
        with self._connections.writing() as connection:
            wishes = select(*WORD_COLUMNS).where(deliveries.c.meant.is_not(None))
            rows = connection.execute(wishes.order_by(deliveries.c.id)).mappings()
            owed = owing([word_of(row) for row in rows], own_words(connection))
            for number in sorted(owed):
                earlier = signed_manifest(connection, number)
                sign = partial(again, earlier)
                self._add(connection, sign, owed[number], wish=number)
        return len(owed)

    def last(self) -> int:
        """Give the number of the last delivery; 0 if there was none."""
        with self._connections.reading() as connection:
            return last_number(connection)

    def _add(
        self,
        connection: Connection,
        sign: Signing,
        nodes: Mapping[str, str],
        *,
        meant: str | None = None,
        wish: int | None = None,
    ) -> Manifest:
        manifest, signed = sign(max(last_number(connection) + 1, int(now_s())))
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
            "meant": meant,
            "wish": wish,
        }
        connection.execute(insert(deliveries).values(row))
        told = {"delivery": manifest.delivery, "state": "pending", "why": ""}
        rows = [{**told, "fingerprint": f, "node": n} for f, n in nodes.items()]
        connection.execute(insert(delivery_nodes), rows)
        body = _body(manifest, sorted(nodes.values()))
        with acting_as(manifest.delivered_by):
            self._log(_action(manifest), body if wish is None else {**body, "wish": wish})
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
            select(*ROW_COLUMNS)
            .join(delivery_nodes)
            .order_by(deliveries.c.id.desc(), delivery_nodes.c.node)
        )
        if model is not None:
            wanted = wanted.where(deliveries.c.model == model)
        if delivery is not None:
            wanted = wanted.where(deliveries.c.id == delivery)
        with self._connections.reading() as connection:
            return [delivery_row(row) for row in connection.execute(wanted).mappings()]

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
