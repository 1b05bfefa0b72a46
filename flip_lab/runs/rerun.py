"""Launch a run again and compare: which number differs first, and whose is it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.policy import LATE
from flip_lab.engines.flower.messages import NO_REPLY
from flip_lab.runs.spec import RunSpec

_ABOUT_CLIENTS = (
    "error_code",
    "digest",
    "num_examples",
    "metrics",
    "bytes_down",
    "bytes_up",
)
_LINEAGE: Mapping[str, str] = MappingProxyType(
    {
        "flip_lab": "the version of FLIP Lab",
        "flwr": "the version of Flower",
        "python": "the version of Python",
        "env_sha256": "the installed packages",
        "app_sha256": "the app's files",
        "data_sha256": "the data",
        "partition_sha256": "who holds which examples",
    }
)
_STEPS = MappingProxyType({"train": 0, "model": 2, "evaluate": 3})

Place: TypeAlias = tuple[int, int, int, str]
"""Where a number stands: round, step of the round, partition (-1: all), its name."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A number that the two runs do not share.

    Attributes:
        server_round: The round.
        phase: ``"train"``, ``"evaluate"``, ``"model"``, or what the client was asked.
        partition_id: Whose reply it is; ``None`` for numbers about the whole federation.
        node_id: The node in the first run; ``None`` likewise.
        quantity: What it is: ``digest``, ``metrics``, ``bytes_up``, a metric's name …
        original: Its value in the first run; ``None`` where that has none.
        repeated: Its value in the second run.
    """

    server_round: int
    phase: str
    partition_id: int | None
    node_id: int | None
    quantity: str
    original: Any
    repeated: Any

    def __str__(self) -> str:
        who = "" if self.partition_id is None else f", partition {self.partition_id}"
        who += "" if self.node_id is None else f" (node {self.node_id})"
        return (
            f"round {self.server_round}, {self.phase}{who}: {self.quantity} was "
            f"{self.original!r}, now {self.repeated!r}"
        )


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """What came of launching a run again.

    Attributes:
        original: Id of the first run.
        repeated: Id of the second run.
        num_compared: Numbers and hashes that were compared.
        first: The first difference, in order of rounds, phases and partitions; ``None``
            when every bit is the same.
        num_differences: How many there are.
        lineage: What stood differently behind the two runs, such as the version of Flower:
            then a difference is no surprise.
    """

    original: str
    repeated: str
    num_compared: int
    first: Difference | None
    num_differences: int
    lineage: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the second run gave the same as the first, and gave something."""
        return self.first is None and self.num_compared > 0

    def __repr__(self) -> str:
        head = f"<Rerun of {self.original} as {self.repeated}: "
        behind = f" Behind them differ: {', '.join(self.lineage)}." if self.lineage else ""
        if self.first is not None:
            many = f"{self.num_differences} of {self.num_compared} differ"
            return f"{head}{many}; first {self.first}.{behind}>"
        if not self.ok:
            return f"{head}nothing to compare.{behind}>"
        return f"{head}all {self.num_compared} numbers and hashes are equal.{behind}>"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A run and its events."""

    spec: RunSpec
    events: list[RunEvent]


def compare(original: Told, repeated: Told) -> Rerun:
    """Compare two runs, number by number.

    Rounds that only one of the two has reached are compared as far as the first run had
    finished them: a run that was stopped can be verified up to there.

    Args:
        original: The first run.
        repeated: The second run.
    """
    ours, theirs = in_force(original.events), in_force(repeated.events)
    last = max(_ended(ours), default=0)
    before, nodes = _numbers(ours, last)
    after, _ = _numbers(theirs, last)
    places = sorted(
        place
        for place in before.keys() | after.keys()
        # Not every round has a checkpoint, in which its model's hash is.
        if place[1] != _STEPS["model"] or (place in before and place in after)
    )
    found = [
        _difference(place, before, after, nodes)
        for place in places
        if not _same(before.get(place), after.get(place))
    ]
    return Rerun(
        original=original.spec.run_id,
        repeated=repeated.spec.run_id,
        num_compared=len(places),
        first=found[0] if found else None,
        num_differences=len(found),
        lineage=tuple(_behind(original, repeated)),
    )


def _ended(events: list[RunEvent]) -> list[int]:
    return [e.server_round for e in events if e.kind is EventKind.ROUND_ENDED]


def _numbers(
    events: list[RunEvent], last: int
) -> tuple[dict[Place, Any], dict[tuple[int, int], int]]:
    """Collect what must be equal, by place; and the node of each round's partitions."""
    numbers: dict[Place, Any] = {}
    nodes: dict[tuple[int, int], int] = {}
    for event in events:
        body, server_round = event.body, event.server_round
        if server_round > last:
            continue
        if event.kind is EventKind.CLIENT:
            partition_id = int(str(body["partition_id"]))
            nodes[server_round, partition_id] = int(str(body["node_id"]))
            step = _STEPS.get(str(body["phase"]), 4)
            # Who was late is the same in both; what came of it then depends on the clock.
            is_late = body["error_code"] in {LATE, NO_REPLY}
            for i, name in enumerate(_ABOUT_CLIENTS[:1] if is_late else _ABOUT_CLIENTS):
                place = (server_round, step, partition_id, f"{i}:{body['phase']}:{name}")
                numbers[place] = LATE if is_late else body.get(name)
        elif event.kind is EventKind.METRIC:
            step = _STEPS.get(str(body["phase"]), 4) + 1
            name = f"{body['scope']}:{body['phase']}:{body['name']}"
            numbers[server_round, step, -1, name] = body["value"]
        elif event.kind is EventKind.CHECKPOINT:
            place = (server_round, _STEPS["model"], -1, "0:model:model_digest")
            numbers[place] = body["model_digest"]
    return numbers, nodes


def _difference(
    place: Place,
    before: Mapping[Place, Any],
    after: Mapping[Place, Any],
    nodes: Mapping[tuple[int, int], int],
) -> Difference:
    server_round, step, partition_id, name = place
    _, phase, quantity = name.split(":", 2)
    is_client = step in {0, 3} or partition_id >= 0
    return Difference(
        server_round=server_round,
        phase=phase,
        partition_id=partition_id if is_client else None,
        node_id=nodes.get((server_round, partition_id)) if is_client else None,
        quantity=quantity,
        original=before.get(place),
        repeated=after.get(place),
    )


def _same(one: object, other: object) -> bool:
    """Compare two values of a fact; NaN is the same as NaN here."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        ours, theirs = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        return ours.keys() == theirs.keys() and all(
            _same(value, theirs[key]) for key, value in ours.items()
        )
    return one == other


def _behind(original: Told, repeated: Told) -> Iterator[str]:
    """Name what stood differently behind two runs."""
    ours, theirs = _lineage(original), _lineage(repeated)
    for name, meaning in _LINEAGE.items():
        if ours.get(name) != theirs.get(name):
            yield f"{meaning} ({ours.get(name)} → {theirs.get(name)})"


def _lineage(told: Told) -> dict[str, Any]:
    found = dict(told.spec.lineage)
    for event in told.events:
        if event.kind is EventKind.LINEAGE:
            found |= event.body
    return found
