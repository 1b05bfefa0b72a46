"""The hub's public key at a node, and the models that it vouches for."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from flip_lab.core.errors import HubStateError
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.shelf import Shelf


def open_shelf(config: NodeConfig) -> Shelf:
    """Open a node's models.

    Raises:
        HubStateError: If the node does not have its hub's public key.
    """
    return Shelf(config.models, hub_key(config))


def hub_key(config: NodeConfig) -> Ed25519PublicKey:
    """Read the key that the node's hub signs deliveries with.

    Raises:
        HubStateError: If it is not there, or no such key.
    """
    path = config.directory / "hub.pub"
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise HubStateError(
            f"{path} cannot be read ({error}).",
            fix="Enroll the node again: it gets its hub's key then.",
        ) from error
    if isinstance(key, Ed25519PublicKey):
        return key
    raise HubStateError(
        f"{path} is a {type(key).__name__}, no key that a hub signs deliveries with.",
        fix="Enroll the node again: it gets its hub's key then.",
    )
