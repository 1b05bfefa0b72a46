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
        scopes: What they may do: ``"read"``, ``"write"``.
    """

    version: str
    api: Literal["v1"]
    lab: str
    person: str
    scopes: list[str]


class Headline(Answer):
    """A run's most telling metric.

    Attributes:
        name: The metric.
        value: Its newest value; may be NaN or infinite.
    """

    name: str
    value: float


class _Run(Answer):
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


class ListedRun(_Run):
    """A run as the list shows it: columns of the table ``runs``, and two more.

    Attributes:
        headline: Its most telling metric; ``None`` before the first.
        fraction: Share of its work that is done, 0 to 1; ``None`` while unknown.
    """

    headline: Headline | None
    fraction: float | None


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


class WholeRun(_Run):
    """A run with all that is said of it: columns of the table ``runs``, and more.

    Attributes:
        metrics: The newest value of each metric.
        run_config: Flower's run configuration.
        checkpoints: Where it can be taken up or forked, oldest first.
        forks: The runs that were forked from it.
    """

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


class ScenarioCard(Answer):
    """A scenario that can be launched by name.

    Attributes:
        name: What a launch calls it.
        title: One line about it.
        description: What one learns from it; Markdown.
        dataset: Its data set.
        partitioner: How the data is split over the nodes.
        num_nodes: How many nodes there are.
        model: What is trained.
        strategy: How the server aggregates.
        num_rounds: Rounds of training.
        fingerprint: Hash of all that changes a run's numbers.
    """

    name: str
    title: str
    description: str
    dataset: str
    partitioner: str
    num_nodes: int
    model: str
    strategy: str
    num_rounds: int
    fingerprint: str


class ScenarioCards(Answer):
    """All scenarios, sorted by name."""

    items: list[ScenarioCard]


class Place(Answer):
    """Where a run can happen.

    Attributes:
        name: What ``on`` of a launch says.
        kind: ``"engine"`` (simulated there) or ``"federation"`` (real nodes).
        address: Host and port of the federation's SuperLink.
        is_secure: Whether the federation names whom it trusts.
    """

    name: str
    kind: str
    address: str | None
    is_secure: bool | None


class Places(Answer):
    """Where runs can happen, engines first."""

    items: list[Place]


class Node(Answer):
    """What is known of a node in a run.

    Attributes:
        run_id: The run.
        node_id: The node's id; differs between engines.
        partition_id: Its slice of the data; -1 if unknown.
        num_rounds: Rounds that it took part in.
        last_round: The last of them.
        num_replies: Replies that it gave, all phases.
        num_failed: How often it failed.
        num_examples: Examples of its newest reply.
        mean_duration_s: How long it takes on average, seconds.
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
    num_examples: float
    mean_duration_s: float
    bytes_down: int
    bytes_up: int
    last_seen_at: datetime
    last_error: str


class Alert(Answer):
    """A run that failed or was lost, or a warning.

    Attributes:
        time_at: When.
        run_id: The run.
        name: What it is called.
        experiment: What it belongs to.
        sequence: The warning's event; -1 for a failed run.
        level: ``"error"`` or ``"warning"``.
        code: Such as ``FLIP-303``; may be empty.
        message: What happened.
        server_round: In which round; 0 before the first.
    """

    time_at: datetime | None
    run_id: str
    name: str
    experiment: str
    sequence: int
    level: str
    code: str
    message: str
    server_round: int
