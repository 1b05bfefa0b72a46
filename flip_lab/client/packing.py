"""A Flower App directory as one file: equal directories make equal files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flip_lab.core.errors import AppError, AppPartMissingError

_IGNORED = frozenset({"__pycache__", "node_modules", "venv"})  # as a local launch does
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_PIECE_BYTES = 2**20


def pack_app(directory: Path, into: BinaryIO) -> None:
    """Write a Flower App as a zip archive; hidden files and what is made anew stay out.

    Args:
        directory: The app; links to directories in it are not followed.
        into: Open for writing in binary.

    Raises:
        AppPartMissingError: If it is no Flower App.
        AppError: If a file cannot be read.
    """
    if not (directory / "pyproject.toml").is_file():
        raise AppPartMissingError(
            f"{directory} has no pyproject.toml.",
            fix="Give the directory of a Flower App, as `flwr new` makes it.",
        )
    try:
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in _files(directory):
                _add(archive, path, path.relative_to(directory).as_posix())
    except OSError as error:
        raise AppError(
            f"{error.filename} cannot be read: {error.strerror}.",
            fix="Make the app's files readable, or move that file out of the directory.",
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        if entry.is_file():
            yield entry
        elif entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    """Add a file; neither its time nor its owner makes a difference."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = _MODE
    info.compress_type = zipfile.ZIP_DEFLATED
    with path.open("rb") as source, archive.open(info, "w") as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
