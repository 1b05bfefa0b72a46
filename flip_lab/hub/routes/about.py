"""What this hub is, and which runs it has seen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

import flip_lab
from flip_lab.engines.flower.superlink_wire import FLOWER_VERSION
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import HubReader, TheHub

router = APIRouter(prefix="/hub", tags=["hub"], route_class=StrictRoute)


class HubAbout(BaseModel):
    """What a hub is, and who asks."""

    name: str
    address: str
    flip_lab: str
    flower: str
    started_s: float
    num_nodes: int
    num_online: int
    person: str
    scopes: list[str]


class HubRun(BaseModel):
    """One run that was started at the hub; ids of Flower's are 64-bit, so they are text."""

    flower_run_id: str
    run_id: str
    person: str
    is_detached: bool
    started_s: float
    ended_s: float | None
    outcome: str | None


@router.get("")
def about_hub(hub: TheHub, person: HubReader) -> HubAbout:
    """Say what this hub is, and what you may do here."""
    online = hub.presence.online()
    return HubAbout(
        name=hub.settings.name,
        address=hub.settings.address,
        flip_lab=flip_lab.__version__,
        flower=FLOWER_VERSION,
        started_s=hub.started_s,
        num_nodes=len(hub.database.nodes.list(with_revoked=False)),
        num_online=len(online),
        person=person.name,
        scopes=sorted(person.scopes),
    )


@router.get("/runs")
def hub_runs(
    hub: TheHub,
    person: HubReader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[HubRun]:
    """List the newest runs that were started here, the newest first."""
    del person
    return [
        HubRun(
            flower_run_id=str(run.flower_run_id),
            run_id=run.run_id,
            person=run.person,
            is_detached=run.is_detached,
            started_s=run.started_s,
            ended_s=run.ended_s,
            outcome=run.outcome,
        )
        for run in hub.database.runs.list(limit=limit)
    ]
