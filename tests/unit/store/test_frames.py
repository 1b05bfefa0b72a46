"""A line gives back exactly the events it was made from."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import StoreError, StoreFormatError
from flip_lab.core.events import ClientFact, EventKind, RunEvent
from flip_lab.store.frames import encode, parse

numbers = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
counts = st.integers(0, 2**63 - 1)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
facts = st.builds(
    ClientFact,
    phase=texts,
    node_id=st.integers(0, 2**64 - 1),
    partition_id=st.integers(-1, 2**31 - 1),
    num_examples=numbers,
    started_s=numbers,
    duration_s=numbers,
    bytes_down=counts,
    bytes_up=counts,
    metrics=st.dictionaries(texts, numbers, max_size=4),
    error_code=st.integers(0, 500),
    error=texts,
).map(ClientFact.body)
metrics_bodies = st.fixed_dictionaries(
    {"phase": texts, "scope": texts, "name": texts, "value": numbers}
)
others = [kind for kind in EventKind if kind not in {EventKind.METRIC, EventKind.CLIENT}]
contents = (
    st.tuples(st.just(EventKind.METRIC), metrics_bodies)
    | st.tuples(st.just(EventKind.CLIENT), facts)
    | st.tuples(st.sampled_from(others), st.dictionaries(texts, values, max_size=4))
)


def event(sequence: int, kind: EventKind, body: dict[str, Any]) -> RunEvent:
    """Make an event of run ``run``."""
    return RunEvent(
        run_id="run",
        sequence=sequence,
        time_s=1.7e9 + sequence / 3,
        server_round=sequence,
        kind=kind,
        body=body,
    )


def comparable(value: object) -> object:
    """Replace each number by its text, so that NaN equals NaN and -0.0 is not 0.0."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value


def told(events: list[RunEvent]) -> list[Any]:
    """Give everything that events say, comparable."""
    return [
        (e.run_id, e.sequence, e.time_s, e.server_round, e.kind, comparable(dict(e.body)))
        for e in events
    ]


@given(st.lists(contents, min_size=1, max_size=8), st.integers(0, 2**40))
def test_a_line_gives_back_its_events(
    drawn: list[tuple[EventKind, Any]], first: int
) -> None:
    """Every kind of event survives, with NaN, infinities, 64-bit ids and odd names."""
    events = [event(first + k, kind, body) for k, (kind, body) in enumerate(drawn)]
    line = encode(events)
    frame = parse(line)
    assert frame is not None
    assert told(frame.events()) == told(events)
    assert (frame.run_id, frame.first, frame.last) == (
        "run",
        first,
        first + len(events) - 1,
    )
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@given(st.data())
def test_no_part_of_a_line_passes_for_a_line(data: st.DataObject) -> None:
    """A line that was cut anywhere before its last brace is recognised as cut."""
    line = encode([event(0, *data.draw(contents))])
    cut = data.draw(st.integers(0, len(line) - 2))
    assert parse(line[:cut]) is None


@pytest.mark.parametrize("line", [b"", b"5", b"[]", b"null", b'{"v": 1}', b"\xff{}"])
def test_what_is_no_frame_is_passed_over(line: bytes) -> None:
    """A damaged journal is read as far as it can be, by Python as by SQL."""
    assert parse(line) is None


@pytest.mark.parametrize("finite", [[1e308, 1e308], [0.0, -0.0, 5e-324]])
def test_finite_numbers_whose_sum_is_not_stay_as_they_are(finite: list[float]) -> None:
    """The short cut over sums does not touch numbers that JSON can hold."""
    body = {"phase": "train", "scope": "central", "name": "x"}
    events = [
        event(k, EventKind.METRIC, {**body, "value": value})
        for k, value in enumerate(finite)
    ]
    frame = parse(encode(events))
    assert frame is not None
    assert told(frame.events()) == told(events)


def test_integers_and_foreign_numbers_become_floats() -> None:
    """A value that is not a Python float cannot spoil the column that it stands in."""
    body = {"phase": "train", "scope": "central", "name": "x"}
    frame = parse(encode([event(0, EventKind.METRIC, {**body, "value": True})]))
    assert frame is not None
    [only] = frame.events()
    assert repr(only.body["value"]) == "1.0"


def test_undecodable_text_does_not_stop_a_run() -> None:
    """A lone surrogate, as in a traceback over bytes, becomes a question mark."""
    broken = event(0, EventKind.WARNING, {"code": "x", "message": "caf\udce9"})
    frame = parse(encode([broken]))
    assert frame is not None
    assert frame.events()[0].body["message"] == "caf?"


@pytest.mark.parametrize(
    "body",
    [
        {"phase": "train", "scope": "central", "name": "x"},
        {"phase": "train", "scope": "central", "name": "x", "value": 1.0, "unit": "s"},
        {"phase": "train", "scope": "central", "name": "x", "worth": 1.0},
    ],
)
def test_a_metric_with_other_keys_is_refused(body: dict[str, Any]) -> None:
    """A fact that the tables could not show is not kept as if it were."""
    with pytest.raises(
        StoreError, match=r"event 7 .* Fix: Give exactly phase, scope, name"
    ):
        encode([event(7, EventKind.METRIC, body)])


def test_lines_of_a_newer_version_are_refused() -> None:
    """Old code does not guess at what a newer line means."""
    line = orjson.loads(encode([event(0, EventKind.STATE, {"state": "running"})]))
    with pytest.raises(StoreFormatError, match="version 2"):
        parse(orjson.dumps(line | {"v": 2}))


def test_events_of_an_unknown_kind_are_refused() -> None:
    """A kind that a newer version added is named."""
    line = orjson.loads(encode([event(0, EventKind.STATE, {"state": "running"})]))
    line["event"]["kind"] = ["telepathy"]
    frame = parse(orjson.dumps(line))
    assert frame is not None
    with pytest.raises(StoreFormatError, match="telepathy"):
        frame.events()


def test_numbers_that_json_lacks_are_words_that_python_and_sql_read() -> None:
    """The form on disk is the documented one."""
    body = {"phase": "train", "scope": "central", "name": "x"}
    numbers = [math.nan, math.inf, -math.inf, 1.5]
    line = encode(
        [event(k, EventKind.METRIC, {**body, "value": v}) for k, v in enumerate(numbers)]
    )
    assert orjson.loads(line)["metric"]["value"] == ["nan", "inf", "-inf", 1.5]
