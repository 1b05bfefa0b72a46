"""The hub's own API, beside that of its lab: nodes, people, runs, deliveries."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

import flip_lab
from flip_lab.api.limits import Doorman, Limits
from flip_lab.api.problems import tell_problems
from flip_lab.hub.routes import about, deliveries, device, enrolments, nodes, tokens
from flip_lab.hub.service import HubService

PREFIX = "/flip/v1"

_ROUTERS: tuple[APIRouter, ...] = (
    about.router,
    nodes.router,
    enrolments.router,
    tokens.router,
    device.router,
    deliveries.router,
)


def create_hub_app(hub: HubService) -> FastAPI:
    """Make the app.

    Args:
        hub: What it serves.
    """
    app = FastAPI(
        title="FLIP Lab hub",
        summary="Nodes of a federation, who may drive them, and what is delivered to them.",
        version=flip_lab.__version__,
        openapi_url=f"{PREFIX}/hub/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.hub = hub
    tell_problems(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.add_middleware(Doorman, limits=Limits())
    return app
