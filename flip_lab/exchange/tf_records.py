# TensorBoard ships no types:
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""TFRecord, the file format of TensorBoard: length, its checksum, bytes, their checksum.

The checksums are CRC-32C, masked. Source:
https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from pathlib import Path

from flip_lab.core.errors import DamagedSourceError

_LENGTH = struct.Struct("<Q")
_HEAD = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_CUT = "{} is cut short after record {}."
_CHANGED = "{} does not match its checksum after record {}."
_AGAIN = "Copy the file again from where it was written, when its run has ended."


def framed(message: bytes) -> bytes:
    """Give a message as a record."""
    length = _LENGTH.pack(len(message))
    return b"".join((length, _CRC.pack(_crc(length)), message, _CRC.pack(_crc(message))))


def unframed(path: Path) -> Generator[bytes]:
    """Give the messages of a file, each checked.

    Args:
        path: The file.

    Raises:
        DamagedSourceError: If the file is cut short or changed.
    """
    data = memoryview(path.read_bytes())
    offset = number = 0
    while offset < len(data):
        begin = offset + _HEAD.size
        if begin > len(data):
            raise DamagedSourceError(_CUT.format(path, number), fix=_AGAIN)
        length, crc = _HEAD.unpack_from(data, offset)
        if _crc(bytes(data[offset : offset + _LENGTH.size])) != crc:
            raise DamagedSourceError(_CHANGED.format(path, number), fix=_AGAIN)
        end = begin + length
        if end + _CRC.size > len(data):
            raise DamagedSourceError(_CUT.format(path, number), fix=_AGAIN)
        message = bytes(data[begin:end])
        if _CRC.unpack_from(data, end) != (_crc(message),):
            raise DamagedSourceError(_CHANGED.format(path, number), fix=_AGAIN)
        yield message
        offset, number = end + _CRC.size, number + 1


def _crc(data: bytes) -> int:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    return int(masked_crc32c(data))
