"""A hub's directory: what lies where, and what ``hub.toml`` says."""

from __future__ import annotations

import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomli_w

from flip_lab.core.errors import HubStateError
from flip_lab.store.layout import explained, sync_directory, write_atomic

FORMAT = 1
"""The layout that this code writes; a hub of a higher format is refused."""

PORT = 8443
"""Where a hub listens unless it is told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """What ``hub.toml`` says.

    Attributes:
        name: What the hub is called, as people and kits read it.
        hosts: DNS names and IP addresses that nodes and researchers reach it by; the first
            is the one that kits name.
        port: Where it listens.
        created_s: When it was made, seconds since the Unix epoch.
    """

    name: str
    hosts: tuple[str, ...]
    port: int
    created_s: float

    @property
    def address(self) -> str:
        """``host:port``, as kits and tokens are handed out with it."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A hub's directory; picklable, opens nothing.

    Attributes:
        path: Absolute path of the directory that holds ``hub.toml``.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """Its name, its hosts and its port."""
        return self.path / "hub.toml"

    @property
    def database_file(self) -> Path:
        """Nodes, enrolments, tokens, runs and deliveries."""
        return self.path / "hub.db"

    @property
    def authorities(self) -> Path:
        """Whom nodes trust: its authority, and the one before while nodes change over."""
        return self.path / "ca.crt"

    @property
    def authority_key(self) -> Path:
        """The authority's private key."""
        return self.path / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """What the hub shows, with the certificates between it and the authorities."""
        return self.path / "server.crt"

    @property
    def server_key(self) -> Path:
        """The private key to it."""
        return self.path / "server.key"

    @property
    def superexec_secret(self) -> Path:
        """What the hub itself proves to its SuperLink; no driver ever holds it."""
        return self.path / "superexec.secret"

    @property
    def signing_key(self) -> Path:
        """Signs models that are delivered (Ed25519)."""
        return self.path / "signing.key"

    @property
    def signing_public(self) -> Path:
        """What nodes check those signatures with."""
        return self.path / "signing.pub"

    @property
    def active_lock(self) -> Path:
        """Held by the process that is the active hub."""
        return self.path / "active.lock"

    @property
    def lab(self) -> Path:
        """The hub's own lab: detached runs, models, and the log of who did what."""
        return self.path / "lab"

    def settings(self) -> HubSettings:
        """Read ``hub.toml``.

        Raises:
            HubStateError: If there is none, or it cannot be what ``init`` wrote.
        """
        try:
            told = tomllib.loads(self.settings_file.read_text("utf-8"))
            return _settings(told)
        except FileNotFoundError:
            raise HubStateError(
                f"{self.path} is not a hub: it has no hub.toml.",
                fix=f"Make one with flip-lab hub init {self.path} --host NAME, or correct "
                "the path.",
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HubStateError(
                f"{self.settings_file} cannot be read as a hub's settings ({error}).",
                fix="Correct the file: format, name, hosts, port and created; or restore "
                "the hub from a backup.",
            ) from error

    def write_settings(self, settings: HubSettings) -> None:
        """Write ``hub.toml``, whole or not at all.

        Raises:
            StoreNotWritableError: If it cannot be written.
        """
        told = {
            "format": FORMAT,
            "name": settings.name,
            "hosts": list(settings.hosts),
            "port": settings.port,
            "created_s": settings.created_s,
        }
        write_atomic(self.settings_file, tomli_w.dumps(told).encode())


def open_hub(path: str | Path) -> HubPlace:
    """Find a hub's directory, and see that it is one.

    Args:
        path: The directory; ``~`` stands for the home directory.

    Raises:
        HubStateError: If it is no hub, is damaged, or is of a newer format.
    """
    place = HubPlace(Path(path).expanduser().absolute())
    place.settings()
    return place


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, not even for a moment anybody else.

    What root writes into another's directory is handed to that account: a hub could not
    read it otherwise.

    Raises:
        StoreNotWritableError: If it cannot be written, or is there already.
    """
    with explained(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:
                home = path.parent.stat()
                os.fchown(descriptor, home.st_uid, home.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> None:
    """Write a private file in place of an older one, whole or not at all.

    Raises:
        StoreNotWritableError: If it cannot be written; then the older one stays.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with explained(path):
        try:
            write_private(draft, content)
            draft.replace(path)
            sync_directory(path.parent)
        finally:
            draft.unlink(missing_ok=True)


def read_file(path: Path) -> bytes:
    """Read a file of a hub.

    Raises:
        HubStateError: If it is missing, or may not be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise HubStateError(
            f"{path} cannot be read ({error.strerror or error}).",
            fix="Use the account that made the hub, or restore a backup: flip-lab hub "
            "restore.",
        ) from error


def _settings(told: dict[str, Any]) -> HubSettings:
    """Turn what the file says into settings.

    Raises:
        ValueError: If something is not what it should be.
        HubStateError: If a newer version wrote it.
    """
    if int(told["format"]) > FORMAT:
        raise HubStateError(
            f"The hub has format {told['format']}; this version reads up to {FORMAT}.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        )
    hosts = told["hosts"]
    if not isinstance(hosts, list) or not hosts:
        raise ValueError("hosts is no list of names")
    port = int(told["port"])
    if not 0 < port < 2**16:
        raise ValueError(f"port is {port}")
    return HubSettings(
        name=str(told["name"]),
        hosts=tuple(str(host) for host in cast("list[object]", hosts)),
        port=port,
        created_s=float(told["created_s"]),
    )
