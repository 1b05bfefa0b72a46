"""What somebody should look at."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from flip_lab.api.documents import told
from flip_lab.api.keeping import OfLab
from flip_lab.api.paging import USUAL, Cursor, Limit, page_of, start_of
from flip_lab.api.replies import state
from flip_lab.api.schemas.base import Page
from flip_lab.api.service import Reader, Serving
from flip_lab.runs.alerts import alert_page

router = APIRouter(prefix="/alerts", tags=["alerts"], route_class=OfLab)


class Alert(BaseModel):
    """A run that failed or was lost, or a warning.

    Attributes:
        time_at: When.
        run_id: The run.
        name: What it is called.
        experiment: What it belongs to.
        sequence: The warning's event; -1 for a failed run.
        level: `error` or `warning`.
        code: Such as `FLIP-303`; may be empty.
        message: What happened.
        server_round: In which round; 0 before the first.
    """

    time_at: datetime | None
    run_id: str
    name: str
    experiment: str
    sequence: int
    level: Literal["error", "warning"]
    code: str
    message: str
    server_round: int


@router.get("", response_model=Page[Alert], responses=told(304))
def list_alerts(
    request: Request,
    service: Serving,
    person: Reader,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List failed and lost runs and warnings, newest first; archived runs are left out."""
    del person
    question = ["alerts"]
    start = start_of(cursor, question)
    rows = alert_page(service.lab_dir, start=start, limit=limit + 1)
    return state(request, page_of(rows, limit, question, start=start))
