"""Events: plain data that turns into JSON as it stands."""

from __future__ import annotations

import json
from dataclasses import fields

from flip_lab.core.clock import at_utc, now_s, tick_s
from flip_lab.core.events import (
    ClientFact,
    EventKind,
    Json,
    RunEvent,
    in_force,
    superseded_spans,
)


def fact(**changes: object) -> ClientFact:
    """Give the fact of a client that trained well."""
    values: dict[str, object] = {
        "phase": "train",
        "node_id": 2**63 - 1,
        "partition_id": 0,
        "num_examples": 100,
        "started_s": 1.5,
        "duration_s": 0.25,
        "bytes_down": 10,
        "bytes_up": 12,
    }
    return ClientFact(**{**values, **changes})  # pyright: ignore[reportArgumentType]  # test data


def test_the_body_of_a_client_fact_holds_every_field() -> None:
    """A field added later cannot be forgotten in the event."""
    body = fact(metrics={"train_loss": 0.5}, error_code=3, error="boom").body()
    assert list(body) == [item.name for item in fields(ClientFact)]
    assert body["metrics"] == {"train_loss": 0.5}
    assert ClientFact(**body) == fact(  # pyright: ignore[reportArgumentType]  # round trip
        metrics={"train_loss": 0.5}, error_code=3, error="boom"
    )


def test_a_body_is_json_as_it_stands() -> None:
    """The journal and the API write it without knowing its kind."""
    assert json.loads(json.dumps(fact().body())) == fact().body()


def test_kinds_are_the_words_of_the_tables() -> None:
    """SQL compares with these strings, so they must not change."""
    assert [kind.value for kind in EventKind] == [
        "state",
        "round_started",
        "round_ended",
        "dispatched",
        "client",
        "metric",
        "artifact",
        "checkpoint",
        "lineage",
        "control",
        "settings",
        "logged",
        "warning",
        "resource",
    ]


def test_two_events_do_not_share_a_body() -> None:
    """The default body is a new one for each event."""
    one, other = (
        RunEvent(run_id="r", sequence=i, time_s=0.0, server_round=0, kind=EventKind.STATE)
        for i in range(2)
    )
    assert one.body == {}
    assert one.body is not other.body


def test_clocks_give_epoch_seconds_and_steady_ticks() -> None:
    """Facts are dated in UTC; durations never come out negative."""
    assert at_utc(0.0).isoformat() == "1970-01-01T00:00:00+00:00"
    assert now_s() > 1_700_000_000
    earlier = tick_s()
    assert tick_s() >= earlier


def step(sequence: int, **body: Json) -> RunEvent:
    """Give a step of a run's life."""
    return RunEvent(
        run_id="r",
        sequence=sequence,
        time_s=0.0,
        server_round=0,
        kind=EventKind.STATE,
        body=body,
    )


def test_what_a_resumed_run_made_anew_is_no_longer_in_force() -> None:
    """Facts between a checkpoint and the resumption are superseded, and only those."""
    events = [
        step(0, state="running"),
        step(1, state="running"),
        step(2, state="failed"),
        step(3, state="pending", resumed_after=0, resumed_from_round=1),
        step(4, state="failed"),
        step(5, state="pending", resumed_after=3, resumed_from_round=1),
        step(6, state="completed"),
    ]
    assert superseded_spans(events) == [(0, 3), (3, 5)]
    assert [event.sequence for event in in_force(events)] == [0, 3, 5, 6]


def test_a_run_that_was_never_resumed_keeps_all_its_events() -> None:
    """Without a resumption nothing is superseded."""
    events = [step(0, state="running"), step(1, state="failed")]
    assert in_force(events) == events
