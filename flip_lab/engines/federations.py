"""Federations of real nodes by name, from ``flip-lab.toml``.

A federation is a hub that somebody runs, and that gave you a token::

    [federations.hospitals]
    address = "hub.example.org:8443"
    root-certificates = "certificates/ca.crt"
    token = "hospitals.token"

or a stock SuperLink of Flower, whose secret stands in a file::

    [federations.clinics]
    address = "superlink.example.org:8000"
    superexec-secret = "superexec.secret"

Paths are relative to that file. Without ``root-certificates`` the system's authorities
are trusted.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flip_lab.core.errors import (
    InvalidValueError,
    UnknownFederationError,
    UnknownKeyError,
    nearest,
)

FILE_NAME = "flip-lab.toml"
DEFAULT_HUB_WAIT_S = 600.0
_PROOFS = ("token", "superexec-secret")
_KEYS = ("address", "root-certificates", *_PROOFS, "hub-wait-s", "accept-non-finite")


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """A named federation of real nodes.

    Attributes:
        name: What ``on=`` says.
        address: ``host:port`` of the hub or SuperLink.
        root_certificates: PEM file of the authorities to trust; ``None``: the system's.
        token: File with our token for a hub; ``None`` for a stock SuperLink.
        superexec_secret: File with the secret that a stock SuperLink was started with;
            ``None`` for a hub. Exactly one of the two is given.
        hub_wait_s: How long a run waits for a hub or SuperLink that is away, seconds.
        accept_non_finite: Whether replies may hold NaN and infinite values.
    """

    name: str
    address: str
    root_certificates: Path | None
    token: Path | None = None
    superexec_secret: Path | None = None
    hub_wait_s: float = DEFAULT_HUB_WAIT_S
    accept_non_finite: bool = False


def load_federation(name: str, search_from: Path) -> FederationConfig:
    """Find a federation by name; the nearest ``flip-lab.toml`` that has it wins.

    Looks in ``search_from`` and every directory above it, then in the user's
    configuration directory (``$XDG_CONFIG_HOME/flip-lab``, else ``~/.config/flip-lab``).

    Raises:
        UnknownFederationError: If no file names it.
        UnknownKeyError: If its table holds a key that means nothing.
        InvalidValueError: If a file is no TOML, or a value is missing or no text.
    """
    known: set[str] = set()
    for path in _files(search_from.resolve()):
        tables = _federations(path)
        if name in tables:
            return _checked(name, tables[name], path)
        known.update(tables)
    raise UnknownFederationError(
        f"No federation is named {name!r}. {nearest(name, known)}",
        fix=f"Add a [federations.{name}] table to a {FILE_NAME}.",
    )


def federation_names(search_from: Path) -> list[str]:
    """List the federations that ``load_federation`` would find, sorted.

    Raises:
        InvalidValueError: If a file is no TOML.
    """
    found = {name for path in _files(search_from.resolve()) for name in _federations(path)}
    return sorted(found)


def _files(start: Path) -> Iterator[Path]:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    for directory in (start, *start.parents, Path(config) / "flip-lab"):
        if (directory / FILE_NAME).is_file():
            yield directory / FILE_NAME


def _federations(path: Path) -> dict[str, object]:
    """Read the tables of one file, unchecked.

    Raises:
        InvalidValueError: If the file is no TOML.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("federations", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{path} is not valid TOML: {error}.", fix="Correct that line."
        ) from error
    if not isinstance(tables, dict):
        raise InvalidValueError(
            f"'federations' in {path} is not a table.",
            fix="Write one [federations.NAME] table for each federation.",
        )
    return cast("dict[str, object]", tables)


def _checked(name: str, table: object, path: Path) -> FederationConfig:
    """Turn one table into a configuration.

    Raises:
        UnknownKeyError: If it holds a key that means nothing.
        InvalidValueError: If a value is missing or of the wrong kind.
    """
    where = f"[federations.{name}] in {path}"
    values: Mapping[str, object] = (
        cast("dict[str, object]", table) if isinstance(table, dict) else {}
    )
    for key in values:
        if key not in _KEYS:
            raise UnknownKeyError(f"{where} has {key!r}.", fix=nearest(key, _KEYS))
    if sum(key in values for key in _PROOFS) > 1:
        raise InvalidValueError(
            f"{where} has both token and superexec-secret.",
            fix="Keep token for a hub, superexec-secret for a stock SuperLink.",
        )
    if not any(key in values for key in _PROOFS):
        raise InvalidValueError(
            f"{where} has neither token nor superexec-secret.",
            fix="Give token for a hub, superexec-secret for a stock SuperLink.",
        )
    table_of = _Table(where=where, values=values, directory=path.parent)
    return FederationConfig(
        name=name,
        address=table_of.text("address"),
        root_certificates=table_of.path("root-certificates"),
        token=table_of.path("token"),
        superexec_secret=table_of.path("superexec-secret"),
        hub_wait_s=table_of.seconds("hub-wait-s", DEFAULT_HUB_WAIT_S),
        accept_non_finite=table_of.flag("accept-non-finite"),
    )


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One table of the file, with reading that tells where a wrong value stands."""

    where: str
    values: Mapping[str, object]
    directory: Path

    def _wrong(self, key: str, fix: str) -> InvalidValueError:
        value = self.values.get(key)
        return InvalidValueError(f"{self.where} has {key} = {value!r}.", fix=fix)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if isinstance(value, str) and value:
            return value
        raise self._wrong(key, f"Give {key} as text in quotes.")

    def path(self, key: str) -> Path | None:
        return self.directory / self.text(key) if key in self.values else None

    def seconds(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        raise self._wrong(key, f"Give {key} as a number of seconds, 0 or more.")

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if isinstance(value, bool):
            return value
        raise self._wrong(key, f"Give {key} as true or false.")
