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


def take_snapshot(
    directory: Path, into: Path, *, only: frozenset[str] | None = None
) -> str:
    """Copy an app's code and what is small, link the rest; hidden files stay out.

    Args:
        directory: The Flower App directory; only read.
        into: Where to put the snapshot; must not exist.
        only: Relative paths of the files to take; ``None`` takes all.

    Returns:
        The hash of the sources, by relative path: 64 hexadecimal digits.

    Raises:
        AppError: If a file of the app cannot be read.
    """
    digest = hashlib.sha256()
    try:
        _Copying(digest, only).folder(directory, into, prefix="")
    except PermissionError as error:
        raise AppError(
            f"{error.filename} cannot be read: {error.strerror}.",
            fix="Make the app's files readable, or move that file out of the directory.",
        ) from error
    return digest.hexdigest()


def contents(snapshot: Path) -> list[str]:
    """List what a snapshot holds now, by relative path; folders are not named."""
    paths = (path for path in snapshot.rglob("*") if path.is_symlink() or path.is_file())
    return sorted(str(path.relative_to(snapshot)) for path in paths)


class _Copying:
    """One copying of an app's files, hashed along the way."""

    def __init__(self, digest: _Digest, only: frozenset[str] | None) -> None:
        self._digest = digest
        self._only = only

    def folder(self, folder: Path, into: Path, *, prefix: str) -> None:
        into.mkdir(parents=True)
        for entry in sorted(folder.iterdir()):
            name, target = f"{prefix}{entry.name}", into / entry.name
            if _is_left_out(entry, into):
                continue
            if _is_copied_folder(entry):
                self.folder(entry, target, prefix=f"{name}/")
            elif self._only is None or name in self._only:
                self._file(entry, target, name)

    def _file(self, entry: Path, target: Path, name: str) -> None:
        if not entry.is_file() or entry.stat().st_size > _LARGEST_COPY_BYTES:
            target.symlink_to(entry.resolve())
            return
        copyfile(entry, target)
        if entry.suffix in _SOURCES:
            self._digest.update(name.encode() + b"\0" + target.read_bytes() + b"\0")


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
