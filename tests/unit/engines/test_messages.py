"""Messages: copies that nobody shares, sizes, rounds, phases, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.engines.flower.messages import (
    CLIENT_RAISED,
    become_server,
    copy_content,
    error_reply,
    payload_bytes,
    phase_of,
    reply_metrics,
    server_round_of,
    stamp,
)

SCALARS = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False))
VALUES = st.one_of(SCALARS, st.lists(st.integers(-(2**62), 2**62), max_size=3))
CONFIGS = st.one_of(VALUES, st.text(max_size=5), st.binary(max_size=5), st.booleans())
NAMES = st.text("abc-", min_size=1, max_size=4)


@pytest.fixture(autouse=True)
def server() -> None:
    """Messages can only be built in the ServerApp's place."""
    become_server(9)


def message_with(content: RecordDict, message_type: str = "train", **more: Any) -> Message:  # noqa: ANN401  # Message's own
    """Build a message to node 3."""
    return Message(content, 3, message_type, **more)


@given(
    metrics=st.dictionaries(NAMES, VALUES, max_size=3),
    config=st.dictionaries(NAMES, CONFIGS, max_size=3),
    array=st.lists(st.floats(allow_nan=False), max_size=5),
)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(
    metrics: dict[str, Any], config: dict[str, Any], array: list[float]
) -> None:
    """Emptying the copy and its lists leaves the original as it was."""
    content = RecordDict(
        {
            "m": MetricRecord(metrics),
            "c": ConfigRecord(config),
            "a": ArrayRecord([np.array(array)]),
        }
    )
    copy = copy_content(content)
    assert dict(copy["m"]) == metrics
    assert dict(copy["c"]) == config
    assert copy.array_records["a"]["0"].data == content.array_records["a"]["0"].data
    for record in list(copy.values()):
        for value in record.values():
            if isinstance(value, list):
                value.clear()
        record.clear()
    copy.clear()
    assert dict(content["m"]) == metrics
    assert dict(content["c"]) == config
    [kept] = content.array_records["a"].to_numpy_ndarrays()
    assert kept.tolist() == array


def test_bytes_are_those_of_arrays_texts_and_blobs() -> None:
    """What counts on a slow line; the array's .npy head counts as well."""
    array = ArrayRecord([np.zeros(100)])
    content = RecordDict(
        {"a": array, "c": ConfigRecord({"blob": b"12345", "text": "ab", "number": 1})}
    )
    expected = len(array["0"].data) + 5 + 2
    assert len(array["0"].data) > 800
    assert payload_bytes(message_with(content)) == expected
    assert payload_bytes(error_reply(message_with(content), "boom")) == 0


@pytest.mark.parametrize(
    ("config", "group", "expected"),
    [
        ({"server-round": 4}, "", 4),
        ({"server-round": 4}, "9", 4),
        ({}, "9", 9),
        ({}, "", None),
        ({}, "warm-up", None),
        ({"server-round": "4"}, "", None),
    ],
)
def test_the_round_is_read_where_the_server_wrote_it(
    config: dict[str, Any], group: str, expected: int | None
) -> None:
    """The strategy's key first, then the message's group."""
    content = RecordDict({"config": ConfigRecord(config)})
    assert server_round_of(message_with(content, group_id=group)) == expected


def test_the_phase_is_the_first_word_of_the_type() -> None:
    """``query.describe`` is a query."""
    assert phase_of(message_with(RecordDict())) == "train"
    assert phase_of(message_with(RecordDict(), "query.describe")) == "query"


def test_metrics_are_single_numbers_only() -> None:
    """Lists are left to the app."""
    metrics = MetricRecord({"loss": 1.5, "count": 2, "curve": [1.0, 2.0]})
    message = message_with(RecordDict({"m": metrics}))
    assert reply_metrics(message) == {"loss": 1.5, "count": 2.0}
    assert reply_metrics(error_reply(message, "boom")) == {}


def test_an_error_answers_the_message_it_belongs_to() -> None:
    """In the name of the node, with Flower's code."""
    message = message_with(RecordDict())
    stamp(message, "m1")
    reply = error_reply(message, "ValueError: boom")
    assert (reply.error.code, reply.error.reason) == (CLIENT_RAISED, "ValueError: boom")
    assert reply.metadata.reply_to_message_id == "m1"
    assert reply.metadata.src_node_id == 3
