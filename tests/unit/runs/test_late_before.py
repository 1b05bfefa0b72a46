"""Who was late: collected from a run's events, kept as JSON, read back by a repetition."""

from __future__ import annotations

import json

from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.policy import LATE
from flip_lab.engines.flower.messages import NO_REPLY
from flip_lab.runs.late_before import as_late_before, late_in
from flip_lab.runs.took_part import partitions_in


def event(sequence: int, kind: EventKind, server_round: int = 1, **body: Json) -> RunEvent:
    """Make an event."""
    return RunEvent(
        run_id="r",
        sequence=sequence,
        time_s=0.0,
        server_round=server_round,
        kind=kind,
        body=body,
    )


def client(sequence: int, server_round: int, node: int, code: int) -> RunEvent:
    """Make a client row of training; its partition is the node's number less 100."""
    return event(
        sequence,
        EventKind.CLIENT,
        server_round,
        phase="train",
        node_id=node,
        partition_id=node - 100,
        error_code=code,
    )


def test_who_was_late_comes_back_from_json_by_round_and_phase() -> None:
    """Failures are no lateness: they happen again by themselves."""
    events = [
        client(0, 1, 100, 0),
        client(1, 1, 101, LATE),
        client(2, 2, 102, NO_REPLY),
        client(3, 1, 103, 2),
        client(4, 1, 104, LATE),
    ]
    kept = json.loads(json.dumps(late_in(events)))
    assert as_late_before(kept) == {
        (1, "train"): {101: 1, 104: 4},
        (2, "train"): {102: 2},
    }
    assert late_in(events[:1]) == []


def test_rounds_that_were_made_anew_count_as_they_were_then() -> None:
    """What a resumption superseded is not what the model was made of."""
    resumed = event(3, EventKind.STATE, 0, state="pending", resumed_after=0)
    events = [
        event(0, EventKind.STATE, 0, state="running"),
        client(1, 1, 100, LATE),
        client(2, 1, 101, 0),
        resumed,
        client(4, 1, 101, LATE),
    ]
    assert as_late_before(late_in(events)) == {(1, "train"): {101: 1}}


def test_those_who_took_part_are_all_cohorts_together() -> None:
    """Nodes of unknown partition cannot be told to a simulation."""
    events = [
        event(0, EventKind.DISPATCHED, partition_ids=[3, -1], node_ids=[7, 8]),
        event(1, EventKind.DISPATCHED, partition_ids=[0, 3], node_ids=[5, 7]),
    ]
    assert partitions_in(events) == [0, 3]
