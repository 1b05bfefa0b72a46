"""Requests signed by a node's key: what was asked, by whom, when, and only once.

A signature covers the method, the path with its query, the SHA-256 of the body, the time
and a nonce (ECDSA on P-384 with SHA-384, FIPS 186-5). A hub takes a signature for a minute
before and after its own clock's time, and each nonce once, so what is recorded on the way
cannot be sent again. Nodes sign, hubs check; both sides are here so that they agree.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import ClockSkewError, EnrolmentError, NotAuthenticatedError

WINDOW_S = 60.0
"""How far the clocks of a node and its hub may be apart."""

_KEY, _TIME, _NONCE, _SIGNATURE = (
    "x-flip-key",
    "x-flip-time",
    "x-flip-nonce",
    "x-flip-signature",
)
_NONCE_BYTES = 16
_LONGEST_NONCE = 64
_LAST_S = 2.0**35  # the year 3058
_ALGORITHM = ec.ECDSA(hashes.SHA384())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is signed.

    Attributes:
        method: Such as ``"POST"``.
        target: The path as it is sent, with its query.
        body: All of it; empty when there is none.
    """

    method: str
    target: str
    body: bytes = b""

    def text(self, time: str, nonce: str) -> bytes:
        """Give the bytes that are signed."""
        digest = hashlib.sha256(self.body).hexdigest()
        parts = ["flip-lab/1", self.method.upper(), self.target, digest, time, nonce]
        return "\n".join(parts).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the headers of a signed request say; nothing of it is believed yet.

    Attributes:
        fingerprint: Of the key that signed it.
        time: When it was signed, seconds since the Unix epoch, as text.
        nonce: Is used once.
        signature: DER, as base64.
    """

    fingerprint: str
    time: str
    nonce: str
    signature: str

    @staticmethod
    def of(headers: Mapping[str, str]) -> Proof:
        """Read it off headers, whose names are in lower case.

        Raises:
            NotAuthenticatedError: If one is missing.
        """
        found = [headers.get(name, "") for name in (_KEY, _TIME, _NONCE, _SIGNATURE)]
        if not all(found) or len(found[2]) > _LONGEST_NONCE:
            raise NotAuthenticatedError(
                "This request is not signed by a node's key.",
                fix=f"Send {_KEY}, {_TIME}, {_NONCE} and {_SIGNATURE}; flip-lab node does.",
            )
        key, time, nonce, signature = found
        return Proof(fingerprint=key, time=time, nonce=nonce, signature=signature)


class Nonces:
    """Remembers what was signed within the window, so that it counts once.

    Threads may share it. What is older than the window is refused by its time, so it
    need not be remembered.

    Args:
        window_s: How long.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        """Remember nothing yet."""
        self._window_s = window_s
        self._seen: dict[tuple[str, str], float] = {}
        self._turn = threading.Lock()
        self._sweep_s = 0.0

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, fingerprint: str, nonce: str) -> bool:
        """Say whether a key never used this nonce within the window, and remember it."""
        now = now_s()
        with self._turn:
            if now >= self._sweep_s:  # a clock that goes back only sweeps later
                self._seen = {each: end for each, end in self._seen.items() if end > now}
                self._sweep_s = now + self._window_s
            if (fingerprint, nonce) in self._seen:
                return False
            # It may have been signed a window ahead of us, and be good for one after.
            self._seen[fingerprint, nonce] = now + 2 * self._window_s
            return True


def signed_headers(key: ec.EllipticCurvePrivateKey, request: Request) -> dict[str, str]:
    """Sign a request.

    Args:
        key: The node's private key.
        request: What is asked.

    Returns:
        The headers to send with it.
    """
    time, nonce = f"{now_s():.3f}", secrets.token_urlsafe(_NONCE_BYTES)
    signature = key.sign(request.text(time, nonce), _ALGORITHM)
    return {
        _KEY: fingerprint_of(key.public_key()),
        _TIME: time,
        _NONCE: nonce,
        _SIGNATURE: base64.b64encode(signature).decode(),
    }


def verify(proof: Proof, public_key: str, request: Request, nonces: Nonces) -> float:
    """See that a node signed this request, just now, and for the first time.

    Args:
        proof: What its headers say.
        public_key: Of the node with that fingerprint, PEM.
        request: What was asked.
        nonces: What this hub has seen before.

    Returns:
        How many seconds the node's clock is ahead of ours; the way here counts, too.

    Raises:
        ClockSkewError: If the clocks differ by more than the window.
        NotAuthenticatedError: If somebody else signed it, or it was sent before.
    """
    ahead_s = ahead_s_of(proof)
    signed = request.text(proof.time, proof.nonce)
    try:
        signature = base64.b64decode(proof.signature, validate=True)
        load_public_key(public_key).verify(signature, signed, _ALGORITHM)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise NotAuthenticatedError(
            f"The signature of {request.method} {request.target} does not fit the key "
            f"{proof.fingerprint:.16}….",
            fix="Check that nothing between node and hub changes paths or bodies, and that "
            "node.key is the one the node enrolled with.",
        ) from error
    _see_that_clocks_agree(proof, ahead_s)
    if not nonces.is_new(proof.fingerprint, proof.nonce):
        raise NotAuthenticatedError(
            f"{request.method} {request.target} came a second time.",
            fix="Sign each request anew; if the node did, somebody replays what it sends.",
        )
    return ahead_s


def ahead_s_of(proof: Proof) -> float:
    """Say how many seconds a node's clock is ahead of ours; the way here counts, too.

    Raises:
        NotAuthenticatedError: If what the node sent is no time.
    """
    try:
        time_s = float(proof.time)
    except ValueError:
        time_s = math.nan
    if not 0 <= time_s < _LAST_S:
        raise NotAuthenticatedError(
            f"{_TIME} is {proof.time!r:.60}, no time.",
            fix="Send seconds since the Unix epoch.",
        )
    return time_s - now_s()


def _see_that_clocks_agree(proof: Proof, ahead_s: float) -> None:
    if abs(ahead_s) <= WINDOW_S:
        return
    word = "ahead of" if ahead_s > 0 else "behind"
    theirs, ours = at_utc(float(proof.time)), at_utc(now_s())
    raise ClockSkewError(
        f"The node's clock ({theirs:%Y-%m-%d %H:%M:%S} UTC) is {abs(ahead_s):.0f} s {word} "
        f"the hub's ({ours:%Y-%m-%d %H:%M:%S} UTC).",
        fix=f"Set the clock that is wrong, best by NTP: {WINDOW_S:.0f} s are let through.",
    )


def load_public_key(pem: str) -> ec.EllipticCurvePublicKey:
    """Read a public key.

    Args:
        pem: SubjectPublicKeyInfo of an elliptic-curve key on P-384.

    Raises:
        EnrolmentError: If it is something else.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
        why = f"it is a {type(key).__name__}"
    except (ValueError, UnsupportedAlgorithm) as error:
        key, why = None, str(error)
    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP384R1):
            return key
        why = f"its curve is {key.curve.name}"
    raise EnrolmentError(
        f"This is no public key of a node ({why}).",
        fix="Let flip-lab node enroll make one: elliptic-curve, P-384, PEM.",
    )


def fingerprint_of(key: ec.EllipticCurvePublicKey) -> str:
    """Give the SHA-256 of a public key's DER form, 64 hexadecimal digits."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def pem_of(key: ec.EllipticCurvePublicKey) -> str:
    """Write a public key as hubs keep it: SubjectPublicKeyInfo, PEM."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")
