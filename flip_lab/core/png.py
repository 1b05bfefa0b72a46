"""Arrays as PNG files, without a package for it (PNG specification 1.2)."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flip_lab.core.errors import LogError

_SIGN = b"\x89PNG\r\n\x1a\n"
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: colour type (section 4.1.1)
_LONGEST_SIDE = 8192
_HEAD_BYTES = 24  # up to the picture's size


def png_of(picture: ArrayLike) -> bytes:
    """Write an array as PNG.

    Args:
        picture: Shape ``(height, width)`` or ``(height, width, channels)`` with 1 (grey),
            2 (grey and opacity), 3 (red, green, blue) or 4 channels (and opacity). Whole
            numbers reach from 0 to 255, fractions from 0 to 1; what lies outside is
            clipped, and NaN is 0.

    Raises:
        LogError: If it is no such array, or has more than 8,192 pixels a side.
    """
    return _encoded(_pixels(picture))


def png_size(png: bytes) -> tuple[int, int] | None:
    """Give width and height of a PNG file in pixels; ``None`` if the bytes are none."""
    if not png.startswith(_SIGN) or len(png) < _HEAD_BYTES or png[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", png[16:_HEAD_BYTES])
    return width, height


def _pixels(picture: ArrayLike) -> NDArray[np.uint8]:
    """Give an array as bytes of shape (height, width, channels)."""
    given = np.asarray(picture)
    pixels = given[..., np.newaxis] if given.ndim == 2 else given  # noqa: PLR2004  # height, width
    fits = pixels.ndim == 3 and pixels.shape[2] in _COLOURS  # noqa: PLR2004  # and channels
    if not fits or not all(0 < side <= _LONGEST_SIDE for side in pixels.shape[:2]):
        raise LogError(
            f"An array of shape {given.shape} is no image.",
            fix="Give (height, width) or (height, width, channels) with 1 to 4 channels, "
            f"at most {_LONGEST_SIDE} pixels a side.",
        )
    if pixels.dtype.kind not in "buif":
        raise LogError(
            f"An array of {pixels.dtype} is no image.",
            fix="Give whole numbers from 0 to 255, or fractions from 0 to 1.",
        )
    if pixels.dtype.kind in "bf":
        pixels = np.rint(np.nan_to_num(pixels.astype(np.float64)).clip(0, 1) * 255)
    return pixels.clip(0, 255).astype(np.uint8)


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    """Write pixels as PNG (PNG specification 1.2), each row unfiltered."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # 0: the row has no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return _SIGN + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
