"""Messages and records as an engine needs them: identity, copies, sizes, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import xxhash
from flwr.app import (
    Array,
    ArrayRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.run import Run as RunInfo
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.engines.flower.arrays import array_bytes, backing, share

CLIENT_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
NO_REPLY = int(ErrorCode.MESSAGE_UNAVAILABLE)


def become_server(run_number: int) -> RunInfo:
    """Take the ServerApp's place in this process, so that it may build messages.

    Flower keeps this identity process-wide: a process serves one run at a time.

    Args:
        run_number: Flower's numeric run id.

    Returns:
        Flower's description of that run.
    """
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run_number
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    return RunInfo.create_empty(run_number)


def stamp(message: Message, message_id: str) -> None:
    """Give a message its id, as a SuperLink does when it accepts one."""
    message.metadata.__dict__["_message_id"] = message_id


def copy_content(content: RecordDict) -> RecordDict:
    """Copy records so that a client may change its own; array bytes are shared.

    All messages of a round share one content object and Flower's mods pop entries from
    it, so two clients in one process must not see the same records. What is behind an
    array cannot be changed through it, so sharing that is safe.
    """
    copy = RecordDict()
    inside = vars(copy)["_data"]
    for name, record in content.items():
        inside[name] = twin = record.copy()
        values: dict[str, Any] = vars(twin)["_data"]
        own = share if isinstance(record, ArrayRecord) else _own
        for key, item in values.items():
            values[key] = own(item)
    return copy


def detached_content(content: RecordDict) -> RecordDict:
    """Copy records with their values: an array may be a view of a whole reply's memory."""
    copy = copy_content(content)
    for record in copy.array_records.values():
        for key, item in record.items():
            if not backing(item).flags.owndata:
                record[key] = Array(backing(item))
    return copy


def _own(value: Any) -> Any:  # noqa: ANN401  # any value of a record
    return list(cast("list[Any]", value)) if isinstance(value, list) else value


def for_client(message: Message, content: RecordDict) -> Message:
    """Give the message as one client receives it, with records of its own."""
    twin = Message.__new__(Message)  # its __init__ would check again what was checked
    vars(twin).update({"_metadata": message.metadata, "_content": content, "_error": None})
    return twin


def payload_bytes(message: Message) -> int:
    """Count the bytes of arrays and byte values that a message carries."""
    if not message.has_content():
        return 0
    arrays = sum(
        array_bytes(item)
        for record in message.content.array_records.values()
        for item in record.values()
    )
    configs = sum(
        len(item)
        for record in message.content.config_records.values()
        for item in record.values()
        if isinstance(item, (str, bytes))
    )
    return arrays + configs


def arrays_digest(message: Message) -> str:
    """Hash all arrays of a message, names and order included.

    Returns:
        128 bits (XXH3) as 32 hexadecimal digits; empty when it carries no array.
    """
    if not message.has_content() or not message.content.array_records:
        return ""
    hashed = xxhash.xxh3_128()
    for name, record in message.content.array_records.items():
        for key, item in record.items():
            values = backing(item)
            hashed.update(f"{name}/{key}/{item.dtype}/{values.shape}".encode())
            hashed.update(np.ascontiguousarray(values))
    return hashed.hexdigest()


def server_round_of(message: Message) -> int | None:
    """Read the round a message belongs to, where the strategy wrote it; else ``None``."""
    if message.has_content():
        for record in message.content.config_records.values():
            value = record.get("server-round")
            if isinstance(value, int):
                return value
    group = message.metadata.group_id
    return int(group) if group.isdigit() else None


def phase_of(message: Message) -> str:
    """Name what a message asks for: ``"train"``, ``"evaluate"`` or ``"query"``."""
    return message.metadata.message_type.split(".")[0]


def reply_metrics(reply: Message) -> dict[str, float]:
    """Collect the single numbers that a client reported, by name."""
    if not reply.has_content():
        return {}
    records = reply.content.metric_records.values()
    return {name: value for record in records for name, value in scalars(record).items()}


def scalars(record: MetricRecord | None) -> dict[str, float]:
    """Give the single numbers of a record by name; lists of numbers are left out."""
    values: Mapping[str, object] = record or {}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float))
    }


def error_reply(message: Message, reason: str, *, code: int = CLIENT_RAISED) -> Message:
    """Answer a message in the name of a client that could not."""
    return Message(Error(code=code, reason=reason), reply_to=message)
