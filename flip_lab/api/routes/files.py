"""What a run leaves to read: its log, the files that it keeps, its report.

All of it may hold whatever an app wrote, so none of it may act in a page of ours: it comes
as an attachment, or in a sandbox of its own.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response

from flip_lab.api.documents import content, told
from flip_lab.api.kept_files import BYTES_TOLD, QUIET, kept_response
from flip_lab.api.paging import USUAL, Cursor, Limit, RunId, page_of, start_of
from flip_lab.api.replies import state, tagged
from flip_lab.api.schemas.base import Page
from flip_lab.api.schemas.tables import row_schema, rows_of
from flip_lab.api.service import Reader, Serving
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
    return tagged(request, text.encode(), media_type=kind, headers=QUIET)


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
    responses={**BYTES_TOLD, **told(304, 404, 416)},
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
    return kept_response(
        request,
        Blobs(service.lab_dir),
        kept.sha256,
        media_type=kept.media_type,
        filename=name.rpartition("/")[2] or "file",
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
