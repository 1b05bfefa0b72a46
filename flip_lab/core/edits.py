"""What a user changes in a running run, as plain data that can be replayed.

An edit takes effect when its round begins, so a run that is resumed, or repeated with the
same edits, meets them at the same point and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.policy import RoundPolicy

Value: TypeAlias = bool | int | float | str

EDITS = frozenset(
    {"set", "set_policy", "exclude", "include", "stop_when", "break_when", "clear"}
)
"""The commands that change what a run does; the others only say when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit, as its ``CONTROL`` event has it.

    Attributes:
        id: The command's id.
        command: One of ``EDITS``.
        author: Who asked for it.
        from_round: The round that it takes effect in, 1-based.
        at_break: Whether it was made while the replies of ``from_round`` were looked at:
            then it changes what is aggregated, not the cohort.
        arguments: ``values`` (``set``); the ``policy``, whole (``set_policy``);
            ``node_ids`` and ``partition_ids`` (``exclude``, ``include``); the rule
            (``stop_when``); the condition (``break_when``); ``ids`` (``clear``).
    """

    id: str
    command: str
    author: str
    from_round: int
    at_break: bool = False
    arguments: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def body(self) -> dict[str, Json]:
        """Give the edit as the body of an event."""
        told: dict[str, Json] = {
            "id": self.id,
            "command": self.command,
            "author": self.author,
            "from_round": self.from_round,
        }
        return {**told, **({"at_break": True} if self.at_break else {}), **self.arguments}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Edit:
        """Read an edit from the body of an event.

        Raises:
            KeyError: If the body is none of an edit.
        """
        own = ("id", "command", "author", "from_round", "at_break")
        return cls(
            id=str(body["id"]),
            command=str(body["command"]),
            author=str(body["author"]),
            from_round=int(body["from_round"]),
            at_break=bool(body.get("at_break", False)),
            arguments={name: value for name, value in body.items() if name not in own},
        )

    @property
    def values(self) -> dict[str, Value]:
        """What a ``set`` sets, by name."""
        return dict(cast("Mapping[str, Value]", self.arguments.get("values", {})))

    @property
    def nodes(self) -> dict[int, int]:
        """The nodes that are left out, or taken in again: partitions by node id."""
        node_ids = cast("list[int]", self.arguments.get("node_ids", []))
        partitions = cast("list[int]", self.arguments.get("partition_ids", []))
        return dict(zip(node_ids, partitions, strict=True))


@dataclass(frozen=True, kw_only=True)
class InForce:
    """What the edits so far come to.

    Attributes:
        values: What was set, by the name that was given.
        excluded: Nodes that are in no cohort: partitions by node id, -1 when unknown.
        policy: When rounds close; ``None``: as the run was launched.
        armed: The rules and conditions that count, by the edit's id.
    """

    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    excluded: Mapping[int, int] = field(default_factory=dict[int, int])
    policy: RoundPolicy | None = None
    armed: Mapping[str, Edit] = field(default_factory=dict[str, Edit])


def in_force_from(edits: Iterable[Edit], server_round: int) -> InForce:
    """Say what is in force when a round begins.

    Args:
        edits: All edits, in the order in which they were made.
        server_round: The round, 1-based.
    """
    values: dict[str, Value] = {}
    excluded: dict[int, int] = {}
    armed: dict[str, Edit] = {}
    policy: RoundPolicy | None = None
    for edit in edits:
        if edit.from_round + edit.at_break > server_round:
            continue
        match edit.command:
            case "set":
                values |= edit.values
            case "set_policy":
                policy = RoundPolicy.from_json(
                    cast("dict[str, Any]", edit.arguments["policy"])
                )
            case "exclude":
                excluded |= edit.nodes
            case "include":
                excluded = _without(excluded, edit)
            case "clear":
                gone = cast("list[str]", edit.arguments.get("ids", []))
                armed = {key: each for key, each in armed.items() if key not in gone}
            case _:
                armed[edit.id] = edit
    return InForce(values=values, excluded=excluded, policy=policy, armed=armed)


def dropped_in(edits: Iterable[Edit], server_round: int) -> dict[int, int]:
    """Name the nodes whose replies of a round are left out of its aggregation.

    Returns:
        Partitions by node id, -1 when unknown.
    """
    dropped: dict[int, int] = {}
    for edit in edits:
        if edit.at_break and edit.from_round == server_round:
            if edit.command == "exclude":
                dropped |= edit.nodes
            elif edit.command == "include":
                dropped = _without(dropped, edit)
    return dropped


def _without(nodes: Mapping[int, int], edit: Edit) -> dict[int, int]:
    return {key: value for key, value in nodes.items() if key not in edit.nodes}


def edits_in(events: Iterable[RunEvent]) -> list[Edit]:
    """Find the edits among a run's events, also superseded ones, each once.

    What a user asked for stays asked for, whatever became of the rounds around it.
    """
    found: dict[str, Edit] = {}
    for event in events:
        body = event.body
        if event.kind is not EventKind.CONTROL or "refused" in body:
            continue
        if body.get("command") in EDITS and "from_round" in body:
            found.setdefault(str(body["id"]), Edit.from_body(body))
    return list(found.values())


def policy_told(events: Iterable[RunEvent]) -> RoundPolicy | None:
    """Give when rounds close by a run's newest word on it; ``None`` if it said nothing."""
    found: Any = None
    for event in events:
        is_edit = event.kind is EventKind.CONTROL and "refused" not in event.body
        if is_edit or event.kind is EventKind.SETTINGS:
            found = event.body.get("policy") or found
    return None if found is None else RoundPolicy.from_json(found)


def unattended(edits: Iterable[Edit]) -> list[Edit]:
    """Leave out the breaks: where a run is repeated, nobody may be there to go on."""
    return [edit for edit in edits if edit.command != "break_when"]


def inherited(
    edits: Iterable[Edit], *, at_round: int, changed: frozenset[str]
) -> list[Edit]:
    """Give the edits that a fork keeps.

    Args:
        edits: The parent's.
        at_round: The parent's round that the fork goes on from.
        changed: Names of values that the fork changes itself, with ``_`` for ``-``.

    Returns:
        Those that were in force in that round, without what the fork changes.
    """
    kept: list[Edit] = []
    for edit in edits:
        if edit.from_round > at_round:
            continue
        if edit.command != "set":
            kept.append(edit)
            continue
        values = {
            name: value
            for name, value in edit.values.items()
            if name.replace("-", "_").rpartition(".")[2] not in changed
        }
        if values:
            kept.append(Edit.from_body({**edit.body(), "values": values}))
    return kept
