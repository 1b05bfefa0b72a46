"""Signed requests: what was asked, by whom, when, and only once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core import clock
from flip_lab.core.errors import ClockSkewError, EnrolmentError, NotAuthenticatedError
from flip_lab.node import signing
from flip_lab.node.identity import NodeIdentity, new_identity
from flip_lab.node.signing import Nonces, Proof, Request, load_public_key, verify

ASKED = Request(method="POST", target="/flip/v1/device/report?a=1", body=b"{}")
IDENTITY = new_identity()


def proof_of(asked: Request = ASKED, identity: NodeIdentity = IDENTITY) -> Proof:
    """Give what the headers of a signed request say."""
    return Proof.of(identity.headers(asked.method, asked.target, asked.body))


def at(monkeypatch: pytest.MonkeyPatch, offset_s: float) -> None:
    """Let the signer's or the hub's clock be another from now on."""
    monkeypatch.setattr(signing, "now_s", lambda: clock.now_s() + offset_s)


def test_a_signed_request_is_believed() -> None:
    """What was signed just now is let through, and says how far the clocks are apart."""
    assert abs(verify(proof_of(), IDENTITY.public_key, ASKED, Nonces())) < 60


@given(method=st.sampled_from(["GET", "PUT"]), target=st.text(), body=st.binary())
def test_anything_can_be_signed(method: str, target: str, body: bytes) -> None:
    """Any path and body verify as they were sent, and with another body they do not."""
    asked = Request(method=method, target=target, body=body)
    try:
        proof = proof_of(asked)
    except UnicodeEncodeError:
        return  # half a character is in no path
    verify(proof, IDENTITY.public_key, asked, Nonces())
    with pytest.raises(NotAuthenticatedError):
        verify(proof, IDENTITY.public_key, replace(asked, body=body + b"x"), Nonces())


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, method="GET"),
        replace(ASKED, target="/flip/v1/device/report?a=2"),
        replace(ASKED, body=b"{ }"),
        replace(ASKED, target=ASKED.target + "\n", body=b""),
    ],
)
def test_another_request_is_not_what_was_signed(other: Request) -> None:
    """A signature is good for one method, path, query and body."""
    with pytest.raises(NotAuthenticatedError, match="does not fit"):
        verify(proof_of(), IDENTITY.public_key, other, Nonces())


@pytest.mark.parametrize(
    "changed",
    [
        {"time": "1.0"},
        {"nonce": "another"},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
        {"time": "nan"},
        {"time": "inf"},
        {"time": "-1"},
        {"time": "1e300"},
        {"time": "yesterday"},
    ],
)
def test_what_was_changed_on_the_way_is_refused(changed: dict[str, str]) -> None:
    """Time, nonce and signature belong together, and a time is a time."""
    with pytest.raises(NotAuthenticatedError):
        verify(replace(proof_of(), **changed), IDENTITY.public_key, ASKED, Nonces())


def test_another_key_is_refused() -> None:
    """Whoever signs with another key is not this node."""
    with pytest.raises(NotAuthenticatedError):
        verify(proof_of(identity=new_identity()), IDENTITY.public_key, ASKED, Nonces())


def test_a_recorded_request_counts_once() -> None:
    """The same request is refused the second time; a new one is let through."""
    nonces, proof = Nonces(), proof_of()
    verify(proof, IDENTITY.public_key, ASKED, nonces)
    with pytest.raises(NotAuthenticatedError, match="second time"):
        verify(proof, IDENTITY.public_key, ASKED, nonces)
    verify(proof_of(), IDENTITY.public_key, ASKED, nonces)


@pytest.mark.parametrize("offset_s", [-600.0, 600.0])
def test_a_wrong_clock_is_told_with_both_times(
    monkeypatch: pytest.MonkeyPatch, offset_s: float
) -> None:
    """Ten minutes off is refused, in words that name both clocks."""
    at(monkeypatch, offset_s)
    proof = proof_of()
    monkeypatch.undo()
    with pytest.raises(ClockSkewError) as raised:
        verify(proof, IDENTITY.public_key, ASKED, Nonces())
    assert raised.value.what.count("UTC") == 2
    assert ("ahead of" if offset_s > 0 else "behind") in raised.value.what


def test_nonces_are_forgotten_when_their_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory is bounded by the window, and nothing is forgotten within it."""
    nonces = Nonces(window_s=60)
    for number in range(100):
        assert nonces.is_new("key", str(number))
    at(monkeypatch, 110)
    assert not nonces.is_new("key", "7")
    at(monkeypatch, 400)
    assert nonces.is_new("key", "new")
    assert len(nonces) == 1


@pytest.mark.parametrize("missing", ["key", "time", "nonce", "signature"])
def test_an_unsigned_request_is_nobodys(missing: str) -> None:
    """Each of the four headers must be there."""
    headers = IDENTITY.headers("GET", "/")
    del headers[f"x-flip-{missing}"]
    with pytest.raises(NotAuthenticatedError, match="not signed"):
        Proof.of(headers)


def test_a_long_nonce_is_refused() -> None:
    """What a hub must remember is small."""
    headers = {**IDENTITY.headers("GET", "/"), "x-flip-nonce": "n" * 65}
    with pytest.raises(NotAuthenticatedError):
        Proof.of(headers)


def pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    """Write a public key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ä",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
        pem(rsa.generate_private_key(65537, 2048).public_key()),
    ],
)
def test_only_keys_that_nodes_have_are_keys(text: str) -> None:
    """Another curve, another kind, or no key at all is refused with a code."""
    with pytest.raises(EnrolmentError, match="no public key of a node"):
        load_public_key(text)
