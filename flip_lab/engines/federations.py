"""Federations of real nodes by name, from ``flip-lab.toml``.

A federation is a SuperLink that somebody runs::

    [federations.hospitals]
    address = "hub.example.org:8000"
    root-certificates = "certificates/ca.crt"
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
_KEYS = ("address", "root-certificates", "superexec-secret")


@dataclass(frozen=True, kw_only=True)
class FederationConfig:
    """A named federation of real nodes.

    Attributes:
        name: What ``on=`` says.
        address: ``host:port`` of the SuperLink.
        root_certificates: PEM file of the authorities to trust; ``None``: the system's.
        superexec_secret: File with the secret that the SuperLink was started with.
    """

    name: str
    address: str
    root_certificates: Path | None
    superexec_secret: Path


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
        InvalidValueError: If a value is missing or no text.
    """
    where = f"[federations.{name}] in {path}"
    values: Mapping[str, object] = (
        cast("dict[str, object]", table) if isinstance(table, dict) else {}
    )
    for key in values:
        if key not in _KEYS:
            raise UnknownKeyError(f"{where} has {key!r}.", fix=nearest(key, _KEYS))

    def text(key: str) -> str:
        value = values.get(key)
        if isinstance(value, str) and value:
            return value
        raise InvalidValueError(
            f"{where} has {key} = {value!r}.", fix=f"Give {key} as text in quotes."
        )

    roots = "root-certificates"
    return FederationConfig(
        name=name,
        address=text("address"),
        root_certificates=path.parent / text(roots) if roots in values else None,
        superexec_secret=path.parent / text("superexec-secret"),
    )
