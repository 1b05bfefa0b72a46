"""An ended run whole, file by file: for a lab that shall have it, too."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from flip_lab.api.documents import told
from flip_lab.api.kept_files import BYTES_TOLD, QUIET, file_response
from flip_lab.api.paging import RunId
from flip_lab.api.replies import state, tagged
from flip_lab.api.service import Reader, Serving
from flip_lab.exchange.sealed import sha256_of
from flip_lab.runs.packed import EVENTS, as_json, events_bytes, packed_file, packed_run

router = APIRouter(prefix="/runs/{run_id}/pack", tags=["files"])

PackPath: TypeAlias = Annotated[
    str, Path(description="A `path` of the pack's list.", max_length=1000)
]


class PackFileRow(BaseModel):
    """One file of a packed run.

    Attributes:
        path: Its name in the pack.
        sha256: The hash of what it holds.
        size_bytes: Its length.
    """

    path: str
    sha256: str
    size_bytes: int


class PackedRunShown(BaseModel):
    """What an ended run is made of.

    Attributes:
        run_id: The run.
        spec: How it was asked for.
        tags: Its tags.
        note: What was noted about it last.
        files: `run/…` are its own files, `blobs/…` those that it keeps, and
            `events.jsonl.gz` has all its events.
    """

    run_id: str
    spec: dict[str, Any]
    tags: list[str]
    note: str
    files: list[PackFileRow]


@router.get("", response_model=PackedRunShown, responses=told(304, 404, 409))
def show_pack(
    request: Request, service: Serving, person: Reader, run_id: RunId
) -> Response:
    """List what an ended run is made of, with the hash of each file."""
    del person
    return state(request, as_json(packed_run(service.lab_dir, service.run(run_id))))


@router.get(
    "/{path:path}",
    response_class=Response,
    responses={**BYTES_TOLD, **told(304, 404, 416)},
)
def show_packed_file(
    request: Request, service: Serving, person: Reader, run_id: RunId, path: PackPath
) -> Response:
    """Give a file of a packed run; ranges are understood. Its `ETag` is its SHA-256."""
    del person
    run = service.run(run_id)
    if path == EVENTS:
        content = events_bytes(run.events())
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        kind = "application/gzip"
        return tagged(request, content, media_type=kind, tag=tag, headers=QUIET)
    found = packed_file(service.lab_dir, run, path)
    return file_response(
        request,
        found,
        sha256_of(found),
        media_type=None,
        filename=path.rpartition("/")[2] or "file",
    )
