"""Clients called in groups: who would see their messages, and their replies at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flwr.app import (
    ArrayRecord,
    Message,
    Metadata,
    MetricRecord,
    MetricRecordValues,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.clientapp import client_app as flower
from numpy.typing import NDArray

from flip_lab.core.clock import now_s
from flip_lab.engines.flower.arrays import backed


def answers_alone(app: ClientApp) -> bool:
    """Say whether nothing but the app's own functions sees a message.

    Modifiers and lifespans run around every single one: clients of an app that has any
    must be called one by one.
    """
    inner: dict[str, Any] = vars(app)
    return not inner["_mods"] and inner["_lifespan"] is vars(flower)["_empty_lifespan"]


def answer_at_once(
    message: Message,
    arrays: Mapping[str, NDArray[Any]],
    metrics: Mapping[str, MetricRecordValues],
) -> Message:
    """Answer a message as ``Message(…, reply_to=message)`` would, checking nothing again.

    That and its records cost as much as the training of a small client.

    Args:
        message: What is answered.
        arrays: The reply's ``"arrays"``. The record is on these very values, which nobody
            may change from now on; the class must have been made ready by
            ``install_fast_arrays``.
        metrics: The reply's ``"metrics"``.
    """
    asked, created_s = vars(message.metadata), now_s()
    metadata = Metadata.__new__(Metadata)
    vars(metadata).update(
        asked,
        _message_id="",
        _reply_to_message_id=asked["_message_id"],
        _src_node_id=asked["_dst_node_id"],
        _dst_node_id=asked["_src_node_id"],
        _src_task_id=asked["_dst_task_id"],
        _dst_task_id=asked["_src_task_id"],
        _created_at=created_s,
        _delivered_at="",
        _ttl=asked["_created_at"] + asked["_ttl"] - created_s,
    )
    records = {
        "arrays": _filled(ArrayRecord, {key: backed(each) for key, each in arrays.items()}),
        "metrics": _filled(MetricRecord, metrics),
    }
    reply = Message.__new__(Message)
    content = _filled(RecordDict, records)
    vars(reply).update({"_metadata": metadata, "_content": content, "_error": None})
    return reply


_Record = TypeVar("_Record", ArrayRecord, MetricRecord, RecordDict)


def _filled(kind: type[_Record], values: Mapping[str, object]) -> _Record:
    """Give a record of values that are known to be right."""
    record = kind()
    vars(record)["_data"].update(values)
    return record
