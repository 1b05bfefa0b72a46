"""A hub's own authority, which signs the certificate that the hub shows.

Nodes trust this one authority and no other. It may only speak for the hub's own names
(name constraints, RFC 5280 section 4.2.1.10), so its key, were it stolen, would open
nothing else. While one authority follows another the new one also carries the old one's
signature: a node that knows either of them trusts the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import HubStateError
from flip_lab.hub.certificates import is_address, permitted_hosts

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""What browsers and auditors call the longest life of a server's certificate, roughly."""

_SLACK = timedelta(minutes=10)  # for clocks that disagree a little
_HERE = ("localhost", "127.0.0.1", "::1")
_ORGANISATION = "FLIP Lab"


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Who signs a hub's certificates.

    Attributes:
        certificate: What nodes trust.
        key: Its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @staticmethod
    def new(hub: str, hosts: Sequence[str]) -> Authority:
        """Make one that may speak for these hosts alone.

        Args:
            hub: The hub's name.
            hosts: DNS names and IP addresses; this machine's own are added.
        """
        key = ec.generate_private_key(ec.SECP384R1())
        subject = _name(f"{hub} authority {at_utc(now_s()):%Y-%m-%d %H:%M:%S}")
        certificate = _certified(subject, hosts, key.public_key(), subject, key)
        return Authority(certificate=certificate, key=key)

    def vouched_for_by(self, older: Authority) -> x509.Certificate:
        """Give this authority's key and names under an older one's signature."""
        mine = self.certificate
        return _certified(
            mine.subject,
            permitted_hosts(mine),
            self.key.public_key(),
            older.certificate.subject,
            older.key,
        )

    def see_that_it_may_name(self, hosts: Sequence[str]) -> None:
        """Refuse hosts that this authority may not speak for.

        Raises:
            HubStateError: If there is one.
        """
        permitted = permitted_hosts(self.certificate)
        if unknown := [host for host in _with_here(hosts) if host not in permitted]:
            raise HubStateError(
                f"The hub's authority may not speak for {', '.join(unknown)}.",
                fix="Make a new authority that may: flip-lab hub rotate-certs --ca "
                + " ".join(f"--host {host}" for host in unknown),
            )

    def server(
        self, hosts: Sequence[str], *, days: int = SERVER_DAYS
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Make a server's certificate, and its key.

        Args:
            hosts: DNS names and IP addresses; this machine's own are added.
            days: How long it is good for.

        Raises:
            HubStateError: If this authority may not speak for one of them.
        """
        self.see_that_it_may_name(hosts)
        key = ec.generate_private_key(ec.SECP256R1())
        # No common name: OpenSSL would hold one that reads as a host against the names.
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION)])
        names = x509.SubjectAlternativeName(_general(_with_here(hosts)))
        builder = _builder(
            subject, key.public_key(), self.certificate.subject, self.key, days
        )
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(_basic(None), critical=True)
        builder = builder.add_extension(_usage(is_authority=False), critical=True)
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(purpose, critical=False)
        return builder.sign(self.key, hashes.SHA384()), key


def _certified(
    subject: x509.Name,
    hosts: Sequence[str],
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Let an authority's key be signed, by itself or by an older one."""
    permitted = x509.NameConstraints(_permitted(_with_here(hosts)), None)
    builder = _builder(subject, key, issuer, signer, AUTHORITY_DAYS)
    builder = builder.add_extension(_basic(1), critical=True)  # 1: the next authority
    builder = builder.add_extension(_usage(is_authority=True), critical=True)
    builder = builder.add_extension(permitted, critical=True)
    return builder.sign(signer, hashes.SHA384())


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.CertificateBuilder:
    now = at_utc(now_s())
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(by, critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _basic(path_length: int | None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=path_length is not None, path_length=path_length)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _with_here(hosts: Iterable[str]) -> list[str]:
    """Add this machine's own names: what runs beside the hub can reach it by them."""
    return list(dict.fromkeys([*hosts, *_HERE]))


def _general(hosts: Iterable[str]) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ip_address(host)) if is_address(host) else x509.DNSName(host)
        for host in hosts
    ]


def _permitted(hosts: Iterable[str]) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ip_network(host)) if is_address(host) else x509.DNSName(host)
        for host in hosts
    ]
