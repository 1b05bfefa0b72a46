"""Kept files as answers: their hash is their tag, and ranges of them can be asked for.

A file may hold whatever somebody wrote, so it must not act in a page of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from fastapi import Request, Response
from fastapi.responses import FileResponse

from flip_lab.api.documents import Responses, content
from flip_lab.api.etags import is_known
from flip_lab.api.problems import problem_response
from flip_lab.core.errors import RequestError
from flip_lab.store.blobs import Blobs

QUIET: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
)
"""Headers that keep a file from acting in a page."""

BYTES_TOLD: Responses = {
    200: content("*/*", type="string", format="binary"),
    206: {
        "description": "The bytes that `Range` asks for.",
        **content("*/*", type="string", format="binary"),
    },
}
"""What the reference says of such an answer."""

_RANGE = re.compile(r"(\d*)-(\d*)")
_RANGES = re.compile(
    r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})(, *(\d{1,18}-\d{0,18}|-\d{1,18})){0,15}"
)
_KIND = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_BYTES = "application/octet-stream"


def kept_response(
    request: Request, blobs: Blobs, sha256: str, *, media_type: str | None, filename: str
) -> Response:
    """Give a kept file, compared with its hash.

    Args:
        request: What was asked.
        blobs: The lab's kept files.
        sha256: Which one.
        media_type: What kind of file it is, if anybody said.
        filename: What a browser shall call it.

    Raises:
        CorruptArtifactError: If it is gone, or no longer matches its hash.
        RequestError: If the header ``Range`` means nothing.
    """
    if is_known(request, f'"{sha256}"'):
        return Response(status_code=304, headers=_headers(sha256))
    return file_response(
        request,
        blobs.check(sha256),
        sha256,
        media_type=media_type,
        filename=filename,
    )


def file_response(
    request: Request, path: Path, sha256: str, *, media_type: str | None, filename: str
) -> Response:
    """Give a file that was compared with its hash.

    Args:
        request: What was asked.
        path: The file.
        sha256: The hash of what it holds; becomes its tag.
        media_type: What kind of file it is, if anybody said.
        filename: What a browser shall call it.

    Raises:
        RequestError: If the header ``Range`` means nothing.
    """
    headers = _headers(sha256)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    size_bytes = path.stat().st_size
    if not _are_there(request, size_bytes):
        return problem_response(
            RequestError(
                f"The file has {size_bytes} bytes; there is no "
                f"{request.headers['range']!r:.100}.",
                fix="Ask for bytes that it has, such as bytes=0-1023.",
            ),
            status=416,
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    kind = media_type or _BYTES
    return FileResponse(
        path,
        headers=headers,
        media_type=kind if _KIND.fullmatch(kind) else _BYTES,
        filename=filename,
        content_disposition_type="inline" if kind in _SHOWN else "attachment",
    )


def _headers(sha256: str) -> dict[str, str]:
    return {"ETag": f'"{sha256}"', "Cache-Control": "private, no-cache", **QUIET}


def _are_there(request: Request, size_bytes: int) -> bool:
    """Say whether a file has the bytes that are asked for.

    Raises:
        RequestError: If the header means nothing.
    """
    told = request.headers.get("range")
    if told is None:
        return True
    if not _RANGES.fullmatch(told):
        raise RequestError(f"Range is {told!r:.100}.", fix="Ask for bytes=0-1023, say.")
    pairs = [(first, last) for first, last in _RANGE.findall(told) if first or last]
    if any(first and last and int(first) > int(last) for first, last in pairs):
        raise RequestError(f"Range is {told!r:.100}.", fix="Ask for bytes=0-1023, say.")
    return all(int(first or 0) < size_bytes for first, _ in pairs)
