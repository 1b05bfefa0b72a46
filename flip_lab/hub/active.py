"""An active hub: its parts put together, and what it does each second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from anyio import to_thread
from starlette.types import ASGIApp

from flip_lab.api.app import create_app
from flip_lab.api.limits import Limits
from flip_lab.core.clock import now_s, tick_s
from flip_lab.engines.flower.superlink_state import new_state
from flip_lab.hub import own_federation
from flip_lab.hub.access import HubAccess
from flip_lab.hub.admission import Admission
from flip_lab.hub.app import create_hub_app
from flip_lab.hub.bells import Bells
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.deliveries_owed import carry_out_wishes
from flip_lab.hub.driver_door import DriverDoor
from flip_lab.hub.fleet_door import FleetDoor
from flip_lab.hub.node_keys import NodeKeys
from flip_lab.hub.place import HubPlace
from flip_lab.hub.presence import Presence
from flip_lab.hub.service import HubService
from flip_lab.runs.lab import Lab

_LOG = logging.getLogger(__name__)
_TICK_S = 1.0
_SAVE_S = 15.0
_AGAIN_S = 30.0
_FORGOTTEN = "the hub was started again"


@dataclass(frozen=True, kw_only=True)
class ActiveHub:
    """The apps behind the doors of an active hub.

    Attributes:
        service: Its parts.
        fleet: ``/v1/fleet``.
        drivers: ``/v1/control`` and ``/v1/runtime``.
        own: ``/flip/v1/hub`` and ``/flip/v1/device``.
        lab: All else of ``/flip/v1``.
        admission: Counts wrong keys and tokens.
    """

    service: HubService
    fleet: ASGIApp
    drivers: ASGIApp
    own: ASGIApp
    lab: ASGIApp
    admission: Admission


@asynccontextmanager
async def active_hub(place: HubPlace) -> AsyncGenerator[ActiveHub]:
    """Be the active hub of a directory; whoever calls holds its lock.

    Args:
        place: The directory.

    Raises:
        HubStateError: If it is not set up, or is damaged.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        service = await to_thread.run_sync(_service, place, Bells(loop))
        stack.callback(service.database.close)
        lab_app = create_app(
            service.lab,
            service.access,
            limits=Limits(hosts=None),  # any name that the certificate stands for will do
            own_federation=own_federation.NAME,
        )
        await stack.enter_async_context(lab_app.router.lifespan_context(lab_app))
        admission = Admission()
        state, bells = service.state, service.bells
        hub = ActiveHub(
            service=service,
            fleet=FleetDoor(
                state=state,
                keys=service.keys,
                presence=service.presence,
                bells=bells,
                admission=admission,
            ),
            drivers=DriverDoor(
                state=state,
                access=service.access,
                runs=service.database.runs,
                bells=bells,
                admission=admission,
            ),
            own=create_hub_app(service),
            lab=lab_app,
            admission=admission,
        )
        ticking = asyncio.create_task(_keep(service))
        stack.push_async_callback(_stop, ticking, service)
        yield hub


def _service(place: HubPlace, bells: Bells) -> HubService:
    database = HubDatabase(place)
    state = new_state(bells)
    service = HubService(
        place=place,
        settings=place.settings(),
        database=database,
        lab=Lab(place.lab),
        access=HubAccess(database.tokens),
        state=state,
        keys=NodeKeys(),
        presence=Presence(state),
        bells=bells,
        started_s=now_s(),
    )
    database.runs.end_all(_FORGOTTEN)
    service.learn_nodes()
    return service


async def _keep(service: HubService) -> None:
    """Look after things while the hub is up."""
    keeper = _Keeper(service)
    while True:
        await asyncio.sleep(_TICK_S)
        try:
            await to_thread.run_sync(keeper.tick)
        except Exception:  # noqa: BLE001  # a full disk now must not be the end of it
            _LOG.exception("The hub could not look after its nodes and runs.")


async def _stop(ticking: asyncio.Task[None], service: HubService) -> None:
    ticking.cancel()
    await asyncio.wait({ticking})
    await to_thread.run_sync(_Keeper(service).save)


class _Keeper:
    """What is looked after; one call at a time."""

    def __init__(self, service: HubService) -> None:
        self._service = service
        self._changes: int | None = None  # what came before the first look counts, too
        self._ended = set[int]()
        self._carried_out: tuple[int, int] | None = None
        self._carry_out_at = 0.0
        self._save_at = tick_s() + _SAVE_S

    def tick(self) -> None:
        """Notice lost nodes, ended runs, who came or went, and what is theirs then."""
        service = self._service
        service.presence.tick()
        self._ended.update(service.state.sweep())  # which names each of them once
        changes = service.database.nodes.changes()
        if changes != self._changes:
            service.learn_nodes()
            self._changes = changes
        self._write_ends()
        if tick_s() >= self._save_at:
            self._save_at = tick_s() + _SAVE_S
            self.save()
        self._carry_out((changes, service.database.deliveries.last()))

    def _write_ends(self) -> None:
        """Keep how runs ended; those that cannot be written down now are next time."""
        service = self._service
        for run_id in sorted(self._ended):
            service.database.runs.ended(run_id, service.state.outcome(run_id))
            service.bells.forget(("run", run_id))
            self._ended.discard(run_id)

    def _carry_out(self, seen: tuple[int, int]) -> None:
        """Deliver to those who came, or were tagged, what is wished for such nodes."""
        if seen == self._carried_out or tick_s() < self._carry_out_at:
            return
        self._carry_out_at = tick_s() + _AGAIN_S  # a full disk is full for a while
        carry_out_wishes(self._service.place, self._service.database)
        self._carried_out, self._carry_out_at = seen, 0.0

    def save(self) -> None:
        """Keep when nodes were seen last."""
        seen = self._service.presence.unsaved()
        if seen:
            self._service.database.nodes.note_seen(seen)
