"""What a run leaves to read: its log, the files that it keeps, its report.

All of it may hold whatever an app wrote, so none of it may act in a page of ours: it comes
as an attachment, or in a sandbox of its own.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from flip_lab.api.documents import content, told
from flip_lab.api.etags import is_known
from flip_lab.api.paging import USUAL, Cursor, Limit, RunId, page_of, start_of
from flip_lab.api.problems import problem_response
from flip_lab.api.replies import state, tagged
from flip_lab.api.schemas.base import Page
from flip_lab.api.schemas.tables import row_schema, rows_of
from flip_lab.api.service import Reader, Serving
from flip_lab.core.errors import RequestError
from flip_lab.runs.artifacts import kept_file
from flip_lab.runs.fact_pages import fact_page
from flip_lab.runs.report import report_html
from flip_lab.runs.report_page import ReportTheme
from flip_lab.store.blobs import Blobs

router = APIRouter(prefix="/runs/{run_id}", tags=["files"])

ArtifactRow = row_schema("artifacts", "ArtifactRow")

Tail: TypeAlias = Annotated[
    int, Query(ge=0, le=100_000, description="Only so many last lines.")
]
FileName: TypeAlias = Annotated[
    str,
    Path(
        description="What the run calls the file, or the SHA-256 of a logged image.",
        max_length=400,
    ),
]
For: TypeAlias = Annotated[
    ReportTheme, Query(description="`auto` looks as the reader's device does.")
]

_RANGE = re.compile(r"(\d*)-(\d*)")
_RANGES = re.compile(
    r"bytes=(\d{1,18}-\d{0,18}|-\d{1,18})(, *(\d{1,18}-\d{0,18}|-\d{1,18})){0,15}"
)
_KIND = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_BYTES = "application/octet-stream"
_QUIET = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_REPORT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data: blob:; sandbox allow-scripts "
    "allow-downloads allow-modals",
}


@router.get(
    "/log",
    response_class=Response,
    responses={200: content("text/plain"), **told(304, 404)},
)
def show_log(
    request: Request, service: Serving, person: Reader, run_id: RunId, tail: Tail = 1000
) -> Response:
    """Give what a run's processes printed: its last lines."""
    del person
    text = service.run(run_id).logs(tail=tail)
    kind = "text/plain; charset=utf-8"
    return tagged(request, text.encode(), media_type=kind, headers=_QUIET)


@router.get("/artifacts", response_model=Page[ArtifactRow], responses=told(304, 404))
def list_artifacts(
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List the files that a run keeps; `model` is its final model."""
    del person
    run = service.run(run_id)
    question = ["artifacts", run.run_id]
    start = start_of(cursor, question)
    rows = fact_page(service.lab_dir, "artifacts", run.run_id, start=start, limit=limit + 1)
    found = rows_of("artifacts", rows)
    return state(request, page_of(found, limit, question, start=start))


@router.get(
    "/artifacts/{name:path}",
    response_class=Response,
    responses={
        200: content("*/*", type="string", format="binary"),
        206: {
            "description": "The bytes that `Range` asks for.",
            **content("*/*", type="string", format="binary"),
        },
        **told(304, 404, 416),
    },
)
def show_artifact(
    request: Request, service: Serving, person: Reader, run_id: RunId, name: FileName
) -> Response:
    """Give a kept file, compared with its hash; ranges are understood.

    Its `ETag` is its SHA-256.
    """
    del person
    run = service.run(run_id)
    kept = kept_file(service.lab_dir, run.run_id, name)
    tag = f'"{kept.sha256}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **_QUIET}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    path = Blobs(service.lab_dir).check(kept.sha256)
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
    kind = kept.media_type or _BYTES
    return FileResponse(
        path,
        headers=headers,
        media_type=kind if _KIND.fullmatch(kind) else _BYTES,
        filename=name.rpartition("/")[2] or "file",
        content_disposition_type="inline" if kind in _SHOWN else "attachment",
    )


@router.get(
    "/report",
    response_class=Response,
    responses={200: content("text/html"), **told(304, 404)},
)
def show_report(
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    theme: For = "auto",
) -> Response:
    """Give what is known of a run as one page to read, print and send."""
    del person
    run = service.run(run_id)
    text = report_html(service.lab_dir, [run.run_id], theme=theme)
    kind = "text/html; charset=utf-8"
    return tagged(request, text.encode(), media_type=kind, headers=_REPORT)


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
