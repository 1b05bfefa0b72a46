"""The app: every route under ``<prefix>/v1``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio import to_thread
from fastapi import APIRouter, FastAPI

import flip_lab
from flip_lab.api import idempotency
from flip_lab.api.access import Access
from flip_lab.api.documents import DESCRIPTION, finish
from flip_lab.api.limits import Doorman, Limits
from flip_lab.api.live.hub import Hub
from flip_lab.api.live.roster import Roster
from flip_lab.api.live.shelf import EventShelf
from flip_lab.api.live.states import States
from flip_lab.api.live.telemetry import Telemetry
from flip_lab.api.live.timing import Timing
from flip_lab.api.problems import tell_problems
from flip_lab.api.routes import (
    about,
    alerts,
    boards,
    commands,
    facts,
    files,
    frames,
    groups,
    live,
    models,
    packs,
    places,
    runs,
    scenarios,
    sql,
    telemetry,
    ui,
    uploads,
)
from flip_lab.api.service import Service
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

_ROUTERS: tuple[APIRouter, ...] = (
    about.router,
    scenarios.router,
    runs.router,
    commands.router,
    facts.router,
    files.router,
    packs.router,
    groups.router,
    places.router,
    alerts.router,
    models.router,
    uploads.router,
    sql.router,
    frames.router,
    live.router,
    telemetry.router,
    boards.router,
    ui.router,
)


def create_app(
    lab: Lab,
    access: Access,
    *,
    prefix: str = "/flip",
    limits: Limits | None = None,
    own_federation: str = "",
) -> FastAPI:
    """Make the app that serves a lab.

    Args:
        lab: The lab.
        access: Says who asks.
        prefix: What paths begin with, before ``/v1``; empty where a proxy takes it off.
        limits: What is not let in; default: what a server on loopback needs.
        own_federation: What a hub's own lab calls the hub; empty for other labs.
    """
    limits = limits or Limits()
    roster = Roster(lab)
    place = LabDir(lab.path)
    hub = Hub(place, roster)
    service = Service(
        lab=lab,
        access=access,
        roster=roster,
        hub=hub,
        telemetry=Telemetry(roster, hub),
        states=States(place, roster),
        events=EventShelf(place),
        largest_upload_bytes=limits.file_bytes,
        own_federation=own_federation,
    )
    app = FastAPI(
        title="FLIP Lab",
        summary="Federated-learning research: launch, watch, steer and compare runs.",
        description=DESCRIPTION,
        version=flip_lab.__version__,
        openapi_url=f"{prefix}/v1/openapi.json",
        docs_url=None,  # the pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=_alive(service),
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    tell_problems(app)
    for router in _ROUTERS:
        app.include_router(router, prefix=f"{prefix}/v1")
    app.add_middleware(Doorman, limits=limits)
    app.add_middleware(Timing, telemetry=service.telemetry, prefix=f"{prefix}/v1")
    app.openapi = finish(app.openapi)
    return app


def _alive(
    service: Service,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Follow the lab while the app is up."""

    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncGenerator[None]:
        await to_thread.run_sync(service.roster.start)
        await to_thread.run_sync(idempotency.sweep, service.lab_dir)
        await to_thread.run_sync(service.uploads.sweep)
        try:
            yield
        finally:
            await to_thread.run_sync(service.roster.stop)

    return alive
