"""A Flower App directory as it was when the run started.

Sources are copied, so that an edit during the run changes nothing and the run can be
looked up later; everything else (data) is linked, so that relative paths still work.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from shutil import copyfile
from typing import Protocol

_SOURCES = frozenset({".py", ".toml", ".md", ".yaml", ".yml", ".json", ".jsonl", ".txt"})
_LARGEST_SOURCE_BYTES = 1 << 20


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


_IGNORED = frozenset({"__pycache__", "node_modules", "venv", ".venv"})


def take_snapshot(directory: Path, into: Path) -> str:
    """Copy an app's sources and link the rest.

    Args:
        directory: The Flower App directory; only read.
        into: Where to put the snapshot; must not exist.

    Returns:
        The hash of the copied sources, by relative path: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    _copy_tree(directory, into, digest, prefix="")
    return digest.hexdigest()


def _copy_tree(directory: Path, into: Path, digest: _Digest, *, prefix: str) -> None:
    into.mkdir(parents=True)
    for entry in sorted(directory.iterdir()):
        target = into / entry.name
        name = f"{prefix}{entry.name}"
        if entry.name in _IGNORED or entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            _copy_tree(entry, target, digest, prefix=f"{name}/")
        elif _is_source(entry):
            copyfile(entry, target)
            digest.update(name.encode() + b"\0" + target.read_bytes() + b"\0")
        else:
            target.symlink_to(entry.resolve())


def _is_source(entry: Path) -> bool:
    return (
        entry.is_file()
        and not entry.is_symlink()
        and entry.suffix in _SOURCES
        and entry.stat().st_size <= _LARGEST_SOURCE_BYTES
    )
