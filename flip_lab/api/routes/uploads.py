"""Uploads that go on where they stopped: the tus protocol, version 1.0.

Core, creation, checksum, termination and expiration of https://tus.io/protocols. Errors
are problems, as everywhere in this API.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Annotated, TypeAlias

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Path, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from starlette.requests import ClientDisconnect

from flip_lab.api.documents import Responses, told
from flip_lab.api.problems import problem_response
from flip_lab.api.replies import state
from flip_lab.api.schemas.uploads import UploadState
from flip_lab.api.service import Reader, Serving, Writer
from flip_lab.api.uploads.arriving import Piece
from flip_lab.api.uploads.record import Upload
from flip_lab.core.clock import at_utc
from flip_lab.core.errors import RequestError, TooSlowError, UploadError, UploadTypeError

router = APIRouter(prefix="/uploads", tags=["uploads"])

UploadId: TypeAlias = Annotated[str, Path(max_length=200, description="The upload.")]
Resumable: TypeAlias = Annotated[
    str | None, Header(max_length=20, description="`1.0.0`, or nothing.")
]
Length: TypeAlias = Annotated[
    int, Header(ge=1, le=2**53, description="The file's length in bytes.")
]
Metadata: TypeAlias = Annotated[
    str,
    Header(
        max_length=4000,
        description="`filename`, and if need be `kind` (app, scenario, model or data) and "
        "`sha256` of the whole file: each name, a space, and the value in Base64; with "
        "commas between.",
    ),
]
Offset: TypeAlias = Annotated[
    int, Header(ge=0, le=2**53, description="Where these bytes belong.")
]
Checksum: TypeAlias = Annotated[
    str | None,
    Header(
        max_length=200,
        description="`sha256`, a space, and the hash of this body in Base64: a body that "
        "does not match is not kept.",
    ),
]

VERSION = "1.0.0"
_TUS = {"Tus-Resumable": VERSION}
_ABOUT = {
    "Tus-Version": VERSION,
    "Tus-Extension": "creation,checksum,termination,expiration",
    "Tus-Checksum-Algorithm": "sha256",
}
_PIECE = "application/offset+octet-stream"
_MISMATCH = 460  # of the checksum extension
_FLUSH_BYTES = 2**20
_OTHER_VERSION: Responses = {
    412: {**told(412)[412], "description": "Another version of tus than 1.0.0 (FLIP-700)."}
}


class _ChecksumError(UploadError):
    """A piece was changed on the way."""


@router.options("", status_code=204, responses=told())
def tell_uploads(service: Serving, person: Reader) -> Response:
    """Say what of tus is understood, and how large a file may be."""
    del person
    most = {"Tus-Max-Size": str(service.uploads.largest_bytes)}
    return Response(status_code=204, headers={**_TUS, **_ABOUT, **most})


@router.post(
    "", status_code=201, responses={**told(409, 415, 429, changes=True), **_OTHER_VERSION}
)
def begin_upload(
    service: Serving,
    person: Writer,
    upload_length: Length,
    upload_metadata: Metadata,
    tus_resumable: Resumable = None,
) -> Response:
    """Begin an upload; `Location` says where its bytes go."""
    del person
    _require_version(tus_resumable)
    told_ = _read_metadata(upload_metadata)
    upload = service.uploads.create(
        told_.get("filename") or told_.get("name", ""),
        upload_length,
        kind=told_.get("kind"),
        sha256=told_.get("sha256"),
    )
    headers = {**_where(upload), "Location": f"uploads/{upload.id}"}
    return Response(status_code=201, headers=headers)


@router.head(
    "/{upload_id}", response_class=Response, responses={**told(404), **_OTHER_VERSION}
)
def ask_offset(
    service: Serving, person: Reader, upload_id: UploadId, tus_resumable: Resumable = None
) -> Response:
    """Say how much of an upload has arrived: `Upload-Offset`."""
    del person
    _require_version(tus_resumable)
    upload = service.uploads.find(upload_id)
    headers = {
        **_where(upload),
        "Upload-Length": str(upload.size_bytes),
        "Upload-Metadata": f"filename {b64encode(upload.name.encode()).decode()}",
        "Cache-Control": "no-store",
    }
    return Response(status_code=200, headers=headers)


@router.get("/{upload_id}", response_model=UploadState, responses=told(304, 404))
def show_upload(
    request: Request, service: Serving, person: Reader, upload_id: UploadId
) -> Response:
    """Say what an upload is, how far it is, and whether it can be used."""
    del person
    upload = service.uploads.find(upload_id)
    shown = {
        "id": upload.id,
        "name": upload.name,
        "kind": upload.kind,
        "size_bytes": upload.size_bytes,
        "offset": upload.offset,
        "is_whole": upload.is_whole,
        "sha256": upload.sha256,
        "created_at": at_utc(upload.created_s),
        "expires_at": at_utc(upload.expires_s),
    }
    return state(request, shown)


@router.patch(
    "/{upload_id}",
    status_code=204,
    responses={
        **told(404, 409, 415, changes=True),
        **_OTHER_VERSION,
        _MISMATCH: {**told(409)[409], "description": "Changed on the way (FLIP-710)."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_PIECE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def append_piece(  # noqa: PLR0913  # one parameter for each header
    request: Request,
    service: Serving,
    person: Writer,
    upload_id: UploadId,
    upload_offset: Offset,
    *,
    upload_checksum: Checksum = None,
    tus_resumable: Resumable = None,
) -> Response:
    """Append bytes, up to 16 MiB at a time; with the last ones the file is checked.

    What arrives before a line breaks is kept, unless it came with a checksum. A file that
    is not what it says, or does not match its hash, is refused and removed.
    """
    del person
    _require_version(tus_resumable)
    _require_piece(request)
    expected = _read_checksum(upload_checksum)
    uploads = service.uploads
    appending = uploads.appending(upload_id, upload_offset)
    try:
        async with contextmanager_in_threadpool(appending) as piece:
            await _take(request, piece, expected)
    except _ChecksumError as error:
        return problem_response(error, status=_MISMATCH, headers=_TUS)
    except ClientDisconnect:  # nobody hears the answer
        return Response(status_code=204)
    upload = await to_thread.run_sync(uploads.checked, upload_id)
    return Response(status_code=204, headers=_where(upload))


@router.delete(
    "/{upload_id}", status_code=204, responses={**told(404, changes=True), **_OTHER_VERSION}
)
def remove_upload(
    service: Serving, person: Writer, upload_id: UploadId, tus_resumable: Resumable = None
) -> Response:
    """Remove an upload; what was launched or registered from it stays."""
    del person
    _require_version(tus_resumable)
    service.uploads.remove(upload_id)
    return Response(status_code=204, headers=_TUS)


async def _take(request: Request, piece: Piece, expected: bytes | None) -> None:
    """Write a body as it comes; one with a checksum only once it is known to match.

    Raises:
        _ChecksumError: If it does not match; then nothing was written.
        TooSlowError: If it did not come to its end; what came is written.
        ClientDisconnect: Likewise.
    """
    pending = bytearray()
    try:
        async for part in request.stream():
            pending += part
            if expected is None and len(pending) >= _FLUSH_BYTES:
                full, pending = pending, bytearray()
                await to_thread.run_sync(piece.write, full)
    except (ClientDisconnect, TooSlowError):
        if expected is None:
            await to_thread.run_sync(piece.write, pending)
        raise
    if expected is not None and hashlib.sha256(pending).digest() != expected:
        raise _ChecksumError(
            "The body does not match its checksum.",
            fix="Send the same bytes again: they were changed on the way.",
        )
    await to_thread.run_sync(piece.write, pending)


def _where(upload: Upload) -> dict[str, str]:
    expires = formatdate(upload.expires_s, usegmt=True)
    return {**_TUS, "Upload-Offset": str(upload.offset), "Upload-Expires": expires}


def _require_version(asked: str | None) -> None:
    if asked not in {None, VERSION}:
        raise HTTPException(
            HTTPStatus.PRECONDITION_FAILED,
            f"Version {asked!r:.20} of tus is not spoken here.",
            headers={"Tus-Version": VERSION},
        )


def _require_piece(request: Request) -> None:
    kind = request.headers.get("content-type", "")
    if kind != _PIECE:
        raise UploadTypeError(
            f"The body is {kind!r:.100}.", fix=f"Send the bytes as Content-Type: {_PIECE}."
        )


def _read_metadata(text: str) -> Mapping[str, str]:
    """Read ``Upload-Metadata``.

    Raises:
        RequestError: If it is not as the protocol has it.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition(" ")
        try:
            found[name] = b64decode(value.encode("ascii"), validate=True).decode()
        except ValueError:  # also of Base64 and of UTF-8
            raise RequestError(
                f"Upload-Metadata holds {part.strip()!r:.100}.",
                fix="Write each value in Base64: filename YXBwLnppcA==,kind YXBw",
            ) from None
    return found


def _read_checksum(text: str | None) -> bytes | None:
    """Read ``Upload-Checksum``.

    Raises:
        RequestError: If it is no SHA-256 in Base64.
    """
    if text is None:
        return None
    algorithm, _, value = text.strip().partition(" ")
    try:
        found = b64decode(value.encode("ascii"), validate=True)
    except ValueError:
        found = b""
    if algorithm != "sha256" or len(found) != hashlib.sha256().digest_size:
        raise RequestError(
            f"Upload-Checksum is {text!r:.100}.",
            fix="Write sha256, a space, and the hash of the body in Base64.",
        )
    return found
