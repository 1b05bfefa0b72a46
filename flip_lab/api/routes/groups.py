"""What runs belong to: experiments and sweeps."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Request, Response

from flip_lab.api.documents import told
from flip_lab.api.keeping import OfRuns
from flip_lab.api.paging import USUAL, Cursor, Limit, page_of, start_of
from flip_lab.api.replies import state
from flip_lab.api.schemas.base import Page
from flip_lab.api.schemas.tables import row_schema
from flip_lab.api.service import Reader, Service, Serving
from flip_lab.core.errors import NoSuchPlaceError, nearest
from flip_lab.store import query

router = APIRouter(tags=["groups"], route_class=OfRuns)

ExperimentRow = row_schema("experiments", "ExperimentRow")
SweepRow = row_schema("sweeps", "SweepRow")
WholeSweep = row_schema("sweeps", "WholeSweep", more={"run_ids": list[str]})

SweepName: TypeAlias = Annotated[str, Path(description="The sweep's name.")]


@router.get("/experiments", response_model=Page[ExperimentRow], responses=told(304))
def list_experiments(
    request: Request,
    service: Serving,
    person: Reader,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List the experiments, the one with the newest run first."""
    del person
    return state(request, _page(service, "experiments", limit, cursor))


@router.get("/sweeps", response_model=Page[SweepRow], responses=told(304))
def list_sweeps(
    request: Request,
    service: Serving,
    person: Reader,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List the sweeps, the one with the newest run first."""
    del person
    return state(request, _page(service, "sweeps", limit, cursor))


@router.get("/sweeps/{name:path}", response_model=WholeSweep, responses=told(304, 404))
def show_sweep(
    request: Request, service: Serving, person: Reader, name: SweepName
) -> Response:
    """Give a sweep with the ids of its runs, oldest first."""
    del person
    lab = service.lab_dir
    rows = query.sql(lab, "FROM sweeps WHERE sweep = ?", [name], as_="rows")
    if not rows:
        known = query.sql(lab, "SELECT sweep FROM sweeps LIMIT 100", as_="rows")
        raise NoSuchPlaceError(
            f"There is no sweep {name!r}.", fix=nearest(name, [r["sweep"] for r in known])
        )
    runs = query.sql(
        lab,
        "SELECT run_id FROM runs WHERE sweep = ? ORDER BY created_at, run_id",
        [name],
        as_="rows",
    )
    return state(request, {**rows[0], "run_ids": [row["run_id"] for row in runs]})


def _page(service: Service, table: str, limit: int, cursor: str | None) -> dict[str, Any]:
    start = start_of(cursor, [table])
    name = table.removesuffix("s")
    rows = query.sql(
        service.lab_dir,
        f"FROM {table} ORDER BY last_at DESC, {name} LIMIT ? OFFSET ?",  # our own names
        [limit + 1, start],
        as_="rows",
    )
    return page_of(rows, limit, [table], start=start)
