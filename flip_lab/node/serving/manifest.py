"""What a hub says of a model that it delivers, and its signature under it.

The hub signs the bytes that travel, with a key of its own for this (Ed25519): what a node
keeps can be checked at any time, also while the hub is away.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from flip_lab.core.errors import DeliveryError

FORMAT = 1
"""What a manifest of this version of FLIP Lab says of its format."""

Action: TypeAlias = Literal["install", "withdraw"]
"""Whether a model comes, or goes."""

_SHA256_DIGITS = 64
_DIGITS = frozenset("0123456789abcdef")
_LARGEST_BYTES = 2**20
_KINDS: Mapping[str, type] = {
    "delivery": int,
    "name": str,
    "version": int,
    "stage": str,
    "sha256": str,
    "size_bytes": int,
    "time_s": float,
    "delivered_by": str,
    "scenario": str,
    "lineage": dict,
    "input_schema": dict,
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One delivery: what a node shall keep or put away.

    Attributes:
        delivery: Its number at the hub; later ones are higher.
        action: ``"install"``, or ``"withdraw"``.
        name: The model.
        version: The version, a number of the researcher's registry.
        stage: ``"production"`` answers predictions as soon as it is there; any other waits
            until the site or the hub says so.
        sha256: Hash of the file, 64 hexadecimal digits.
        size_bytes: Length of the file.
        time_s: When it was delivered, seconds since the Unix epoch.
        delivered_by: Who did that.
        scenario: The scenario that the model was trained in, as JSON: names and numbers.
        lineage: Where the model comes from: run, round, metrics, fingerprint.
        input_schema: What it takes and gives, see ``InputSchema``.
    """

    delivery: int
    action: Action
    name: str
    version: int
    stage: str
    sha256: str
    size_bytes: int
    time_s: float
    delivered_by: str
    scenario: str
    lineage: Mapping[str, Any]
    input_schema: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, kw_only=True)
class SignedManifest:
    """A manifest as it travels and is kept.

    Attributes:
        content: The bytes that were signed.
        signature: Ed25519, 64 bytes.
    """

    content: bytes
    signature: bytes

    def plain(self) -> dict[str, str]:
        """Give it fit for JSON."""
        return {
            "manifest": self.content.decode(),
            "signature": b64encode(self.signature).decode(),
        }

    @classmethod
    def read(cls, told: object) -> SignedManifest:
        """Read what ``plain`` gave; a ``DeliveryError`` if it is no such thing."""
        try:
            values = cast("Mapping[str, str]", told)
            content = values["manifest"].encode()
            signature = b64decode(values["signature"], validate=True)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(repr(error)) from error
        if len(content) > _LARGEST_BYTES:
            raise _unreadable(f"{len(content):,} bytes")
        return cls(content=content, signature=signature)


def sign_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> SignedManifest:
    """Write a manifest down and sign it.

    Args:
        manifest: What to say.
        key: The hub's.
    """
    told = {"format": FORMAT, **asdict(manifest)}
    content = json.dumps(told, sort_keys=True, allow_nan=False).encode()
    return SignedManifest(content=content, signature=key.sign(content))


def verified_manifest(signed: SignedManifest, key: Ed25519PublicKey) -> Manifest:
    """Read a manifest, if it is the hub's.

    Args:
        signed: What came.
        key: The public key of the hub that the node enrolled at.

    Raises:
        DeliveryError: If somebody else signed it, or it cannot be read.
    """
    try:
        key.verify(signed.signature, signed.content)
    except InvalidSignature:
        raise DeliveryError(
            "A delivery does not bear the signature of this node's hub.",
            fix="Deliver it again. If that does not help, the hub has another key than "
            "when this node enrolled: enroll it again.",
        ) from None
    return _read(signed.content)


def file_sha256(path: Path) -> str:
    """Hash a file as a manifest does, without reading all of it into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(content: bytes) -> Manifest:
    """Read what the hub signed; its own mistakes are found here, too."""
    try:
        told: dict[str, Any] = json.loads(content)
        if (found := told.pop("format")) != FORMAT:
            raise _unreadable(f"format {found!r:.20}; this version reads {FORMAT}")
        is_fit = all(type(told[name]) is kind for name, kind in _KINDS.items())
        manifest = Manifest(**told)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(repr(error)) from error
    is_hash = len(manifest.sha256) == _SHA256_DIGITS and set(manifest.sha256) <= _DIGITS
    if not (is_fit and is_hash and manifest.action in get_args(Action)):
        raise _unreadable("a value is of another kind than it should be")
    return manifest


def _unreadable(why: str) -> DeliveryError:
    return DeliveryError(
        f"A delivery cannot be read: {why:.200}.",
        fix="Install the same version of FLIP Lab at the hub and at the node.",
    )
