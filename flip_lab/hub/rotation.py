"""New certificates for a hub, without a moment in which a node trusts nobody.

A new server certificate under the same authority needs nothing from nodes. A new authority
takes three steps: ``begin`` makes it, lets the old one vouch for it, and puts both into
``ca.crt``; nodes fetch that file when they next report; ``finish`` then drops the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from flip_lab.core.clock import at_utc, now_s
from flip_lab.core.errors import HubStateError
from flip_lab.hub.authority import Authority
from flip_lab.hub.certificates import (
    expires_at,
    load_key,
    pem_of,
    pem_of_key,
    permitted_hosts,
    served_hosts,
)
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.names import checked_hosts
from flip_lab.hub.place import HubPlace, read_file, replace_private
from flip_lab.node.trust import bundle_hash, load_authorities
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.layout import LabDir, explained, write_atomic

RENEW_DAYS = 30
"""A server certificate that ends within so many days is renewed when the hub starts."""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """What a hub shows and what nodes trust, now.

    Attributes:
        hosts: What the server's certificate names.
        hosts_to_come: What it names beside these once the older authority, which may not
            speak for them, is gone.
        server_expires_at: When it ends, UTC.
        authority_expires_at: When the newest authority ends, UTC.
        is_changing_over: Whether an older authority is still trusted.
        bundle: Names the content of ``ca.crt``; nodes report which one they have.
        behind: Enrolled nodes that do not trust the newest authority yet.
    """

    hosts: tuple[str, ...]
    hosts_to_come: tuple[str, ...]
    server_expires_at: datetime
    authority_expires_at: datetime
    is_changing_over: bool
    bundle: str
    behind: tuple[str, ...]


def certificates_of(place: HubPlace, database: HubDatabase) -> Certificates:
    """Read a hub's certificates.

    Raises:
        HubStateError: If one cannot be read.
    """
    pem = read_file(place.authorities)
    _, trusted = _signing(place)
    server = load_authorities(read_file(place.server_certificate))[0]
    is_changing_over, bundle = len(trusted) > 1, bundle_hash(pem)
    enrolled = database.nodes.list(with_revoked=False) if is_changing_over else []
    served, wanted = served_hosts(server), place.settings().hosts
    return Certificates(
        hosts=tuple(served),
        hosts_to_come=tuple(host for host in wanted if host not in served),
        server_expires_at=expires_at(server),
        authority_expires_at=expires_at(trusted[0]),
        is_changing_over=is_changing_over,
        bundle=bundle,
        behind=tuple(each.name for each in enrolled if each.facts.get("bundle") != bundle),
    )


def renew(place: HubPlace, *, hosts: Sequence[str] = ()) -> None:
    """Make a new server certificate under the same authority; a hub that is up takes it.

    Args:
        place: The hub.
        hosts: More hosts that it is reached by from now on.

    Raises:
        InvalidValueError: If one is no host.
        HubStateError: If the authority may not speak for one of them.
        StoreNotWritableError: If it cannot be written.
    """
    settings = place.settings()
    known = checked_hosts([*settings.hosts, *hosts])
    _serve(place, known)
    place.write_settings(replace(settings, hosts=known))
    _log(place, "hub_renew", hosts=known)


def renew_if_due(place: HubPlace) -> bool:
    """Renew the server's certificate if it ends soon or is half-made, as a hub starts.

    Returns:
        Whether it was renewed.

    Raises:
        HubStateError: If a certificate or key cannot be read.
        StoreNotWritableError: If it cannot be written.
    """
    server = load_authorities(read_file(place.server_certificate))[0]
    fits = server.public_key() == load_key(read_file(place.server_key)).public_key()
    left = expires_at(server) - at_utc(now_s())
    if fits and left > timedelta(days=RENEW_DAYS):
        return False
    renew(place)
    return True


def begin(place: HubPlace, *, hosts: Sequence[str] = ()) -> None:
    """Make a new authority, which the old one vouches for while nodes change over.

    Args:
        place: The hub.
        hosts: More hosts that the new authority may speak for; the server's certificate
            names them once the old authority, which may not, is gone.

    Raises:
        InvalidValueError: If one is no host.
        HubStateError: If nodes are still changing over from an earlier one.
        StoreNotWritableError: If it cannot be written.
    """
    settings = place.settings()
    known = checked_hosts([*settings.hosts, *hosts])
    signer, before = _signing(place)
    if len(before) > 1:
        raise HubStateError(
            "Nodes are still changing over to the newest authority.",
            fix="Finish that first: flip-lab hub rotate-certs --finish",
        )
    fresh = Authority.new(settings.name, known)
    write_atomic(_vouched_file(place), pem_of([fresh.vouched_for_by(signer)]))
    write_atomic(place.authorities, pem_of([fresh.certificate, *before]))
    # Last: until the key is there the old authority goes on, see _signing.
    replace_private(place.authority_key, pem_of_key(fresh.key))
    _serve(place, known)
    place.write_settings(replace(settings, hosts=known))
    _log(place, "hub_authority_begin", hosts=known)


def finish(place: HubPlace, database: HubDatabase, *, force: bool = False) -> None:
    """Trust the newest authority alone.

    Args:
        place: The hub.
        database: Its database, which knows what nodes have reported.
        force: Whether to leave behind nodes that have not fetched it yet: they must
            enrol anew.

    Raises:
        HubStateError: If there is no older authority, or nodes would be left behind.
        StoreNotWritableError: If it cannot be written.
    """
    now = certificates_of(place, database)
    if not now.is_changing_over:
        raise HubStateError(
            "The hub has one authority only.",
            fix="flip-lab hub rotate-certs --ca makes a new one.",
        )
    if now.behind and not force:
        raise HubStateError(
            f"These nodes trust the old authority only: {', '.join(now.behind)}.",
            fix="Wait until they have reported, revoke them, or leave them behind: --force",
        )
    signer, _ = _signing(place)
    write_atomic(place.authorities, pem_of([signer.certificate]))
    _serve(place, place.settings().hosts)
    with explained(place.path):
        _vouched_file(place).unlink(missing_ok=True)
    _log(place, "hub_authority_finish", left_behind=now.behind)


def signing_authority(place: HubPlace) -> Authority:
    """Give who signs the hub's certificates now.

    Raises:
        HubStateError: If it cannot be read, or its key is another's.
    """
    return _signing(place)[0]


def _serve(place: HubPlace, hosts: Sequence[str]) -> None:
    """Write a server certificate, with what leads from it to every trusted authority."""
    signer, authorities = _signing(place)
    signer.see_that_it_may_name(hosts)  # also those that are left out for now
    chain: list[x509.Certificate] = []
    if len(authorities) > 1:
        chain = load_authorities(read_file(_vouched_file(place)))
        older = permitted_hosts(authorities[1])
        hosts = [host for host in hosts if host in older]
    certificate, key = signer.server(hosts)
    # A hub that starts in between finds that they do not fit, and renews both.
    replace_private(place.server_key, pem_of_key(key))
    write_atomic(place.server_certificate, pem_of([certificate, *chain]))


def _signing(place: HubPlace) -> tuple[Authority, list[x509.Certificate]]:
    """Give who signs now, and whom nodes trust: the signer first, then older ones.

    What stands before the signer in ``ca.crt`` is of a change that was cut short before
    its key was written: it is passed over.

    Raises:
        HubStateError: If the key belongs to none of them.
    """
    key = load_key(read_file(place.authority_key))
    bundle = load_authorities(read_file(place.authorities))
    keys = [each.public_key() for each in bundle]
    if key.public_key() not in keys:
        raise HubStateError(
            f"{place.authority_key} does not belong to any certificate in ca.crt.",
            fix="Restore both from the same backup: flip-lab hub restore.",
        )
    trusted = bundle[keys.index(key.public_key()) :]
    return Authority(certificate=trusted[0], key=key), trusted


def _vouched_file(place: HubPlace) -> Path:
    return place.path / "ca.vouched.crt"


def _log(place: HubPlace, action: str, **body: Sequence[str]) -> None:
    told = {name: list(value) for name, value in body.items()}
    append_audit(LabDir(place.lab), action, body=told)
