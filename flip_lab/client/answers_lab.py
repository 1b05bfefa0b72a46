"""What the API answers about a lab as a whole: places, nodes, alerts, models, uploads."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from flip_lab.client.answers import Answer


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


class ModelVersion(Answer):
    """One version of a registered model: a row of the table ``models``.

    Attributes:
        name: The model.
        version: Its number, from 1.
        stage: ``"none"``, ``"staging"``, ``"production"`` or ``"archived"``.
        sha256: Hash of its file.
        size_bytes: Length of its file.
        num_parameters: Numbers in its arrays.
        run_id: The run; ``None`` for a file from elsewhere.
        server_round: The round it was aggregated in, if known.
        artifact: What the run called the file.
        metrics: Aggregated metrics of that round, by name.
        scenario: Name of the run's scenario or app.
        scenario_fingerprint: Hash of the scenario's numbers.
        tags: Its tags, sorted.
        note: Its note; may be empty.
        registered_at: When it was registered.
        registered_by: Who did that.
        staged_at: When its stage was changed last.
        staged_by: Who did that.
    """

    name: str
    version: int
    stage: Literal["none", "staging", "production", "archived"]
    sha256: str
    size_bytes: int
    num_parameters: int
    run_id: str | None
    server_round: int | None
    artifact: str
    metrics: dict[str, Any]
    scenario: str | None
    scenario_fingerprint: str | None
    tags: list[str]
    note: str
    registered_at: datetime
    registered_by: str
    staged_at: datetime
    staged_by: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.stage})"


class WholeModel(Answer):
    """A model with all its versions.

    Attributes:
        name: The model.
        production: The version that is in production; ``None`` if none is.
        before: The version that a roll back brings back; ``None`` if there is none.
        versions: All of them, by number.
    """

    name: str
    production: int | None
    before: int | None
    versions: list[ModelVersion]


class UploadState(Answer):
    """A file that is being sent, or has arrived.

    Attributes:
        id: Its id.
        name: What its sender calls it.
        kind: What it says it is.
        size_bytes: Its length.
        offset: How much has arrived, bytes.
        is_whole: Whether it can be used.
        sha256: Hash of it, once it is whole.
    """

    id: str
    name: str
    kind: str
    size_bytes: int
    offset: int
    is_whole: bool
    sha256: str | None
