"""Whether the API is there, and what it serves."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

import flip_lab
from flip_lab.api.service import Reader, Serving

router = APIRouter(tags=["about"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class About(BaseModel):
    """What is served.

    Attributes:
        version: Of FLIP Lab.
        lab: The lab's directory.
        person: Who asks, as the lab's log shows it.
        scopes: What they may do.
    """

    version: str
    lab: str
    person: str
    scopes: list[str]


@router.get("/health")
def health() -> Health:
    """Say that the process answers; needs no token."""
    return Health()


@router.get("/about")
def about(service: Serving, person: Reader) -> About:
    """Say what is served, and to whom."""
    return About(
        version=flip_lab.__version__,
        lab=str(service.lab.path),
        person=person.name,
        scopes=sorted(person.scopes),
    )
