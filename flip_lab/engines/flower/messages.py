"""Messages and records as an engine needs them: identity, copies, sizes, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import xxhash
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    Metadata,
    MetricRecord,
    RecordDict,
)
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.run import Run as RunInfo
from flwr.supercore.task_identity import TaskIdentity

from flip_lab.engines.flower.arrays import array_bytes, backing, detached, share

CLIENT_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
NO_REPLY = int(ErrorCode.MESSAGE_UNAVAILABLE)
_LEGACY_RECORDS = ("fitins.", "evaluateins.")
WEIGHT_KEYS = ("num-examples", "num_examples")  # Message API, Flower's legacy API


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
    own_content = RecordDict()
    inside = vars(own_content)["_data"]
    for name, record in content.items():
        inside[name] = twin = record.copy()
        values: dict[str, Any] = vars(twin)["_data"]
        own = share if isinstance(record, ArrayRecord) else _own
        for key, item in values.items():
            values[key] = own(item)
    return own_content


def detached_content(content: RecordDict) -> RecordDict:
    """Copy records with their values: an array may be a view of a whole reply's memory."""
    own_content = copy_content(content)
    for record in own_content.array_records.values():
        for key, item in record.items():
            record[key] = detached(item)
    return own_content


def _own(value: Any) -> Any:  # noqa: ANN401  # any value of a record
    return list(cast("list[Any]", value)) if isinstance(value, list) else value


def for_client(message: Message, content: RecordDict) -> Message:
    """Give the message as one client receives it, with records of its own."""
    twin = Message.__new__(Message)  # its __init__ would check again what was checked
    vars(twin).update({"_metadata": message.metadata, "_content": content, "_error": None})
    return twin


def snapshot(message: Message, content: RecordDict) -> Message:
    """Give the message as it is now: its sender may use the object for the next one."""
    twin = for_client(message, content)
    metadata = Metadata.__new__(Metadata)  # copy.copy takes a dozen times as long
    vars(metadata).update(vars(message.metadata))
    vars(twin)["_metadata"] = metadata
    return twin


def asked_singly(message: Message) -> bool:
    """Say whether Flower's older server loop sent it, which asks clients one by one."""
    return any(name.startswith(_LEGACY_RECORDS) for name in message.content)


def twin_for(message: Message, node_id: int) -> Message:
    """Give a message like another one, to another node; both share one content."""
    return Message(
        message.content,
        node_id,
        message.metadata.message_type,
        ttl=message.metadata.ttl,
        group_id=message.metadata.group_id,
    )


def payload_bytes(message: Message) -> int:
    """Count the bytes of arrays and byte values that a message carries."""
    if not message.has_content():
        return 0
    total = 0
    for record in message.content.values():
        if isinstance(record, ArrayRecord):
            total += sum(map(array_bytes, record.values()))
        elif isinstance(record, ConfigRecord):
            total += sum(len(i) for i in record.values() if isinstance(i, (str, bytes)))
    return total


def arrays_digest(message: Message) -> str:
    """Hash all arrays of a message, names and order included.

    Returns:
        128 bits (XXH3) as 32 hexadecimal digits; empty when it carries no array.
    """
    records = message.content.items() if message.has_content() else ()
    arrays = [(name, record) for name, record in records if isinstance(record, ArrayRecord)]
    if not arrays:
        return ""
    hashed = xxhash.xxh3_128()
    for name, record in arrays:
        for key, item in record.items():
            values = backing(item)
            hashed.update(f"{name}/{key}/{item.dtype}/{values.shape}".encode())
            hashed.update(np.ascontiguousarray(values))  # pyright: ignore[reportArgumentType]  # a buffer
    return hashed.hexdigest()


def server_round_of(message: Message) -> int | None:
    """Read the round a message belongs to, where the strategy wrote it; else ``None``."""
    if message.has_content():
        for record in message.content.values():  # its views by kind cost more than all else
            value = record.get("server-round") if isinstance(record, ConfigRecord) else None
            if isinstance(value, int):
                return value
    group = message.metadata.group_id
    return int(group) if group.isdigit() else None


def name_round(message: Message, server_round: int) -> None:
    """Tell the engine the round of a message whose app names none.

    A client's random numbers depend on the round; without it they would repeat.
    """
    if server_round_of(message) is None and not message.metadata.group_id:
        message.metadata.group_id = str(server_round)


def one_a_content(messages: Iterable[Message]) -> Iterable[Message]:
    """Give one message for each content; all messages of a round share one."""
    return {id(message.content): message for message in messages}.values()


def phase_of(message: Message) -> str:
    """Name what a message asks for: ``"train"``, ``"evaluate"`` or ``"query"``."""
    return message.metadata.message_type.split(".")[0]


def first_arrays(messages: Iterable[Message], phase: str) -> ArrayRecord | None:
    """Give the arrays of the first message of a phase; ``None`` if it carries none."""
    for message in messages:
        if phase_of(message) == phase:
            return next(iter(message.content.array_records.values()), None)
    return None


def reply_metrics(reply: Message) -> dict[str, float]:
    """Collect the single numbers that a client reported, by name."""
    if not reply.has_content():
        return {}
    found: dict[str, float] = {}
    for record in reply.content.values():
        if isinstance(record, MetricRecord):
            found |= scalars(record)
    return found


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
