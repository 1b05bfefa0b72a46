"""Steering: a wish to a running run, and all that was wished of it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import RootModel

from flip_lab.api.documents import told
from flip_lab.api.paging import USUAL, Cursor, Limit, RunId, page_of, start_of
from flip_lab.api.replies import reply, state
from flip_lab.api.schemas.base import Page
from flip_lab.api.schemas.commands import (
    BreakWhen,
    Choose,
    Clear,
    CommandAsked,
    CommandTaken,
    Plain,
    Set,
    SetPolicy,
    Step,
    StopWhen,
)
from flip_lab.api.schemas.tables import row_schema, rows_of
from flip_lab.api.service import Reader, Serving, Writer
from flip_lab.core.taken import Taken
from flip_lab.runs.fact_pages import fact_page
from flip_lab.runs.run import Run

router = APIRouter(prefix="/runs/{run_id}/commands", tags=["commands"])

CommandRow = row_schema("commands", "CommandRow")
"""A row of the table `commands`."""


class Wish(RootModel[CommandAsked]):
    """One wish; `command` says which."""


@router.post("", response_model=CommandTaken, responses=told(404, 409, changes=True))
def command_run(service: Serving, person: Writer, run_id: RunId, asked: Wish) -> Response:
    """Ask a running run for something; it is answered once that is on record.

    A run that is starting takes it later: then `is_taken` is false.
    """
    del person
    wish = asked.root
    taken = _carried_out(service.run(run_id, exactly=True), wish)
    body = {"id": None, "command": wish.command, "is_taken": True, "from_round": None}
    if taken is not None:
        body |= {
            "id": taken.id,
            "is_taken": taken.is_taken,
            "from_round": taken.from_round,
        }
    return reply(body)


@router.get("", response_model=Page[CommandRow], responses=told(304, 404))
def list_commands(  # what every list takes
    request: Request,
    service: Serving,
    person: Reader,
    run_id: RunId,
    *,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List what a run was asked to do, oldest first; refusals, too."""
    del person
    run = service.run(run_id)
    question = ["commands", run.run_id]
    start = start_of(cursor, question)
    rows = fact_page(service.lab_dir, "commands", run.run_id, start=start, limit=limit + 1)
    found = rows_of("commands", rows)
    return state(request, page_of(found, limit, question, start=start))


def _carried_out(run: Run, wish: CommandAsked) -> Taken | None:
    match wish:
        case Plain():
            return _plainly(run, wish)
        case StopWhen() | BreakWhen() | Clear():
            return _by_rule(run, wish)
        case Step():
            return run.step(wish.num_rounds)
        case Set():
            return run.set(wish.values)  # pyright: ignore[reportArgumentType]  # a list is refused by the run, with a reason
        case SetPolicy():
            return run.set_policy(**wish.changes.model_dump(exclude_unset=True))
        case Choose():
            choose = run.exclude if wish.command == "exclude" else run.include
            return choose(*wish.nodes)


def _plainly(run: Run, wish: Plain) -> Taken | None:
    if wish.command == "pause":
        return run.pause()
    if wish.command == "resume":
        return run.resume()
    run.stop()
    return None


def _by_rule(run: Run, wish: StopWhen | BreakWhen | Clear) -> Taken:
    if isinstance(wish, BreakWhen):
        return run.break_when(wish.condition)
    if isinstance(wish, Clear):
        return run.clear(*wish.ids)
    rule = wish.rule()
    del rule["command"]
    return run.stop_when(rule.pop("condition", None), **rule)
