"""Which node sends a request."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from flip_lab.core.errors import ClockSkewError, NodeRevokedError, NotAuthenticatedError
from flip_lab.hub.database_nodes import NodeRecord, NodeStatus
from flip_lab.hub.node_keys import NodeKeys
from flip_lab.node.signing import fingerprint_of
from flip_lab.testing.hub_probe import Signer

ORDER = 39402006196394479212279040100143613805079739270465446667946905279627659399113263569398956308152294913554433653942643  # noqa: E501  # of P-384


def record_of(signer: Signer, *, status: NodeStatus = "enrolled") -> NodeRecord:
    """Give what a database knows of a node."""
    return NodeRecord(
        name="clinic",
        fingerprint=fingerprint_of(signer.key.public_key()),
        public_key=signer.pem.decode(),
        node_id=signer.node_id,
        status=status,
        tags=(),
        config={},
        enrolled_s=0.0,
        enrolled_by="root",
        revoked_s=None,
        revoked_by=None,
        last_seen_s=None,
        facts={},
    )


@pytest.fixture
def signer() -> Signer:
    """Give a node's new key."""
    return Signer()


@pytest.fixture
def keys(signer: Signer) -> NodeKeys:
    """Know one node."""
    keys = NodeKeys()
    keys.replace([record_of(signer)])
    return keys


def test_a_signed_request_tells_its_node_once(keys: NodeKeys, signer: Signer) -> None:
    """The same headers a second time are somebody else's."""
    headers = signer.headers(200)
    node, ahead_s = keys.check(headers)
    assert (node.name, node.node_id) == ("clinic", signer.node_id)
    assert ahead_s == pytest.approx(200, abs=20)
    with pytest.raises(NotAuthenticatedError, match="second time"):
        keys.check(headers)
    keys.replace([record_of(signer)])
    with pytest.raises(NotAuthenticatedError, match="second time"):
        keys.check(headers)


def test_a_turned_signature_is_the_same_one(keys: NodeKeys, signer: Signer) -> None:
    """(r, -s) fits as well as (r, s), and is refused as a repetition."""
    headers = signer.headers()
    keys.check(headers)
    r, s = decode_dss_signature(b64decode(headers["flwr-signature"]))
    turned = encode_dss_signature(r, ORDER - s)
    with pytest.raises(NotAuthenticatedError, match="second time"):
        keys.check(headers | {"flwr-signature": b64encode(turned).decode()})


@pytest.mark.parametrize(("ahead_s", "word"), [(-600.0, "behind"), (310.0, "ahead of")])
def test_a_wrong_clock_is_named_with_ours(
    keys: NodeKeys, signer: Signer, ahead_s: float, word: str
) -> None:
    """Both clocks are in the text."""
    with pytest.raises(ClockSkewError, match=rf"clinic.*UTC\) is \d+ s {word} the hub's"):
        keys.check(signer.headers(ahead_s))


def test_unknown_and_revoked_keys_are_told_apart(keys: NodeKeys, signer: Signer) -> None:
    """Both get a word that says what to do."""
    with pytest.raises(NodeRevokedError, match="does not know"):
        keys.check(Signer().headers())
    keys.replace([record_of(signer, status="revoked")])
    assert not keys.is_known(signer.headers())
    with pytest.raises(NodeRevokedError, match="'clinic' was revoked"):
        keys.check(signer.headers())


@pytest.mark.parametrize(
    "change",
    [
        {"flwr-signature": "AAAA"},
        {"flwr-signature": "no base64"},
        {"flwr-signature": "x" * 5000},
        {"flwr-timestamp": "2026-11-22T13:00:00"},
        {"flwr-timestamp": "yesterday"},
        {"flwr-timestamp": "é"},
        {"flwr-timestamp": ""},
    ],
)
def test_what_is_no_signature_is_refused(
    keys: NodeKeys, signer: Signer, change: dict[str, str]
) -> None:
    """Whatever is sent, the answer is the same kind of error."""
    with pytest.raises(NotAuthenticatedError):
        keys.check(signer.headers() | change)
