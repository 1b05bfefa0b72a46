"""A Flower App directory as it was when the run started.

Code, small files and small folders are copied, so that neither an edit during the run nor
a file that the app writes reaches the original; large files and large folders of data are
linked, so that relative paths still work.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from shutil import copyfile
from typing import Protocol

from flip_lab.core.errors import AppError

_SOURCES = frozenset({".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl"})
_LARGEST_COPY_BYTES = 10 << 20  # Flower ships no larger app either
_IGNORED = frozenset({"__pycache__", "node_modules", "venv"})


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def take_snapshot(directory: Path, into: Path) -> str:
    """Copy an app's code and what is small, link the rest; hidden files stay out.

    Args:
        directory: The Flower App directory; only read.
        into: Where to put the snapshot; must not exist.

    Returns:
        The hash of the sources, by relative path: 64 hexadecimal digits.

    Raises:
        AppError: If a file of the app cannot be read.
    """
    digest = hashlib.sha256()
    try:
        _copy_folder(directory, into, digest, prefix="")
    except PermissionError as error:
        raise AppError(
            f"{error.filename} cannot be read: {error.strerror}.",
            fix="Make the app's files readable, or move that file out of the directory.",
        ) from error
    return digest.hexdigest()


def _copy_folder(folder: Path, into: Path, digest: _Digest, *, prefix: str) -> None:
    into.mkdir(parents=True)
    for entry in sorted(folder.iterdir()):
        target = into / entry.name
        if _is_left_out(entry, into):
            continue
        if _is_copied_folder(entry):
            _copy_folder(entry, target, digest, prefix=f"{prefix}{entry.name}/")
        elif entry.is_file() and entry.stat().st_size <= _LARGEST_COPY_BYTES:
            copyfile(entry, target)
            if entry.suffix in _SOURCES:
                name = f"{prefix}{entry.name}".encode()
                digest.update(name + b"\0" + target.read_bytes() + b"\0")
        else:
            target.symlink_to(entry.resolve())


def _is_left_out(entry: Path, into: Path) -> bool:
    """Leave out what is no part of an app, and a lab that lies inside the app."""
    if entry.name.startswith(".") or entry.name in _IGNORED:
        return True
    return entry.resolve() in into.resolve().parents


def _is_copied_folder(entry: Path) -> bool:
    """Take folders of code, and small ones: results of an earlier run may lie there."""
    if entry.is_symlink() or not entry.is_dir():
        return False
    return any(entry.rglob("*.py")) or _is_small(entry)


def _is_small(folder: Path) -> bool:
    size_bytes = 0
    for entry in folder.rglob("*"):
        size_bytes += entry.lstat().st_size
        if size_bytes > _LARGEST_COPY_BYTES:
            return False
    return True
