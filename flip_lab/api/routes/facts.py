"""What a run recorded: its events, and the tables that are readings of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from flip_lab.api.documents import told
from flip_lab.api.keeping import OfFacts
from flip_lab.api.live.ring import Written
from flip_lab.api.paging import MOST, USUAL, Cursor, Limit, RunId, page_of, start_of
from flip_lab.api.replies import JSON, state, tagged
from flip_lab.api.schemas.base import Body, Page
from flip_lab.api.schemas.tables import row_schema, rows_of
from flip_lab.api.service import Reader, Service, Serving
from flip_lab.core.events import EventKind
from flip_lab.runs.fact_pages import fact_page
from flip_lab.runs.facts import FactFilter

router = APIRouter(prefix="/runs/{run_id}", tags=["facts"], route_class=OfFacts)

After: TypeAlias = Annotated[
    int, Query(ge=-1, le=2**62, description="Only events behind this sequence.")
]
Names: TypeAlias = Annotated[
    list[str] | None,
    Query(max_length=100, description="Only these metrics; may be given several times."),
]
Phases: TypeAlias = Annotated[
    list[Literal["train", "evaluate", "query"]] | None,
    Query(description="Only these phases; may be given several times."),
]
Scopes: TypeAlias = Annotated[
    list[Literal["federated", "central", "server"]] | None,
    Query(description="Only these scopes; may be given several times."),
]
Rounds: TypeAlias = Annotated[
    list[Annotated[int, Query(ge=0, le=2**31 - 1)]] | None,
    Query(max_length=1000, description="Only these rounds; may be given several times."),
]
Partitions: TypeAlias = Annotated[
    list[Annotated[int, Query(ge=-1, le=2**31 - 1)]] | None,
    Query(max_length=1000, description="Only these; may be given several times."),
]
Kinds: TypeAlias = Annotated[
    list[EventKind] | None,
    Query(description="Only these kinds; may be given several times."),
]

MetricRow = row_schema("metrics", "MetricRow")
RoundRow = row_schema("rounds", "RoundRow")
ClientRow = row_schema("clients", "ClientRow")
ClientMetricRow = row_schema("client_metrics", "ClientMetricRow")
SettingRow = row_schema("settings", "SettingRow")


class Event(BaseModel):
    """One fact of a run.

    Attributes:
        sequence: Its position in the run, from 0 without a gap.
        time_s: When, seconds since the Unix epoch.
        server_round: Round; 0 is everything before the first.
        kind: Which fact it is.
        body: Its content; the keys depend on the kind.
    """

    sequence: int
    time_s: float
    server_round: int
    kind: EventKind
    body: Body


class Events(BaseModel):
    """Some events of a run, in order.

    Attributes:
        items: The events.
        reached: The last sequence that was looked at: send it as `after` to go on.
        is_more: Whether there are more already.
    """

    items: list[Event]
    reached: int
    is_more: bool


@router.get("/events", response_model=Events, responses=told(304, 404))
def list_events(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    after: After = -1,
    limit: Limit = MOST,
    kind: Kinds = None,
) -> Response:
    """Give events of a run in order, superseded ones, too."""
    del person
    run = service.run(run_id)
    events = service.events.after(run.run_id, after)
    found = [event for event in events if not kind or event.kind in kind]
    is_more = len(found) > limit
    found = found[:limit]
    reached = found[-1].sequence if is_more else max([after, *_last(events)])
    items = b",".join(event.text for event in found)
    more = b"true" if is_more else b"false"
    body = b'{"items":[%b],"reached":%d,"is_more":%b}' % (items, reached, more)
    return tagged(request, body, media_type=JSON)


def _last(events: list[Written]) -> list[int]:
    return [events[-1].sequence] if events else []


@router.get("/metrics", response_model=Page[MetricRow], responses=told(304, 404))
def list_metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    name: Names = None,
    phase: Phases = None,
    scope: Scopes = None,
    server_round: Rounds = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """Give numbers about the whole federation, in the order they were recorded."""
    del person
    facts = FactFilter(name=name, phase=phase, scope=scope, server_round=server_round)
    page = _paged(service, "metrics", run_id, facts)
    return state(request, page(limit, cursor))


@router.get("/rounds", response_model=Page[RoundRow], responses=told(304, 404))
def list_rounds(  # what every list takes
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """Give the rounds that began."""
    del person
    page = _paged(service, "rounds", run_id, FactFilter())
    return state(request, page(limit, cursor))


@router.get("/clients", response_model=Page[ClientRow], responses=told(304, 404))
def list_clients(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    phase: Phases = None,
    server_round: Rounds = None,
    partition_id: Partitions = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """Give what each client did in each phase of each round."""
    del person
    facts = FactFilter(phase=phase, server_round=server_round, partition_id=partition_id)
    page = _paged(service, "clients", run_id, facts)
    return state(request, page(limit, cursor))


@router.get(
    "/client-metrics", response_model=Page[ClientMetricRow], responses=told(304, 404)
)
def list_client_metrics(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    name: Names = None,
    phase: Phases = None,
    server_round: Rounds = None,
    partition_id: Partitions = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """Give the numbers that clients reported, one a row."""
    del person
    facts = FactFilter(
        name=name, phase=phase, server_round=server_round, partition_id=partition_id
    )
    page = _paged(service, "client_metrics", run_id, facts)
    return state(request, page(limit, cursor))


@router.get("/settings", response_model=Page[SettingRow], responses=told(304, 404))
def list_settings(  # what every list takes
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """Give the settings, each from the round on that it holds for."""
    del person
    page = _paged(service, "settings", run_id, FactFilter())
    return state(request, page(limit, cursor))


def _paged(
    service: Service, table: str, run_id: RunId, facts: FactFilter
) -> Callable[[int, str | None], dict[str, Any]]:
    """Give what reads a page of a table about one run."""
    run = service.run(run_id)
    question = [table, run.run_id, repr(facts)]

    def page(limit: int, cursor: str | None) -> dict[str, Any]:
        start = start_of(cursor, question)
        rows = fact_page(
            service.lab_dir,
            table,
            run.run_id,
            facts=facts,
            start=start,
            limit=limit + 1,
        )
        return page_of(rows_of(table, rows), limit, question, start=start)

    return page
