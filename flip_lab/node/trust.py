"""Whom a node trusts: the authority of its hub, and nobody else."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from flip_lab.core.errors import EnrolmentError, HubStateError

AUTHORITY_FILE = "ca.crt"
DIGITS = 32
"""Hexadecimal digits of an authority's SHA-256 that an enrolment token carries."""


def load_authorities(pem: bytes) -> list[x509.Certificate]:
    """Read all certificates of a PEM file, at least one.

    Raises:
        HubStateError: If there are none, or one is damaged.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise HubStateError(
            f"These are no certificates ({error}).",
            fix="Restore ca.crt and server.crt from a backup or a copy.",
        ) from error


def bundle_hash(pem: bytes) -> str:
    """Name what a file of authorities holds; nodes ask for it anew when it differs.

    Args:
        pem: The file.

    Raises:
        HubStateError: If it cannot be read.
    """
    prints = sorted(fingerprint_of(each) for each in load_authorities(pem))
    return hashlib.sha256("\n".join(prints).encode()).hexdigest()


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Give the SHA-256 of a certificate, 64 hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def authority_in(pem: bytes, fingerprint: str) -> bytes:
    """Pick the one authority that an enrolment token names, out of what a hub shows.

    Whatever else is there came over a line that nobody has vouched for yet.

    Args:
        pem: What the hub showed.
        fingerprint: The beginning of the SHA-256 of its certificate.

    Returns:
        Its certificate, PEM.

    Raises:
        EnrolmentError: If it is not there.
    """
    try:
        shown = load_authorities(pem)
    except HubStateError:
        shown = []
    for certificate in shown:
        if fingerprint_of(certificate).startswith(fingerprint):
            return certificate.public_bytes(serialization.Encoding.PEM)
    prints = ", ".join(fingerprint_of(each)[:DIGITS] for each in shown) or "none"
    raise EnrolmentError(
        f"What answers is not the hub that made this token: the token names the authority "
        f"{fingerprint}, shown was {prints}.",
        fix="Check --hub. If the address is right, somebody between you and the hub poses "
        "as it; or the hub has a new authority: ask for a new token.",
    )


def context_for(authorities: Path) -> ssl.SSLContext:
    """Give what a TLS connection to the hub is made with: 1.2 or newer, names checked.

    Args:
        authorities: A PEM file.

    Raises:
        HubStateError: If it cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(authorities))
    except (OSError, ssl.SSLError) as error:
        raise HubStateError(
            f"{authorities} cannot be read as certificates ({error}).",
            fix="Restore the file from the kit, or enrol again.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
