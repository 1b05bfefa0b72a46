"""Reading a bundle that came from elsewhere: source text only, of bounded size."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, NoReturn, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

from flip_lab.core.errors import AppNotAllowedError
from flip_lab.engines.flower.config import flatten_config
from flip_lab.engines.flower.fab import app_hash

SOURCE_TYPES = (".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl")
"""What an app may hold; nothing of it runs code by being read."""

_MOST_BYTES = 10 * 2**20  # as much as Flower packs
_MOST_FILES = 2_000
_MANIFEST = (".info/CONTENT",)


@dataclass(frozen=True, kw_only=True)
class FabContents:
    """An app as a node received it.

    Attributes:
        app_hash: Hash of its code, the same for each run of it.
        files: Content by relative path.
        client_ref: ``module:attribute`` of its ClientApp.
        run_config: The run configuration that came with it, flat.
        run: FLIP Lab's own word on the run: ``run`` (its id in the lab), ``seed``; empty
            for an app that another tool sent.
    """

    app_hash: str
    files: Mapping[str, bytes]
    client_ref: str
    run_config: Mapping[str, bool | int | float | str]
    run: Mapping[str, object]


def read_fab(content: bytes) -> FabContents:
    """Read a bundle without trusting it.

    Raises:
        AppNotAllowedError: If it is no such bundle, too large, or holds anything but
            source text inside its own directory.
    """
    try:
        with ZipFile(BytesIO(content)) as archive:
            files = _files(archive)
        project: dict[str, Any] = tomllib.loads(files["pyproject.toml"].decode())
        flower = project["tool"]["flwr"]["app"]
        client_ref = flower["components"]["clientapp"]
    except (BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        _refuse(f"cannot be unpacked ({error})", error)
    except (KeyError, TypeError, ValueError) as error:
        _refuse(f"has no pyproject.toml that Flower knows ({error!r})", error)
    if not isinstance(client_ref, str) or ":" not in client_ref:
        _refuse(f"names no ClientApp ({client_ref!r})")
    ours = project["tool"].get("flip-lab", {})
    return FabContents(
        app_hash=app_hash(files),
        files=files,
        client_ref=client_ref,
        run_config=flatten_config(
            flower.get("config", {}), PurePosixPath("pyproject.toml")
        ),
        run=cast("dict[str, object]", ours) if isinstance(ours, dict) else {},
    )


def _files(archive: ZipFile) -> dict[str, bytes]:
    """Read all files, as long as they are what they may be.

    Raises:
        AppNotAllowedError: If one is not.
    """
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > _MOST_FILES:
        _refuse(f"holds {len(entries)} files; {_MOST_FILES} are the most")
    files: dict[str, bytes] = {}
    room = _MOST_BYTES
    for entry in entries:
        _check_name(entry)
        with archive.open(entry) as file:
            found = file.read(room + 1)  # what the archive says of sizes may be a lie
        room -= len(found)
        if room < 0:
            _refuse(f"holds more than {_MOST_BYTES // 2**20} MiB")
        files[entry.filename] = found
    return files


def _check_name(entry: ZipInfo) -> None:
    """Check one entry's name and type.

    Raises:
        AppNotAllowedError: If it leads outside, or is no source text.
    """
    name = entry.filename
    parts = name.split("/")
    leads_outside = name.startswith("/") or "\\" in name or "\0" in name or ":" in name
    if leads_outside or any(part in {"", ".", ".."} for part in parts):
        _refuse(f"holds {name!r}, which leads out of its directory")
    if name not in _MANIFEST and PurePosixPath(name).suffix not in SOURCE_TYPES:
        _refuse(f"holds {name!r}; source text is all that it may hold")


def _refuse(why: str, cause: Exception | None = None) -> NoReturn:
    """Refuse the app.

    Raises:
        AppNotAllowedError: Always.
    """
    raise AppNotAllowedError(
        f"The app that the hub sent {why}.",
        fix="Pack it with FLIP Lab or `flwr build`, with source files only.",
    ) from cause
