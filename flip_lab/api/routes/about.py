"""Whether the API is there, and what it serves."""

from __future__ import annotations

import tempfile
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

import flip_lab
from flip_lab.api.access import Scope
from flip_lab.api.documents import told
from flip_lab.api.replies import reply
from flip_lab.api.service import Reader, Serving
from flip_lab.store.layout import explained

router = APIRouter(tags=["about"])


class Health(BaseModel):
    """The process answers.

    Attributes:
        status: `ok`.
    """

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The lab can be read and written, and its list of runs is known.

    Attributes:
        status: `ok`.
        num_runs: Runs in the list.
    """

    status: Literal["ok"] = "ok"
    num_runs: int


class About(BaseModel):
    """What is served.

    Attributes:
        version: Of FLIP Lab.
        api: Version of the API, as it stands in paths.
        lab: The lab's directory.
        person: Who asks, as the lab's log shows it.
        scopes: What they may do.
    """

    version: str
    api: Literal["v1"] = "v1"
    lab: str
    person: str
    scopes: list[Scope]


@router.get("/health", openapi_extra={"security": []})
def health() -> Health:
    """Say that the process answers; needs no token."""
    return Health()


@router.get(
    "/ready",
    response_model=Readiness,
    responses=told(507),
    openapi_extra={"security": []},
)
def ready(service: Serving) -> Response:
    """Say that runs can be launched here; needs no token."""
    with explained(service.lab.path), tempfile.TemporaryFile(dir=service.lab.path):
        pass  # only writing shows whether one may
    return reply({"status": "ok", "num_runs": len(service.roster.rows)})


@router.get("/about", response_model=About, responses=told())
def about(service: Serving, person: Reader) -> Response:
    """Say what is served, and to whom."""
    body = About(
        version=flip_lab.__version__,
        lab=str(service.lab.path),
        person=person.name,
        scopes=sorted(person.scopes),
    )
    return reply(body.model_dump())
