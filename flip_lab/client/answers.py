"""What the API answers, as frozen models; what they do not name is left out.

``tests/unit/client/test_contract.py`` holds them against ``docs/reference/openapi.json``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState

Item = TypeVar("Item")


class Answer(BaseModel):
    """Anything that the API answers; never changed, and open for a newer server's more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Page(Answer, Generic[Item]):
    """A part of a list.

    Attributes:
        items: The part.
        next_cursor: Where the next one begins; ``None`` after the last.
    """

    items: list[Item]
    next_cursor: str | None = None


class About(Answer):
    """What is served.

    Attributes:
        version: Of FLIP Lab there.
        api: Version of the API.
        lab: The lab's directory there.
        person: Who asks, as the lab's log shows it.
        scopes: What they may do: ``"read"``, ``"write"``; at a hub also ``"drive"``,
            ``"admin"``.
    """

    version: str
    api: Literal["v1"] = "v1"
    lab: str
    person: str
    scopes: list[str]


class Checkpoint(Answer):
    """A round that a run can be taken up or forked from.

    Attributes:
        server_round: The round that had just ended.
        created_at: When it was written.
        size_bytes: Bytes on the disk there.
    """

    server_round: int
    created_at: datetime
    size_bytes: int


class WholeRun(Answer):
    """A run with all that is said of it: columns of the table ``runs``, and more.

    Attributes:
        metrics: The newest value of each metric.
        run_config: Flower's run configuration.
        checkpoints: Where it can be taken up or forked, oldest first.
        forks: The runs that were forked from it.
    """

    run_id: str
    name: str
    kind: str
    experiment: str
    sweep: str | None
    tags: list[str]
    note: str
    is_archived: bool
    state: RunState
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
    workers: int
    scenario: dict[str, Any] | None
    model_sha256: str | None
    metrics: dict[str, float]
    run_config: dict[str, Any]
    checkpoints: list[Checkpoint]
    forks: list[str]


class Event(Answer):
    """One fact of a run, see ``flip_lab.core.events.RunEvent``."""

    sequence: int
    time_s: float
    server_round: int
    kind: EventKind
    body: dict[str, Any] = Field(default_factory=dict[str, Any])


class Events(Answer):
    """A part of a run's events.

    Attributes:
        items: In order.
        reached: The last sequence that was looked at.
        is_more: Whether there are more already.
    """

    items: list[Event]
    reached: int
    is_more: bool


class PackedFile(Answer):
    """One file of a packed run, see ``flip_lab.runs.packed``."""

    path: str
    sha256: str
    size_bytes: int


class PackedRun(Answer):
    """What an ended run is made of, see ``flip_lab.runs.packed``."""

    run_id: str
    spec: dict[str, Any]
    tags: list[str]
    note: str
    files: list[PackedFile]


class CommandTaken(Answer):
    """What became of a command, see ``flip_lab.core.taken.Taken``.

    Attributes:
        id: ``None`` where there was nothing to do.
    """

    id: str | None
    command: str
    is_taken: bool
    from_round: int | None


class FrameColumn(Answer):
    """A column: its name, and the type of its values in Arrow's words."""

    name: str
    type: str


class FrameAnswer(Answer):
    """A frame as JSON; times are texts, maps are objects."""

    columns: list[FrameColumn]
    rows: list[list[Any]]
