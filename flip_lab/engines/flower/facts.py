"""What a real node tells of a client call beside its reply: when, how long, what it logged.

In simulation the engine knows these; from a device they travel in the reply, as one more
record, which the driver takes off before a strategy sees the reply. A node adds it only
for runs that FLIP Lab drives: nobody else would take it off.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from flwr.app import ConfigRecord, Message

from flip_lab.core.holding import Holding
from flip_lab.core.logged import (
    ConfusionMatrix,
    Histogram,
    Image,
    Logged,
    checked,
    confusion_matrix,
    histogram,
    image,
)

RECORD = "flip-lab"
"""Name of the record in a reply's content."""

_LOGGED = "logged/"  # what comes before the name of a logged fact
_HASH = re.compile("[0-9a-f]{64}")
_MOST_FACTS = 1_000
_MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a node says of one client call.

    Attributes:
        started_s: When the client began, seconds since the Unix epoch, by the node's clock.
        duration_s: Seconds that the client took.
        logged: What the client's code logged, by name.
        holding: What the node holds, if the app said so.
    """

    started_s: float
    duration_s: float
    logged: Mapping[str, Logged] = field(default_factory=dict[str, Logged])
    holding: Holding | None = None


def add_facts(reply: Message, facts: Facts) -> None:
    """Put facts into a reply; what would make it too large is left out."""
    record = ConfigRecord({"started_s": facts.started_s, "duration_s": facts.duration_s})
    if facts.holding is not None:
        for name, value in asdict(facts.holding).items():
            record[name] = value
    room = _MOST_BYTES
    for name, value in [*facts.logged.items()][:_MOST_FACTS]:
        packed = _packed(value)
        room -= len(packed) if isinstance(packed, (str, bytes)) else 8
        if room >= 0:
            record[_LOGGED + name] = packed
    reply.content[RECORD] = record


def take_facts(reply: Message) -> Facts | None:
    """Take the facts out of a reply.

    Returns:
        ``None`` if the node sent none, or none that can be read: the reply is as good.
    """
    record = reply.content.pop(RECORD, None) if reply.has_content() else None
    if not isinstance(record, ConfigRecord):
        return None
    times = (record.get("started_s"), record.get("duration_s"))
    if not all(isinstance(each, float) and math.isfinite(each) for each in times):
        return None
    started_s, duration_s = times
    logged: dict[str, Logged] = {}
    for key, value in [*record.items()][:_MOST_FACTS]:
        if key.startswith(_LOGGED):
            name = key.removeprefix(_LOGGED)
            with suppress(Exception):  # whatever a forged one makes the readers raise
                logged[name] = checked(name, _unpacked(value))
    return Facts(
        started_s=float(started_s),  # pyright: ignore[reportArgumentType]  # checked above
        duration_s=max(0.0, float(duration_s)),  # pyright: ignore[reportArgumentType]
        logged=logged,
        holding=_holding(record),
    )


def _holding(record: ConfigRecord) -> Holding | None:
    """Read what a node says that it holds; ``None`` if it says nothing of that kind."""
    partition_id = record.get("partition_id")
    hashes = record.get("partition_sha256"), record.get("data_sha256")
    if type(partition_id) is not int or partition_id < 0:
        return None
    of_partition, of_data = (
        each if isinstance(each, str) and _HASH.fullmatch(each) else "" for each in hashes
    )
    if not of_partition or not of_data:
        return None
    return Holding(
        partition_id=partition_id, partition_sha256=of_partition, data_sha256=of_data
    )


def _packed(value: Logged) -> float | str | bytes:
    if isinstance(value, Image):
        return value.png
    if isinstance(value, Histogram | ConfusionMatrix):
        return json.dumps({type(value).__name__: value.to_json()})
    return float(value)


def _unpacked(value: object) -> object:
    """Build what was logged again, with all the checks of its making."""
    if isinstance(value, bytes):
        return image(value)
    if not isinstance(value, str):
        return value
    [(kind, content)] = json.loads(value).items()
    if kind == Histogram.__name__:
        return _histogram(content)
    return confusion_matrix(content["counts"], labels=content["labels"])


def _histogram(content: Mapping[str, Any]) -> Histogram:
    """Build a histogram of its edges and counts.

    Raises:
        ValueError: If they do not belong together.
    """
    edges = histogram([], bins=[*content["edges"]]).edges  # checks them
    counts = tuple(int(count) for count in content["counts"])
    if len(counts) != len(edges) - 1 or min(counts) < 0:
        raise ValueError("counts do not fit the edges")
    missing = int(content["num_not_finite"])
    return Histogram(edges=edges, counts=counts, num_not_finite=missing)
