"""What the server counts about itself."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from flip_lab.api.documents import content, told
from flip_lab.api.service import Reader, Serving

router = APIRouter(tags=["about"])


@router.get("/metrics", responses={200: content("text/plain"), **told()})
def metrics(service: Serving, person: Reader) -> Response:
    """Give what the server counts, for Prometheus: requests, subscribers, runs."""
    del person
    return Response(service.telemetry.text(), media_type=CONTENT_TYPE_LATEST)
