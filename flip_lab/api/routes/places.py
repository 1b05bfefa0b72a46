"""Where runs happen: engines, federations, and the nodes that took part."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from flip_lab.api.documents import told
from flip_lab.api.paging import USUAL, Cursor, Limit, page_of, start_of
from flip_lab.api.replies import state
from flip_lab.api.schemas.base import Number, Page
from flip_lab.api.service import Reader, Serving
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.federations import federation_names, load_federation
from flip_lab.runs.nodes import node_page

router = APIRouter(tags=["places"])

OfRun: TypeAlias = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Only nodes of this run; by default those of runs under way.",
    ),
]


class PlaceRow(BaseModel):
    """Where a run can happen.

    Attributes:
        name: What `on` says.
        kind: `engine` (simulated on this machine) or `federation` (real nodes).
        address: Host and port of the federation's SuperLink.
        is_secure: Whether the federation names whom it trusts.
    """

    name: str
    kind: Literal["engine", "federation"]
    address: str | None
    is_secure: bool | None


class Places(BaseModel):
    """Where runs can happen: engines first.

    Attributes:
        items: The places.
    """

    items: list[PlaceRow]


class NodeRow(BaseModel):
    """What is known of a node in a run.

    Attributes:
        run_id: The run.
        node_id: The node's id; differs between engines.
        partition_id: Its slice of the data; -1 if unknown.
        num_rounds: Rounds that it took part in.
        last_round: The last of them.
        num_replies: Replies that it gave, all phases.
        num_failed: How often it failed.
        num_examples: Examples of its newest training reply, or of its newest reply.
        mean_duration_s: How long it takes on average.
        bytes_down: Sent to it.
        bytes_up: Received from it.
        last_seen_at: When it replied last.
        last_error: What it raised last; empty if it never failed.
    """

    run_id: str
    node_id: int
    partition_id: int
    num_rounds: int
    last_round: int
    num_replies: int
    num_failed: int
    num_examples: Number
    mean_duration_s: Number
    bytes_down: int
    bytes_up: int
    last_seen_at: datetime
    last_error: str


@router.get("/federations", response_model=Places, responses=told(304))
def list_federations(request: Request, service: Serving, person: Reader) -> Response:
    """List where runs can happen: the engines, and the federations of `flip-lab.toml`."""
    del person
    engines = [_place(name, "engine") for name in ENGINES.names()]
    found: dict[str, dict[str, Any]] = {}
    for directory in (Path.cwd(), service.lab.path):  # as a launch looks for them
        for name in federation_names(directory):
            found.setdefault(name, _federation(name, directory))
    federations = [found[name] for name in sorted(found)]
    return state(request, {"items": [*engines, *federations]})


@router.get("/nodes", response_model=Page[NodeRow], responses=told(304, 404))
def list_nodes(  # what every list takes
    request: Request,
    service: Serving,
    person: Reader,
    *,
    run_id: OfRun = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List nodes with what they did; those of one run, or of all runs under way."""
    del person
    under_way = [r["run_id"] for r in service.roster.rows if r["state"] in _UNDER_WAY]
    run_ids = under_way if run_id is None else [service.run(run_id).run_id]
    question = ["nodes", run_id]
    start = start_of(cursor, question)
    rows = node_page(service.lab_dir, run_ids, start=start, limit=limit + 1)
    return state(request, page_of(rows, limit, question, start=start))


_UNDER_WAY = frozenset({"starting", "running", "paused"})


def _federation(name: str, here: Path) -> dict[str, Any]:
    config = load_federation(name, here)
    place = _place(name, "federation")
    is_secure = config.root_certificates is not None
    return {**place, "address": config.address, "is_secure": is_secure}


def _place(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "address": None, "is_secure": None}
