"""Runs: the list, one whole, launching, forking, taking up, labelling, deleting."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from fastapi import APIRouter, Query, Request, Response

from flip_lab.api.documents import told
from flip_lab.api.etags import is_known, require_fresh, tag_of
from flip_lab.api.idempotency import IdempotencyKey, Once, launch_once
from flip_lab.api.keeping import OfRuns
from flip_lab.api.launching import asked_fork, asked_launch
from flip_lab.api.listing import Choice, place_in_list
from flip_lab.api.paging import USUAL, Cursor, Limit, RunId, cursor_at, place_of
from flip_lab.api.replies import JSON, state, tagged, to_json
from flip_lab.api.schemas.launches import ForkAsked, Launch, Resumption
from flip_lab.api.schemas.runs import RunChange, RunPage, WholeRun
from flip_lab.api.service import Reader, Service, Serving, Writer
from flip_lab.api.whole_run import whole_run
from flip_lab.core.clock import tick_s
from flip_lab.runs.labelling import Relabelling, relabel_run
from flip_lab.runs.requests import fork_requested, launch_requested
from flip_lab.runs.trash import delete_runs

router = APIRouter(prefix="/runs", tags=["runs"], route_class=OfRuns)

States: TypeAlias = Annotated[
    list[
        Literal[
            "pending", "starting", "running", "paused", "completed", "failed", "stopped"
        ]
    ]
    | None,
    Query(
        alias="state", description="Only runs in this state; may be given several times."
    ),
]

Experiment: TypeAlias = Annotated[
    str | None, Query(description="Only runs of this experiment.")
]
Sweep: TypeAlias = Annotated[str | None, Query(description="Only runs of this sweep.")]
Tags: TypeAlias = Annotated[
    list[str] | None,
    Query(description="Only runs with this tag; given several times: with all of them."),
]
Words: TypeAlias = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Only runs with each of these words in their id, name, experiment, "
        "sweep, tags or note; upper and lower case are one.",
    ),
]
Archived: TypeAlias = Annotated[
    bool, Query(description="Whether archived runs are listed, too.")
]

_PATIENCE_S = 2.0
_PAUSE_S = 0.02


@router.get("", response_model=RunPage, responses=told(304))
def list_runs(  # noqa: PLR0913  # one parameter for each thing to choose by
    request: Request,
    service: Serving,
    person: Reader,
    *,
    states: States = None,
    experiment: Experiment = None,
    sweep: Sweep = None,
    tag: Tags = None,
    q: Words = None,
    archived: Archived = False,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List runs, newest first."""
    del person
    choice = Choice(
        states=tuple(states or ()),
        experiment=experiment,
        sweep=sweep,
        tags=tuple(tag or ()),
        words=tuple((q or "").split()),
        archived=archived,
    )
    after = None
    if cursor is not None:
        after = tuple(place_of(cursor, choice.question, kinds=(str, str)))
    position, rows = service.roster.position, service.roster.rows
    # The answer is the same as long as the position is: nothing need be looked at.
    mark = tag_of(orjson.dumps([choice.question, limit, cursor, position]))
    if is_known(request, mark):
        return tagged(request, b"", media_type=JSON, tag=mark)
    found = [
        row
        for row in rows
        if (after is None or place_in_list(row) < after) and choice.fits(row)
    ]
    page, following = found[:limit], None
    if len(found) > limit:
        following = cursor_at(choice.question, place_in_list(page[-1]))
    body = {"items": page, "next_cursor": following, "position": position}
    return tagged(request, orjson.dumps(body), media_type=JSON, tag=mark)  # rows are plain


@router.post(
    "",
    status_code=201,
    response_model=WholeRun,
    responses=told(404, 409, 501, changes=True),
)
def launch_run(
    service: Serving, person: Writer, asked: Launch, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start a run in a process of its own; it outlives this server."""
    once = Once(
        person=person.name, key=idempotency_key, asked=["launch", asked.model_dump()]
    )
    run_id, was_there = launch_once(
        service.lab_dir,
        once,
        lambda run_id: launch_requested(
            service.lab_dir, asked_launch(service, asked, run_id)
        ),
    )
    return _launched(service, run_id, was_there=was_there, location=f"runs/{run_id}")


@router.get("/{run_id}", response_model=WholeRun, responses=told(304, 404))
def show_run(request: Request, service: Serving, person: Reader, run_id: RunId) -> Response:
    """Give one run whole."""
    del person
    return state(request, whole_run(service, service.run(run_id)))


@router.patch("/{run_id}", response_model=WholeRun, responses=told(404, 412, changes=True))
def change_run(
    request: Request, service: Serving, person: Writer, run_id: RunId, asked: RunChange
) -> Response:
    """Say something else about a run: its tags, its note, whether it is archived."""
    del person
    run = service.run(run_id, exactly=True)

    def check() -> None:
        if "if-match" in request.headers:
            require_fresh(request, tag_of(to_json(whole_run(service, run))))

    wanted = Relabelling(tags=asked.tags, note=asked.note, is_archived=asked.is_archived)
    relabel_run(service.lab_dir, run.run_id, wanted, check=check)
    return _changed(service, run.run_id)


@router.delete("/{run_id}", status_code=204, responses=told(404, 409, 412, changes=True))
def delete_run(
    request: Request, service: Serving, person: Writer, run_id: RunId
) -> Response:
    """Put a run that has ended into the trash; `undo` in the lab takes it out."""
    del person
    run = service.run(run_id, exactly=True)
    if "if-match" in request.headers:
        require_fresh(request, tag_of(to_json(whole_run(service, run))))
    delete_runs(service.lab_dir, [run.run_id])
    _settle(service, run.run_id, is_there=False)
    return Response(status_code=204)


@router.post(
    "/{run_id}/fork",
    status_code=201,
    response_model=WholeRun,
    responses=told(404, 409, 501, changes=True),
)
def fork_run(
    service: Serving,
    person: Writer,
    run_id: RunId,
    asked: ForkAsked,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Launch a new run that goes on from a checkpoint of this one."""
    parent = service.run(run_id, exactly=True)
    once = Once(
        person=person.name,
        key=idempotency_key,
        asked=["fork", parent.run_id, asked.model_dump()],
    )
    fork_id, was_there = launch_once(
        service.lab_dir,
        once,
        lambda fork_id: fork_requested(
            service.lab_dir, parent.spec, asked_fork(asked, fork_id)
        ),
    )
    return _launched(service, fork_id, was_there=was_there, location=f"../{fork_id}")


@router.post(
    "/{run_id}/resume",
    response_model=WholeRun,
    responses=told(404, 409, 501, changes=True),
)
def resume_run(
    service: Serving, person: Writer, run_id: RunId, asked: Resumption
) -> Response:
    """Go on with a run that failed or was stopped, from its newest checkpoint."""
    del person
    run = service.run(run_id, exactly=True)
    run.resume_from_checkpoint(on=asked.on, workers=asked.workers)
    return _changed(service, run.run_id)


def _launched(
    service: Service, run_id: RunId, *, was_there: bool, location: str
) -> Response:
    """Tell of a run that was launched, once lists show it."""
    run = service.run(run_id)
    _settle(service, run_id, is_there=True)
    headers = {"Location": location}
    if was_there:
        headers["Idempotent-Replayed"] = "true"
    return _told(whole_run(service, run), 201, headers)


def _changed(service: Service, run_id: RunId) -> Response:
    return _told(whole_run(service, service.run(run_id)), 200, {})


def _told(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    content = to_json(body)
    return Response(
        content, status, headers={**headers, "ETag": tag_of(content)}, media_type=JSON
    )


def _settle(service: Service, run_id: RunId, *, is_there: bool) -> None:
    """Wait until lists say what was done; they follow the lab ten times a second."""
    end_s = tick_s() + _PATIENCE_S
    while service.roster.is_following and tick_s() < end_s:
        if (service.roster.row(run_id) is not None) is is_there:
            return
        time.sleep(_PAUSE_S)
