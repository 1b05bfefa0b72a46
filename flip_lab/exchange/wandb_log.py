"""The file of records that W&B writes offline: ``run-<id>.wandb``.

It is LevelDB's log format with a head of its own: blocks of 32 KiB; records in pieces
(whole 1, first 2, middle 3, last 4), each with CRC-32, length and kind before it.
Source: https://github.com/google/leveldb/blob/main/doc/log_format.md and wandb's
``core/internal/transactionlog``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from flip_lab.core.errors import (
    DamagedSourceError,
    ForeignFormatError,
    NewerSourceError,
)

_BLOCK = 32 * 2**10
_IDENT, _MAGIC, _VERSION = b":W&B", 0xBEE1, 0
_FILE_HEAD = struct.Struct("<4sHB")
_HEAD = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEEDS = {kind: zlib.crc32(bytes([kind])) for kind in (_WHOLE, _FIRST, _MIDDLE, _LAST)}
_AGAIN = "Copy the run's directory again from where it was written."


class LogWriter:
    """Writes records; the caller opens and closes the file.

    Args:
        file: A new file, open for binary writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Write the file's head."""
        self._file = file
        file.write(_FILE_HEAD.pack(_IDENT, _MAGIC, _VERSION))
        self._offset = _FILE_HEAD.size

    def write(self, record: bytes) -> None:
        """Write one record, in as many pieces as the blocks ask for."""
        rest = memoryview(record)
        is_first = True
        while is_first or rest:
            room = _BLOCK - self._offset % _BLOCK
            if room < _HEAD.size:
                self._put(bytes(room))
                continue
            piece, rest = rest[: room - _HEAD.size], rest[room - _HEAD.size :]
            kind = (
                (_FIRST if rest else _WHOLE) if is_first else (_MIDDLE if rest else _LAST)
            )
            head = _HEAD.pack(zlib.crc32(piece, _SEEDS[kind]), len(piece), kind)
            self._put(head + piece)
            is_first = False

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)


def read_log(path: Path) -> Generator[bytes]:
    """Give the records of a file, each checked.

    Args:
        path: The ``.wandb`` file.

    Raises:
        ForeignFormatError: If it is no such file.
        NewerSourceError: If it has another version.
        DamagedSourceError: If it is cut short or does not match its checksums.
    """
    data = path.read_bytes()
    _check_head(path, data)
    offset, number, record = _FILE_HEAD.size, 0, b""
    while offset < len(data):
        room = _BLOCK - offset % _BLOCK
        if room < _HEAD.size:
            offset += room
            continue
        begin = offset + _HEAD.size
        if begin > len(data):
            raise DamagedSourceError(
                f"{path} is cut short after record {number}.", fix=_AGAIN
            )
        crc, length, kind = _HEAD.unpack_from(data, offset)
        piece = data[begin : begin + length]
        if len(piece) < length:
            raise DamagedSourceError(
                f"{path} is cut short after record {number}.", fix=_AGAIN
            )
        if kind not in _SEEDS or zlib.crc32(piece, _SEEDS[kind]) != crc:
            raise DamagedSourceError(
                f"{path} does not match its checksum after record {number}.", fix=_AGAIN
            )
        record, offset = record + piece, begin + length
        if kind in {_WHOLE, _LAST}:
            yield record
            record, number = b"", number + 1
    if record:
        raise DamagedSourceError(f"{path} is cut short after record {number}.", fix=_AGAIN)


def _check_head(path: Path, data: bytes) -> None:
    """Look at the file's first bytes.

    Raises:
        ForeignFormatError: If they are not W&B's.
        NewerSourceError: If they name another version.
    """
    ident, magic, version = (
        _FILE_HEAD.unpack_from(data) if len(data) >= _FILE_HEAD.size else (b"", 0, 0)
    )
    if ident != _IDENT or magic != _MAGIC:
        raise ForeignFormatError(
            f"{path} is no file of W&B's offline mode.",
            fix="Give the directory that holds run-<id>.wandb.",
        )
    if version != _VERSION:
        raise NewerSourceError(
            f"{path} has version {version}; this code reads version {_VERSION}.",
            fix="Update FLIP Lab (pip install -U flip-lab).",
        )
