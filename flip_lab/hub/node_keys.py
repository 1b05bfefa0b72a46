"""Which node sends a request: Flower's signed headers, checked before a body is read."""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import ClockSkewError, NodeRevokedError, NotAuthenticatedError
from flip_lab.engines.flower.superlink_state import node_id_of
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.replay import Once
from flip_lab.node.signing import load_public_key

WINDOW_S = 300.0
"""How far a node's clock may be from the hub's: what Flower's nodes expect."""

_KEY, _TIME, _SIGNATURE = "flwr-public-key", "flwr-timestamp", "flwr-signature"
_LONGEST = 1024
_ALGORITHM = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, kw_only=True)
class KnownNode:
    """A node whose key the hub knows.

    Attributes:
        name: What people call it.
        fingerprint: SHA-256 of its key.
        node_id: Flower's id.
        public_key: PEM, as Flower sends it.
        key: The same, to check signatures with.
        is_enrolled: Whether it is let in; else it was revoked.
        once: What it signed lately.
    """

    name: str
    fingerprint: str
    node_id: int
    public_key: bytes
    key: ec.EllipticCurvePublicKey
    is_enrolled: bool
    once: Once = field(default_factory=lambda: Once(WINDOW_S))


class NodeKeys:
    """The keys that the hub knows; used by the event loop alone, but for ``replace``."""

    def __init__(self) -> None:
        """Know none."""
        self._nodes: Mapping[bytes, KnownNode] = {}
        self._by_id: Mapping[int, KnownNode] = {}
        self._let_in_now: frozenset[str] = frozenset()

    def replace(self, records: Iterable[NodeRecord]) -> list[KnownNode]:
        """Know these from now on; what they signed lately stays remembered.

        Args:
            records: Every node of the database, revoked ones, too.

        Returns:
            All of them.
        """
        nodes = {node.public_key: node for node in map(self._known, records)}
        self._nodes = nodes
        self._by_id = {node.node_id: node for node in nodes.values()}
        self._let_in_now = frozenset(
            node.fingerprint for node in nodes.values() if node.is_enrolled
        )
        return list(nodes.values())

    def of_id(self, node_id: int) -> KnownNode | None:
        """Give the node with an id of Flower's."""
        return self._by_id.get(node_id)

    def lets_in(self, fingerprint: str) -> bool:
        """Say whether a node that is let in has a key with this fingerprint."""
        return fingerprint in self._let_in_now

    def is_known(self, headers: Mapping[str, str]) -> bool:
        """Say whether a request claims to be from a node that is let in."""
        node = self._nodes.get(_decoded(headers.get(_KEY, "")))
        return node is not None and node.is_enrolled

    def check(self, headers: Mapping[str, str]) -> tuple[KnownNode, float]:
        """Find out which node sent a request.

        Args:
            headers: Its headers, names in lower case.

        Returns:
            The node, and how many seconds its clock is ahead of ours; the request's way
            here counts, too.

        Raises:
            NotAuthenticatedError: If it is not signed, not by that key, or not new.
            NodeRevokedError: If the key is unknown, or no longer let in.
            ClockSkewError: If the clocks differ by more than the window.
        """
        told = [headers.get(name, "") for name in (_KEY, _TIME, _SIGNATURE)]
        if not all(told) or any(len(each) > _LONGEST for each in told):
            raise NotAuthenticatedError(
                "This request is not signed by a node's key.",
                fix="Start the node with its key: flip-lab node, or flower-supernode "
                "--auth-supernode-private-key.",
            )
        node = self._let_in(_decoded(told[0]))
        number = _number_of(node, told[1], _decoded(told[2]))
        time_s, now = _time_s(told[1]), now_s()
        _see_that_clocks_agree(node, time_s, now)
        if not node.once.is_new(time_s, number, now_s=now):
            raise NotAuthenticatedError(
                f"A request of node {node.name!r} came a second time.",
                fix="Sign each request anew; if the node did, somebody replays it.",
            )
        return node, time_s - now

    def _known(self, record: NodeRecord) -> KnownNode:
        key = load_public_key(record.public_key)
        public_key = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        before = self._nodes.get(public_key)
        return KnownNode(
            name=record.name,
            fingerprint=record.fingerprint,
            node_id=node_id_of(public_key),
            public_key=public_key,
            key=key,
            is_enrolled=record.status == "enrolled",
            once=before.once if before else Once(WINDOW_S),
        )

    def _let_in(self, public_key: bytes) -> KnownNode:
        node = self._nodes.get(public_key)
        if node is None:
            raise NodeRevokedError(
                "The hub does not know this node's key.",
                fix="Enrol it: flip-lab node enroll, with a token of the hub's admin.",
            )
        if not node.is_enrolled:
            raise NodeRevokedError(
                f"Node {node.name!r} was revoked: the hub no longer lets its key in.",
                fix="Ask the hub's admin why; a new token enrols it with a new key.",
            )
        return node


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _number_of(node: KnownNode, signed: str, signature: bytes) -> int:
    """Check a signature; give its number r."""
    try:
        node.key.verify(signature, signed.encode("ascii"), _ALGORITHM)
        return decode_dss_signature(signature)[0]
    except (InvalidSignature, ValueError):
        raise NotAuthenticatedError(
            f"The signature does not fit the key of node {node.name!r}.",
            fix="Check that node.key is the one the node enrolled with.",
        ) from None


def _time_s(text: str) -> float:
    try:
        told = datetime.fromisoformat(text)
        time_s = told.timestamp() if told.tzinfo else math.nan
    except (ValueError, OverflowError):
        time_s = math.nan
    if math.isnan(time_s):
        raise NotAuthenticatedError(
            f"{_TIME} is {text!r:.60}, no time.",
            fix="Send the time in ISO 8601, with its zone.",
        )
    return time_s


def _see_that_clocks_agree(node: KnownNode, time_s: float, now: float) -> None:
    ahead_s = time_s - now
    if abs(ahead_s) <= WINDOW_S:
        return
    word = "ahead of" if ahead_s > 0 else "behind"
    raise ClockSkewError(
        f"The clock of node {node.name!r} ({at_utc(time_s):%Y-%m-%d %H:%M:%S} UTC) is "
        f"{abs(ahead_s):.0f} s {word} the hub's ({at_utc(now):%Y-%m-%d %H:%M:%S} UTC).",
        fix=f"Set the clock that is wrong, best by NTP: {WINDOW_S:.0f} s are let through.",
    )
