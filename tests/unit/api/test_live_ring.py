"""Events as they are sent: written once, cut into messages that miss and double nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.api.live import ring as ring_module
from flip_lab.api.live.ring import MOST_EVENTS, Ring, written
from flip_lab.api.live.wire import event_bytes
from flip_lab.core.events import ClientFact, EventKind, RunEvent


def _event(
    sequence: int,
    kind: EventKind = EventKind.WARNING,
    body: Mapping[str, Any] | None = None,
) -> RunEvent:
    return RunEvent(
        run_id="r",
        sequence=sequence,
        time_s=float(sequence),
        server_round=0,
        kind=kind,
        body=body or {},
    )


def _read_all(ring: Ring, after: int) -> list[int]:
    """Read as a subscriber does, message after message."""
    found: list[int] = []
    while (message := ring.after(after)) is not None:
        told = json.loads(message.text)
        sequences = [event["sequence"] for event in told["events"]]
        assert told["reached"] == message.reached == sequences[-1]
        assert message.count == len(sequences)
        found += sequences
        after = message.reached
    return found


@given(
    batches=st.lists(st.integers(min_value=0, max_value=700), max_size=6),
    kept=st.integers(min_value=1, max_value=60_000),
    where=st.floats(min_value=0, max_value=1),
)
def test_whoever_can_go_on_gets_the_rest_once_and_in_order(
    batches: list[int], kept: int, where: float
) -> None:
    """From any position that the ring holds, whatever came at once and was dropped."""
    ring = Ring(-1, most_bytes=kept)
    total = 0
    for size in batches:
        ring.add(written([_event(total + place) for place in range(size)]))
        total += size
    assert ring.reached == total - 1
    after = ring.begin + int(where * (ring.reached - ring.begin))
    assert ring.holds(after)
    assert not ring.holds(ring.begin - 1)
    assert _read_all(ring, after) == list(range(after + 1, total))


def test_a_gap_in_a_damaged_journal_loses_nothing_else() -> None:
    """Sequences count, not places."""
    ring = Ring(-1)
    ring.add(written([_event(0), _event(1), _event(7), _event(9)]))
    assert _read_all(ring, -1) == [0, 1, 7, 9]
    assert _read_all(ring, 5) == [7, 9]
    assert _read_all(ring, 8) == [9]
    assert _read_all(ring, 9) == []


def test_a_message_is_made_once_for_all_who_stand_alike() -> None:
    """Two subscribers get the very same text; more events make another."""
    ring = Ring(-1)
    ring.add(written([_event(0), _event(1)]))
    assert ring.after(-1) is ring.after(-1)
    before = ring.after(0)
    ring.add(written([_event(2)]))
    assert ring.after(0) is not before
    assert _read_all(ring, 0) == [1, 2]


def test_messages_are_bounded_by_number_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long event goes alone; many short ones in several messages."""
    ring = Ring(-1)
    ring.add(written([_event(place) for place in range(MOST_EVENTS + 1)]))
    first = ring.after(-1)
    assert first is not None
    assert first.count == MOST_EVENTS
    monkeypatch.setattr(ring_module, "MOST_BYTES", 1000)
    ring = Ring(-1)
    long = _event(1, EventKind.WARNING, {"message": "m" * 5000})
    ring.add(written([_event(0), long, _event(2)]))
    counts = [m.count for at in (-1, 0, 1) if (m := ring.after(at))]
    assert counts == [1, 1, 1]


def test_only_what_happened_while_somebody_looked_has_an_age() -> None:
    """The history of a run is not old news."""
    ring = Ring(-1)
    ring.add(written([_event(0), _event(1)]))
    ring.live_from = ring.reached
    ring.add(written([_event(2)]))
    old, new = ring.after(0), ring.after(1)
    assert old is not None
    assert new is not None
    assert (old.newest_s, new.newest_s) == (None, 2.0)


def test_what_a_resumed_run_superseded_is_told() -> None:
    """The pair of sequences stands beside the event that brings it."""
    told = {"state": "pending", "resumed_from_round": 1, "resumed_after": 1}
    ring = Ring(-1)
    ring.add(written([*map(_event, range(3)), _event(3, EventKind.STATE, told)]))
    message = ring.after(0)
    assert message is not None
    assert json.loads(message.text)["superseded"] == [[1, 3]]


@given(st.floats(), st.floats(), st.text(st.characters(), max_size=5))
def test_every_number_and_every_text_has_a_form_in_json(
    value: float, loss: float, text: str
) -> None:
    """NaN and the infinities are texts, halves of a character pass."""
    fact = ClientFact(
        phase="train",
        node_id=2**64 - 1,
        partition_id=0,
        num_examples=value,
        started_s=0.0,
        duration_s=0.0,
        bytes_down=0,
        bytes_up=0,
        metrics={"loss": loss},
        error=text,
    )
    metric = {"phase": "train", "scope": "central", "name": text, "value": value}
    client = json.loads(event_bytes(_event(0, EventKind.CLIENT, fact.body())))
    other = json.loads(event_bytes(_event(1, EventKind.METRIC, metric)))
    assert _number(client["body"]["metrics"]["loss"]) == _number(loss)
    assert _number(client["body"]["num_examples"]) == _number(value)
    assert client["body"]["node_id"] == 2**64 - 1
    assert client["body"]["error"] == text
    assert _number(other["body"]["value"]) == _number(value)


def _number(told: float | str) -> str | float:
    number = float(told)
    return "NaN" if math.isnan(number) else number


def test_a_half_of_a_character_passes() -> None:
    """Undecodable bytes of a traceback are in a text as lone surrogates."""
    event = _event(0, EventKind.WARNING, {"message": "\ud800"})
    assert json.loads(event_bytes(event))["body"] == {"message": "\ud800"}


def test_few_messages_are_kept_wherever_subscribers_stand() -> None:
    """A run that is paused for days gets no new event that would clear them."""
    ring = Ring(-1)
    ring.add(written([_event(number) for number in range(400)]))
    for after in range(-1, 399):
        message = ring.after(after)
        assert message is not None
        assert message.count == 399 - after
    assert len(ring._messages) <= ring_module.MOST_MESSAGES
