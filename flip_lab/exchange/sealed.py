"""A directory whose files can be checked: ``manifest.json`` holds the hash of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

from flip_lab.core.errors import (
    DamagedSourceError,
    ForeignFormatError,
    NewerSourceError,
)

FILE = "manifest.json"
FORMAT = 1

_AGAIN = "Copy it again from where it was exported, or export it again."


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest over all files that are in the folder now.

    Args:
        folder: The directory.
        about: What else the manifest tells; ``format`` and ``files`` are ours.
    """
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_of(path),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILE
    }
    text = json.dumps({**about, "format": FORMAT, "files": files}, indent=1)
    (folder / FILE).write_text(text, encoding="utf-8")


def check(folder: Path, *, made_as: str) -> Mapping[str, Any]:
    """Check every file against the manifest.

    Args:
        folder: The directory.
        made_as: What the manifest's ``made_as`` must be among; several words.

    Returns:
        The manifest.

    Raises:
        ForeignFormatError: If there is no manifest, or one of something else.
        NewerSourceError: If a newer version of FLIP Lab wrote it.
        DamagedSourceError: If a file is missing or is not what was written.
    """
    manifest = _manifest(folder, made_as)
    for name, told in manifest["files"].items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DamagedSourceError(
                f"The manifest of {folder} names {name!r}, which is outside.", fix=_AGAIN
            )
        if not path.is_file():
            raise DamagedSourceError(f"{path} is missing.", fix=_AGAIN)
        if path.stat().st_size != told["size_bytes"] or sha256_of(path) != told["sha256"]:
            raise DamagedSourceError(
                f"{path} no longer matches its hash in {FILE}.", fix=_AGAIN
            )
    return manifest


def _manifest(folder: Path, made_as: str) -> Mapping[str, Any]:
    path = folder / FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        told, kind = int(manifest["format"]), str(manifest["made_as"])
        _ = manifest["files"].items()
    except (FileNotFoundError, NotADirectoryError):
        raise ForeignFormatError(
            f"{folder} is no {made_as} export of FLIP Lab: it has no {FILE}.",
            fix="Give the directory that lab.export made.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedSourceError(
            f"{path} cannot be read as a manifest ({error!r}).", fix=_AGAIN
        ) from error
    if told > FORMAT:
        raise NewerSourceError(
            f"{path} has format {told}; this version reads up to {FORMAT}.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        )
    if kind != made_as:
        raise ForeignFormatError(
            f"{folder} was exported as {kind!r}, not as {made_as!r}.",
            fix=f"Import it with format={kind!r}.",
        )
    return manifest


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
