"""Zip archives of strangers: only plain files and directories, and only below one place.

A zip is two descriptions of its content that need not agree, with names that any program
may have written. So everything is refused that an honest packer of a Flower App does not
make, before anything is written; and what is unpacked is counted as it comes.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from flip_lab.core.errors import UploadTypeError
from flip_lab.store.layout import explained

MOST_FILES = 5000
"""Entries of an archive."""

LARGEST_BYTES = 2**28
"""Bytes of its files together."""

LARGEST_RATIO = 200
"""How many times its own length an archive may unpack to; source code packs to a fifth."""

_FREE_BYTES = 2**20  # what may be packed as tightly as it likes
_LONGEST_PATH = 1000
_LONGEST_PART_BYTES = 255
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_SECOND_END_MARK, _SECOND_END_BYTES = b"PK\x06\x07", 20
_LARGEST_DIRECTORY_BYTES = MOST_FILES * 2048
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PART_BYTES = 2**18
_OF_A_MAC = "__MACOSX"


@contextmanager
def unpack(name: str, archive: Path, draft: Path) -> Generator[Path]:
    """Unpack an archive into a new directory, which goes unless it is renamed.

    Args:
        name: What its sender calls the archive.
        archive: The archive.
        draft: The directory; what a kill left there goes first.

    Yields:
        The directory.

    Raises:
        UploadTypeError: If it is no archive, or not a safe one; nothing is left behind.
        StoreNotWritableError: If it cannot be written; likewise.
    """
    _look_at_end(name, archive)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with _as_damage():
            opened = zipfile.ZipFile(archive)
        with opened:
            entries = _checked(name, opened, archive.stat().st_size)
            with explained(draft):
                draft.mkdir()
                _write(name, opened, entries, draft)
        yield draft
    except zipfile.BadZipFile as error:
        _refuse(name, f"is no zip archive, or a damaged one ({error})")
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def app_root(folder: Path) -> Path:
    """Give where the app of an unpacked archive begins: there, or one directory down."""
    if (folder / "pyproject.toml").is_file():
        return folder
    inside = [path for path in folder.iterdir() if path.name != _OF_A_MAC]
    is_one = len(inside) == 1 and (inside[0] / "pyproject.toml").is_file()
    return inside[0] if is_one else folder


def _look_at_end(name: str, archive: Path) -> None:
    """Refuse an archive whose table of contents would take long to read.

    Raises:
        UploadTypeError: If it is no archive, or one of too many entries.
    """
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END.size - _SECOND_END_BYTES - 2**16))
        tail = file.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        _refuse(name, "is no zip archive")
    # A second end, for huge archives, would overrule this one.
    if tail[max(0, at - _SECOND_END_BYTES) : at].startswith(_SECOND_END_MARK):
        _refuse(name, f"has more than {MOST_FILES} files")
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if entries > MOST_FILES or directory_bytes > _LARGEST_DIRECTORY_BYTES:
        _refuse(name, f"has more than {MOST_FILES} files")


def _checked(
    name: str, archive: zipfile.ZipFile, size_bytes: int
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        _refuse(name, f"has more than {MOST_FILES} files")
    total = sum(entry.file_size for entry in entries)
    if total > LARGEST_BYTES:
        _refuse(name, f"unpacks to {total:,} bytes, more than {LARGEST_BYTES:,}")
    if total > max(_FREE_BYTES, LARGEST_RATIO * size_bytes):
        _refuse(name, f"unpacks to {total // size_bytes} times its length")
    placed = [(entry, _place(name, entry)) for entry in entries]
    _check_places(name, placed)
    return placed


def _place(name: str, entry: zipfile.ZipInfo) -> PurePosixPath:
    """Give where an entry goes, if it is a plain file or directory.

    Raises:
        UploadTypeError: If it is not.
    """
    shown = f"{entry.orig_filename[:80]!r}"
    if entry.flag_bits & _ENCRYPTED:
        _refuse(name, f"is encrypted ({shown})")
    if entry.compress_type not in _METHODS:
        _refuse(name, f"is packed in a way that is not taken ({shown})")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG}:
        _refuse(name, f"holds something else than files ({shown})")
    if not is_safe(entry.orig_filename):
        _refuse(name, f"has a name that leads elsewhere ({shown})")
    return PurePosixPath(entry.orig_filename)


def is_safe(path: str) -> bool:
    """Say whether a name in an archive means one file below where it is unpacked.

    On any system: no drives, no backslashes, no ``..``, nothing that cannot be printed.
    """
    text = path.removesuffix("/")
    if not text or len(path) > _LONGEST_PATH or not text.isprintable():
        return False
    if {"\\", ":"} & {*text} or _is_broken(text):
        return False
    return all(_is_safe_part(part) for part in text.split("/"))


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_safe_part(part: str) -> bool:
    is_short = len(part.encode()) <= _LONGEST_PART_BYTES
    return is_short and part.strip(" ") == part and part.rstrip(".") != ""


def _check_places(
    name: str, placed: Sequence[tuple[zipfile.ZipInfo, PurePosixPath]]
) -> None:
    """Refuse names that are one on some system, and files that are directories, too.

    Raises:
        UploadTypeError: If there are such.
    """
    spelled: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for entry, path in placed:
        key = _folded(str(path))
        parents = [str(parent) for parent in path.parents][:-1]
        if not entry.is_dir():
            if key in files:
                _refuse(name, f"has one file twice ({str(path)[:80]!r})")
            files.add(key)
        else:
            folders.add(key)
        folders.update(map(_folded, parents))
        for each in (str(path), *parents):
            if spelled.setdefault(_folded(each), each) != each:
                _refuse(name, f"spells one name in two ways ({each[:80]!r})")
    if both := files & folders:
        _refuse(name, f"has a file that is a directory, too ({min(both)[:80]!r})")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _write(
    name: str,
    archive: zipfile.ZipFile,
    entries: Sequence[tuple[zipfile.ZipInfo, PurePosixPath]],
    folder: Path,
) -> None:
    left = LARGEST_BYTES
    for entry, path in entries:
        target = folder / path
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with _as_damage():
            source = archive.open(entry)
        with source, target.open("xb") as file:
            left -= _copy(source, file, left)
        if left < 0:
            _refuse(name, f"unpacks to more than {LARGEST_BYTES:,} bytes")


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> int:
    """Copy until more than so many bytes came; give how many did."""
    came = 0
    while came <= most:
        with _as_damage():
            part = source.read(_PART_BYTES)
        if not part:
            break
        target.write(part)
        came += len(part)
    return came


@contextmanager
def _as_damage() -> Generator[None]:
    """Turn whatever reading a damaged archive raises into one error.

    Raises:
        BadZipFile: In place of any of them.
    """
    try:
        yield
    except (EOFError, OSError, RuntimeError, ValueError, struct.error, zlib.error) as error:
        raise zipfile.BadZipFile(str(error)) from error


def _refuse(name: str, what: str) -> NoReturn:
    """Say why an archive is not taken.

    Raises:
        UploadTypeError: Always.
    """
    raise UploadTypeError(
        f"{name} {what}.",
        fix="Pack the app's own files with a usual tool: plain files, no links, no "
        "password.",
    )
