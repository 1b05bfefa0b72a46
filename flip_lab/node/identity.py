"""A node's key: made on the device, kept there, and never sent."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flip_lab.core.errors import HubStateError
from flip_lab.node.signing import Request, fingerprint_of, pem_of, signed_headers

KEY_FILE = "node.key"
CURVE = ec.SECP384R1()
"""What Flower's nodes sign with; a stock SuperNode can use the same file."""


@dataclass(frozen=True, kw_only=True)
class NodeIdentity:
    """Who a node is.

    Attributes:
        key: Its private key.
    """

    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"NodeIdentity({self.fingerprint:.16}…)"

    @property
    def public_key(self) -> str:
        """What a hub knows it by: PEM."""
        return pem_of(self.key.public_key())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, 64 hexadecimal digits."""
        return fingerprint_of(self.key.public_key())

    def headers(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        """Sign a request.

        Args:
            method: Such as ``"POST"``.
            target: The path as it is sent, with its query.
            body: All of it.

        Returns:
            The headers to send with it.
        """
        return signed_headers(self.key, Request(method=method, target=target, body=body))


def new_identity() -> NodeIdentity:
    """Make a key."""
    return NodeIdentity(key=ec.generate_private_key(CURVE))


def write_identity(directory: Path, identity: NodeIdentity) -> None:
    """Write ``node.key``, as OpenSSH writes keys; only its owner can read it.

    Raises:
        FileExistsError: If there is one.
    """
    content = identity.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    path = directory / KEY_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_identity(directory: Path) -> NodeIdentity:
    """Read the key of a node's directory.

    Raises:
        HubStateError: If there is none, others may read it, or it is damaged.
    """
    path = directory / KEY_FILE
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise HubStateError(
                f"Others than its owner may read {path}.",
                fix=f"Close it: chmod 600 {path}. If others could really get at it, let "
                "the hub revoke this node, and enrol again.",
            )
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise HubStateError(
            f"{path} cannot be read ({error.strerror or error}).",
            fix="Name the directory of an enrolled node, or enrol: flip-lab node enroll.",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HubStateError(
            f"{path} is no private key ({error}).",
            fix="Restore it from a copy; or let the hub revoke this node, and enrol again.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != CURVE.name:
        raise HubStateError(
            f"{path} holds another kind of key than a node has.",
            fix="Restore it from a copy; or let the hub revoke this node, and enrol again.",
        )
    return NodeIdentity(key=key)
