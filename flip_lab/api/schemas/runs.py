"""Runs: rows of the list, one whole, and what people change about one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from flip_lab.api.schemas.base import Asked, Number
from flip_lab.api.schemas.launches import Name, Note
from flip_lab.api.schemas.tables import row_schema


class HeadlineMetric(BaseModel):
    """A run's most telling metric.

    Attributes:
        name: The metric.
        value: Its newest value.
    """

    name: str
    value: Number


class ListedRun(BaseModel):
    """What a list shows of a run: columns of the table `runs`, and two more.

    Attributes:
        run_id: The run.
        name: The name it was launched under.
        kind: What was launched: `scenario`, `app` or `notebook`; or `imported`.
        experiment: What it belongs to.
        sweep: The sweep that it was launched in.
        tags: Its tags, sorted.
        note: What was noted about it last.
        is_archived: Whether it is put away.
        state: Where it stands.
        engine: Where it ran.
        federation: The federation it ran on.
        seed: Every random draw derives from it.
        num_rounds: Rounds asked for; null until an app has said.
        rounds_done: The last round that ended.
        num_nodes: Nodes simulated, or waited for.
        created_at: When it was launched.
        started_at: When its process began.
        ended_at: When it ended.
        parent_run_id: The run that it was forked from.
        forked_at_round: The parent's round it goes on from.
        error_code: Code of the error that ended a failed run.
        error: What went wrong in a failed run.
        headline: Its most telling metric; null before the first.
        fraction: Share of its work that is done, 0 to 1; null while unknown.
    """

    run_id: str
    name: str
    kind: str
    experiment: str
    sweep: str | None
    tags: list[str]
    note: str
    is_archived: bool
    state: Literal[
        "pending", "starting", "running", "paused", "completed", "failed", "stopped"
    ]
    engine: str
    federation: str | None
    seed: int
    num_rounds: int | None
    rounds_done: int
    num_nodes: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    parent_run_id: str | None
    forked_at_round: int | None
    error_code: str | None
    error: str | None
    headline: HeadlineMetric | None
    fraction: float | None


class RunPage(BaseModel):
    """A part of the list of runs, newest first.

    Attributes:
        items: The runs.
        next_cursor: What `cursor` says to go on; null at the end.
        position: Where the list stands: `/live?after=` follows it from there.
    """

    items: list[ListedRun]
    next_cursor: str | None
    position: int


class CheckpointKept(BaseModel):
    """A round that the run can be forked or taken up from.

    Attributes:
        server_round: The round.
        created_at: When it was written.
        size_bytes: What it takes.
    """

    server_round: int
    created_at: datetime
    size_bytes: int


WholeRun = row_schema(
    "runs",
    "WholeRun",
    more={
        "metrics": Annotated[
            dict[str, Number], Field(description="The newest value of each metric.")
        ],
        "run_config": Annotated[
            dict[str, Any], Field(description="Flower's run configuration.")
        ],
        "checkpoints": Annotated[
            list[CheckpointKept],
            Field(description="Where it can be forked or taken up, oldest first."),
        ],
        "forks": Annotated[
            list[str], Field(description="Ids of the runs that were forked from it.")
        ],
    },
)
"""One run: the columns of the table `runs`, and what else belongs to it."""


class RunChange(Asked):
    """What people say about a run; what is left out stays.

    Attributes:
        tags: All its tags from now on.
        note: Its note from now on; an empty one takes it away.
        is_archived: Whether it is put away.
    """

    tags: list[Name] | None = Field(default=None, max_length=100)
    note: Note | None = None
    is_archived: bool | None = None
