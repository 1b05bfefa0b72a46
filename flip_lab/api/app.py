"""The app: every route under ``<prefix>/v1``."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

import flip_lab
from flip_lab.api.access import Access
from flip_lab.api.problems import tell_problems
from flip_lab.api.routes import about, boards, frames, ui
from flip_lab.api.service import Service
from flip_lab.runs.lab import Lab

_ROUTERS: tuple[APIRouter, ...] = (about.router, frames.router, boards.router, ui.router)


def create_app(lab: Lab, access: Access, *, prefix: str = "/flip") -> FastAPI:
    """Make the app that serves a lab.

    Args:
        lab: The lab.
        access: Says who asks.
        prefix: What paths begin with, before ``/v1``; empty where a proxy takes it off.
    """
    app = FastAPI(
        title="FLIP Lab",
        version=flip_lab.__version__,
        openapi_url=f"{prefix}/v1/openapi.json",
        docs_url=None,  # the pages load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = Service(lab=lab, access=access)
    tell_problems(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=f"{prefix}/v1")
    return app
