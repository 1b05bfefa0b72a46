"""What happened in a run, as an ordered and gap-free stream of facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = (
    "str | int | float | bool | list[Json] | dict[str, Json] | Mapping[str, Json] | None"
)


class EventKind(StrEnum):
    """The kinds of fact; each names the keys of its body.

    ``STATE``: ``state``; when starting ``host``, ``process_id``, ``since_s`` of the run
    process; at the end of a failed run ``code``, ``what``, ``fix``, ``detail``; when an
    ended run is resumed ``resumed_from_round`` and ``resumed_after`` (a sequence: what
    followed it is superseded, see ``in_force``).
    ``ROUND_STARTED``: ``num_rounds``. ``ROUND_ENDED``: ``duration_s``. ``DISPATCHED``:
    ``phase``, ``node_ids``, ``partition_ids`` (the cohort). ``CLIENT``: one reply or
    failure, see ``ClientFact``. ``METRIC``: ``phase``, ``scope``, ``name``, ``value``.
    ``ARTIFACT``: ``name``, ``sha256``, ``size_bytes``, ``media_type``. ``CHECKPOINT``:
    ``size_bytes`` written, ``duration_s``, ``model_digest`` (128-bit hash of the arrays).
    ``LINEAGE``: hashes and versions behind the run. ``CONTROL``: a user's wish, see
    ``flip_lab.core.commands``. ``SETTINGS``: what is in force from this round on:
    ``train``, ``evaluate``, ``strategy`` and ``run`` (values by name), ``excluded``
    (partitions). ``LOGGED``: what ``flip_lab.log`` was told, besides numbers: ``phase``,
    ``node_id`` and ``partition_id`` (null from the server), ``name``, ``type``,
    ``value``, and ``sha256`` of an image.
    ``WARNING``: ``code``, ``message``; of a real node also ``node_id``, ``partition_id``,
    see ``flip_lab.core.notice``. ``RESOURCE``: numbers about the run's processes,
    see the table ``resources``.
    """

    STATE = "state"
    ROUND_STARTED = "round_started"
    ROUND_ENDED = "round_ended"
    DISPATCHED = "dispatched"
    CLIENT = "client"
    METRIC = "metric"
    ARTIFACT = "artifact"
    CHECKPOINT = "checkpoint"
    LINEAGE = "lineage"
    CONTROL = "control"
    SETTINGS = "settings"
    LOGGED = "logged"
    WARNING = "warning"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One fact about a run; the only thing that travels from a run to the rest.

    Attributes:
        run_id: The run the fact belongs to.
        sequence: Position in the run, from 0, without a gap.
        time_s: Seconds since the Unix epoch, UTC, on the run process's clock.
        server_round: Round number, 1-based; 0 is everything before the first round.
        kind: Which fact this is.
        body: JSON-ready content; its keys depend on ``kind``.
    """

    run_id: str
    sequence: int
    time_s: float
    server_round: int
    kind: EventKind
    body: Mapping[str, Json] = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFact:
    """What one client did in one phase of one round: the body of a ``CLIENT`` event.

    Attributes:
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        node_id: The node's id on this engine; differs between engines.
        partition_id: The slice of data the node holds, 0-based; -1 when unknown.
        num_examples: Weight of the reply; 0 when it carried none.
        started_s: When the client began, seconds since the Unix epoch.
        duration_s: How long the client took, seconds.
        bytes_down: Bytes of arrays and records sent to the client.
        bytes_up: Bytes of arrays and records received from it.
        metrics: The numbers the client reported, by name.
        error_code: Flower's error code; 0 when the client replied well, 100
            (``policy.LATE``) when its round had closed without it.
        error: What the client raised with the tail of its traceback; empty when well.
        digest: 128-bit hash of the reply's arrays, 32 hexadecimal digits; equal
            replies have equal ones. Empty where none was taken.
    """

    phase: str
    node_id: int
    partition_id: int
    num_examples: float
    started_s: float
    duration_s: float
    bytes_down: int
    bytes_up: int
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    error_code: int = 0
    error: str = ""
    digest: str = ""

    def body(self) -> dict[str, Json]:
        """Give the fact as the body of an event."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """Many ``METRIC`` facts of one moment, as columns: a tenth of the work of events.

    Attributes:
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        scope: ``"federated"``, ``"central"`` or ``"server"``.
        server_rounds: The round of each value, 0 or more.
        names: The metric of each value.
        values: The values; NaN and the infinities are kept. All three are of one length.
    """

    phase: str
    scope: str
    server_rounds: Sequence[int]
    names: Sequence[str]
    values: Sequence[float]


def superseded_spans(events: Sequence[RunEvent]) -> list[tuple[int, int]]:
    """Say which facts no longer count, because a resumed run made them anew.

    Args:
        events: Events of one run, in order.

    Returns:
        Pairs of sequences; what lies between the two of a pair, both excluded, is
        superseded. Empty for a run that was never resumed.
    """
    return [
        (after, event.sequence)
        for event in events
        if event.kind is EventKind.STATE
        and isinstance(after := event.body.get("resumed_after"), int)
    ]


def in_force(events: Sequence[RunEvent]) -> list[RunEvent]:
    """Leave out what was superseded when the run was resumed.

    Args:
        events: Events of one run, in order and from its beginning.

    Returns:
        The events that a run which was never interrupted would have, besides those about
        the interruption itself.
    """
    spans = superseded_spans(events)
    return [
        event
        for event in events
        if not any(after < event.sequence < until for after, until in spans)
    ]
