"""Certificates and keys of a loopback federation, made anew each time and never kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flip_lab.core.clock import at_utc, now_s

_LIFETIME = timedelta(days=1)
_SLACK = timedelta(minutes=5)  # for clocks that disagree a little


@dataclass(frozen=True, kw_only=True)
class ServerFiles:
    """What a TLS server needs.

    Attributes:
        certificate: PEM file, signed by ``ca.crt`` beside it.
        key: PEM file of its private key.
    """

    certificate: Path
    key: Path


def write_server_certificates(directory: Path, *, host: str) -> ServerFiles:
    """Write ``ca.crt``, ``server.pem`` and ``server.key``.

    Args:
        directory: Where to; must exist.
        host: IP address that the certificate names, beside ``localhost``.
    """
    ca_key, server_key = _new_key(), _new_key()
    ca_name = _name("FLIP Lab loopback authority")
    authority = x509.BasicConstraints(ca=True, path_length=0)
    ca = _builder(ca_name, ca_name, ca_key).add_extension(authority, critical=True)
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ip_address(host)), x509.DNSName("localhost")]
    )
    server = _builder(_name("localhost"), ca_name, server_key).add_extension(
        names, critical=False
    )
    files = ServerFiles(certificate=directory / "server.pem", key=directory / "server.key")
    (directory / "ca.crt").write_bytes(_signed(ca, ca_key))
    files.certificate.write_bytes(_signed(server, ca_key))
    _write_private(files.key, server_key, serialization.PrivateFormat.PKCS8)
    return files


def write_node_key(path: Path) -> bytes:
    """Write a node's private key, P-384 as OpenSSH writes it.

    Returns:
        The public key, PEM, to register with the SuperLink.
    """
    key = _new_key()
    _write_private(path, key, serialization.PrivateFormat.OpenSSH)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = at_utc(now_s())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + _LIFETIME)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def _write_private(
    path: Path, key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat
) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
