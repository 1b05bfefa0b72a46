"""Clients called in groups get and give what single calls would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.handlers import answer_at_once, answers_alone
from flip_lab.engines.flower.messages import become_server, stamp


def message_of() -> Message:
    """Ask a node something."""
    become_server(5)
    message = Message(RecordDict(), dst_node_id=12, message_type="train", group_id="3")
    stamp(message, "message-8")
    return message


def test_an_answer_at_once_is_flowers_answer() -> None:
    """Identity and records are those of a reply that was built in Flower's way."""
    install_fast_arrays()
    message = message_of()
    arrays = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}
    metrics = {"train_loss": 0.5, "num-examples": 4}
    found = answer_at_once(message, arrays, metrics)
    content = RecordDict(
        {
            "arrays": ArrayRecord(array_dict={k: backed_of(v) for k, v in arrays.items()}),
            "metrics": MetricRecord(dict(metrics)),
        }
    )
    expected = Message(content, reply_to=message)
    ours, theirs = dict(vars(found.metadata)), dict(vars(expected.metadata))
    for moment in ("_created_at", "_ttl"):
        assert ours.pop(moment) == pytest.approx(theirs.pop(moment), abs=5)
    assert ours == theirs
    assert found.content == expected.content
    assert list(found.content) == list(content)
    for name, values in arrays.items():
        array = found.content.array_records["arrays"][name]
        expected_array = content.array_records["arrays"][name]
        assert array.data == expected_array.data
        assert np.array_equal(array.numpy(), values)


def backed_of(values: np.ndarray[Any, Any]) -> Array:
    """Give an array in Flower's way."""
    return ArrayRecord([values])["0"]


def test_modifiers_see_single_messages() -> None:
    """An app with a modifier does not answer alone."""

    def mod(message: Message, context: Context, call: ClientAppCallable) -> Message:
        return call(message, context)

    assert answers_alone(ClientApp())
    assert not answers_alone(ClientApp(mods=[mod]))
