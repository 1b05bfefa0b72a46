"""The key with which a hub signs what it delivers."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from flip_lab.core.errors import HubStateError
from flip_lab.hub.place import HubPlace


def load_signing_key(place: HubPlace) -> Ed25519PrivateKey:
    """Read a hub's ``signing.key``.

    Raises:
        HubStateError: If it is not there, or no such key.
    """
    path = place.signing_key
    fix = "Restore it from a backup of the hub: its nodes trust no other key."
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HubStateError(f"{path} cannot be read ({error}).", fix=fix) from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise HubStateError(
        f"{path} holds a {type(key).__name__}, no key for signing deliveries.", fix=fix
    )
