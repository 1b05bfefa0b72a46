"""``flip-lab hub init``: a hub's directory, whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from flip_lab.core.clock import now_s
from flip_lab.core.errors import InvalidValueError
from flip_lab.hub.authority import Authority
from flip_lab.hub.certificates import pem_of, pem_of_key
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.names import checked_hosts, checked_node, checked_person
from flip_lab.hub.place import PORT, HubPlace, HubSettings, write_private
from flip_lab.node.drafts import appearing
from flip_lab.store.audit_writer import append_audit, author
from flip_lab.store.layout import open_lab, write_atomic

_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A new hub.

    Attributes:
        place: Its directory.
        settings: What its ``hub.toml`` says.
        token: The first admin's token, which nobody can show again.
    """

    place: HubPlace
    settings: HubSettings
    token: str


def prepare_hub(
    directory: str | Path,
    *,
    hosts: Sequence[str],
    port: int = PORT,
    name: str = "hub",
    admin: str = "",
) -> Prepared:
    """Make a hub: its authority and certificate, its secrets, its database and its lab.

    Args:
        directory: Where: nothing yet, or an empty directory.
        hosts: DNS names and IP addresses that nodes and researchers reach it by; the first
            is the one that kits name.
        port: Where it will listen, 1 to 65535.
        name: What it is called: 1 to 63 of a-z, 0-9 and ``-``.
        admin: Whose the first token is; empty: whoever runs this.

    Raises:
        InvalidValueError: If a name, a host or the port cannot be one.
        HubStateError: If something is there already, or it cannot be written; then
            nothing is left behind.
    """
    if not 0 < port < 2**16:
        raise InvalidValueError(f"{port} is no port.", fix="Give one from 1 to 65535.")
    settings = HubSettings(
        name=checked_node(name), hosts=checked_hosts(hosts), port=port, created_s=now_s()
    )
    person = checked_person(admin or author())
    place = HubPlace(Path(directory).expanduser().absolute())
    with appearing(place.path) as draft:
        token = _fill(HubPlace(draft), settings, person)
    return Prepared(place=place, settings=settings, token=token)


def _fill(place: HubPlace, settings: HubSettings, person: str) -> str:
    _write_keys(place, settings)
    lab = open_lab(place.lab)
    told = {"name": settings.name, "hosts": list(settings.hosts), "port": settings.port}
    append_audit(lab, "hub_init", body=told)
    with HubDatabase(place, create=True) as database:
        _, token = database.tokens.create(role="admin", person=person)
    place.write_settings(settings)
    return token


def _write_keys(place: HubPlace, settings: HubSettings) -> None:
    authority = Authority.new(settings.name, settings.hosts)
    certificate, key = authority.server(settings.hosts)
    write_atomic(place.authorities, pem_of([authority.certificate]))
    write_private(place.authority_key, pem_of_key(authority.key))
    write_atomic(place.server_certificate, pem_of([certificate]))
    write_private(place.server_key, pem_of_key(key))
    write_private(place.superexec_secret, secrets.token_bytes(_SECRET_BYTES))
    signer = ed25519.Ed25519PrivateKey.generate()
    write_private(
        place.signing_key,
        signer.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    public = signer.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_atomic(place.signing_public, public)
