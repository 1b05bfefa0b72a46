"""Deliveries by tags or to all are wishes: they also count for nodes that come later.

A node that enrols, or is tagged, gets what was wished for nodes such as it, until that is
withdrawn. It gets it as a delivery of its own: nodes take nothing that is older than the
last one they dealt with, so that nobody can bring an old model back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from flip_lab.core.clock import now_s
from flip_lab.core.cohort import NodeChoice, NodeFacts
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_delivery_tables import EVERYBODY, Word
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.parcel import node_facts
from flip_lab.hub.place import HubPlace
from flip_lab.hub.signing_key import load_signing_key
from flip_lab.node.serving.manifest import (
    Manifest,
    SignedManifest,
    sign_manifest,
    verified_manifest,
)
from flip_lab.node.serving.shelf import KEPT_VERSIONS

_Version: TypeAlias = tuple[str, int]


def carry_out_wishes(place: HubPlace, database: HubDatabase) -> int:
    """Deliver to enrolled nodes what they came to be meant by; a second time does nothing.

    Args:
        place: The hub, whose key signs.
        database: Its database.

    Returns:
        How many deliveries that made.

    Raises:
        HubStateError: If the key or the database cannot be used.
        DeliveryError: If a delivery of the database is not the hub's.
        StoreNotWritableError: If it cannot be written.
    """
    nodes = database.nodes.list(with_revoked=False)
    return database.deliveries.carry_out(partial(_owing, nodes), partial(_again, place))


def owed(node: NodeFacts, wishes: Sequence[Word], own: Sequence[Word]) -> list[Word]:
    """Say which wishes a node has yet to get.

    Of all that was said about a version and this node the last word counts, whether it is
    a wish or was for this node alone. An older version takes the place of none that came
    for production after it, and no more are sent than a node keeps.

    Args:
        node: The node.
        wishes: All of them, the oldest first.
        own: What was delivered to it, in any order.

    Returns:
        The wishes, the oldest first.
    """
    had: dict[_Version, Word] = {}
    for word in sorted(own, key=lambda word: word.rank):
        had[word.model, word.version] = word
    last = {(word.model, word.version): word for word in wishes if _fits(word, node)}
    news = [
        word
        for version, word in last.items()
        if version not in had or had[version].rank < word.number
    ]
    goes = [
        word
        for word in news
        if word.action == "withdraw" and _is_there(had.get((word.model, word.version)))
    ]
    gone = {(word.model, word.version) for word in goes}
    there = [word for version, word in had.items() if version not in gone]
    comes = [word for word in news if word.action == "install" and _is_live(word, there)]
    return sorted([*goes, *_kept(comes)], key=lambda word: word.number)


def _fits(word: Word, node: NodeFacts) -> bool:
    if word.meant is None or word.meant == EVERYBODY:
        return word.meant == EVERYBODY
    return NodeChoice.parse(word.meant).fits(node)


def _is_there(word: Word | None) -> bool:
    return word is not None and word.action == "install"


def _is_live(word: Word, there: Sequence[Word]) -> bool:
    """Say whether no later version answers at a node already."""
    return not any(
        each.model == word.model
        and each.action == "install"
        and each.stage == "production"
        and each.rank > word.number
        for each in there
    )


def _kept(comes: Sequence[Word]) -> list[Word]:
    """Leave out what a node would put away again."""
    models: defaultdict[str, list[Word]] = defaultdict(list)
    for word in sorted(comes, key=lambda word: word.number):
        models[word.model].append(word)
    kept: list[Word] = []
    for words in models.values():
        live = [word for word in words if word.stage == "production"][-1:]
        beside = [word for word in words if word not in live]
        kept += [*live, *beside[len(live) - KEPT_VERSIONS :]]
    return kept


def _owing(
    nodes: Sequence[NodeRecord],
    wishes: Sequence[Word],
    own: Mapping[str, Sequence[Word]],
) -> Mapping[int, Mapping[str, str]]:
    found: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for node in nodes:
        for word in owed(node_facts(node), wishes, own.get(node.fingerprint, ())):
            found[word.number][node.fingerprint] = node.name
    return found


def _again(
    place: HubPlace, earlier: SignedManifest, number: int
) -> tuple[Manifest, SignedManifest]:
    key = load_signing_key(place)
    before = verified_manifest(earlier, key.public_key())
    manifest = replace(before, delivery=number, time_s=now_s())
    return manifest, sign_manifest(manifest, key)
