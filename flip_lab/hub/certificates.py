"""Certificates and keys of a hub, as files hold them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flip_lab.core.errors import HubStateError


def permitted_hosts(authority: x509.Certificate) -> list[str]:
    """Give the hosts that an authority may speak for."""
    extension = authority.extensions.get_extension_for_class(x509.NameConstraints)
    hosts: list[str] = []
    for name in extension.value.permitted_subtrees or ():
        value = name.value
        if isinstance(value, IPv4Network | IPv6Network):
            hosts.append(str(value.network_address))
        else:
            hosts.append(str(value))
    return hosts


def served_hosts(certificate: x509.Certificate) -> list[str]:
    """Give the hosts that a server's certificate names."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in names.value]


def expires_at(certificate: x509.Certificate) -> datetime:
    """Say when a certificate ends, UTC."""
    return certificate.not_valid_after_utc.astimezone(UTC)


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key.

    Raises:
        HubStateError: If it is damaged, or of another kind.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise HubStateError(
            f"A private key of the hub cannot be read ({error}).",
            fix="Restore ca.key and server.key from a backup: flip-lab hub restore.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise HubStateError(
            f"A private key of the hub is a {type(key).__name__}.",
            fix="Restore ca.key and server.key from a backup: flip-lab hub restore.",
        )
    return key


def pem_of(certificates: Iterable[x509.Certificate]) -> bytes:
    """Write certificates, one after the other."""
    encoding = serialization.Encoding.PEM
    return b"".join(each.public_bytes(encoding) for each in certificates)


def pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def is_address(host: str) -> bool:
    """Say whether a host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
