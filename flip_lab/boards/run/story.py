"""What people did to a run, and what is in force because of it: folded from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias, cast

from flip_lab.boards.run.snapshot import shortened
from flip_lab.core.edits import EDITS
from flip_lab.core.events import EventKind, Json, RunEvent
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.state import RunState

_MOST_DEEDS, _MOST_MARKS, _MOST_ROUNDS = 40, 60, 50
_WORDS_LENGTH = 160
_CHANGING = frozenset({"set", "set_policy", "exclude", "include"})
POLICY = "policy"
"""The scope of what ``set_policy`` sets."""
_POLICY_NAMES = "deadline_s", "quorum", "over_selection"
_KINDS: Mapping[type, str] = {bool: "bool", int: "int", float: "float"}
_ARMED = frozenset({"stop_when", "break_when"})

Body: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was done to a run so far, in bounded space.

    Attributes:
        author: Who paused the run; empty while it is not paused.
        because: Why it paused by itself; empty where a person wished it.
        broke: Whether it stands at a break, before the round's replies are aggregated.
        settings: What is in force by scope: ``train``, ``evaluate``, ``strategy``, ``run``.
        settings_round: Since which round.
        left_out: Partitions (nodes without one: their ids) that are left out, with the
            round from which on.
        armed: The conditions that count, in words, by the command's id.
        deeds: The newest commands, oldest first, at most 40.
        num_deeds: All of them.
        marks: Where a curve may have changed for it: round, kind (``edit``, ``pause`` or
            ``break``) and words; at most 60.
        checkpoints: The newest rounds that can be forked from, at most 50.
    """

    author: str = ""
    because: str = ""
    broke: bool = False
    settings: Mapping[str, Body] = field(default_factory=dict[str, Body])
    settings_round: int = 0
    left_out: Mapping[int, int] = field(default_factory=dict[int, int])
    armed: Mapping[str, str] = field(default_factory=dict[str, str])
    deeds: tuple[dict[str, Json], ...] = ()
    num_deeds: int = 0
    marks: tuple[dict[str, Json], ...] = ()
    checkpoints: tuple[int, ...] = ()

    def apply(self, events: Iterable[RunEvent]) -> Story:
        """Add events; the caller gives each once and in order."""
        story = self
        for event in events:
            change = _CHANGES.get(event.kind)
            story = change(story, event) if change else story
        return story

    @property
    def words(self) -> str:
        """Who paused the run and why, such as ``by ada: step done``; else empty."""
        who = f"by {self.author}" if self.author else ""
        place = "at a break" if self.broke else ""
        return ": ".join(filter(None, (who, place, self.because)))

    def fields(self) -> list[Json]:
        """Give the settings in force for a form: name, kind, text, and who has it.

        A name that scopes disagree on is given once for each, as ``scope.name``.
        """
        found: dict[str, dict[str, Json]] = {}
        for scope, values in self.settings.items():
            if scope == POLICY:
                continue
            for name, value in values.items():
                found.setdefault(name, {})[scope] = value
        fields: list[Json] = []
        for name, by_scope in found.items():
            values = list(by_scope.values())
            if all(repr(value) == repr(values[0]) for value in values):
                fields.append(_field(name, values[0], list(by_scope)))
            else:
                fields += [
                    _field(f"{scope}.{name}", value, [scope])
                    for scope, value in by_scope.items()
                ]
        return fields + (_policy_fields(self.settings.get(POLICY)) if fields else [])


def _field(name: str, value: Json, scopes: list[str]) -> Json:
    """Give one setting as text: JSON would make 1.0 a whole number."""
    told: list[Json] = [*scopes]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {
        "name": name,
        "kind": _KINDS.get(type(value), "text"),
        "text": text,
        "scopes": told,
    }


def _policy_fields(policy: Body | None) -> list[Json]:
    """Give a round's policy for a form: texts, for nothing stands for no limit."""
    held = {**RoundPolicy().to_json(), **(policy or {})}
    return [
        {
            "name": f"{POLICY}.{name}",
            "kind": "optional",
            "text": "" if held[name] is None else str(held[name]),
            "scopes": [POLICY],
        }
        for name in _POLICY_NAMES
    ]


def _state(story: Story, event: RunEvent) -> Story:
    body = event.body
    if body.get("state") != RunState.PAUSED:
        return replace(story, author="", because="", broke=False)
    told = replace(
        story,
        author=str(body.get("author") or ""),
        because=shortened(str(body.get("because") or ""), _WORDS_LENGTH),
        broke=bool(body.get("broke")),
    )
    kind = "break" if told.broke else "pause"
    place = body.get("server_round")  # of the pause; the event's own is 0
    where = place if isinstance(place, int) else event.server_round
    return _marked(told, where, kind, f"paused {told.words}".strip())


def _deed(story: Story, event: RunEvent) -> Story:
    body = event.body
    command, refused = str(body.get("command", "")), body.get("refused")
    from_round = body.get("from_round")
    starts = from_round if isinstance(from_round, int) and command in EDITS else 0
    words = deed_words(command, body)
    deed: dict[str, Json] = {
        "id": str(body.get("id", "")),
        "time_s": round(event.time_s, 1),
        "author": str(body.get("author", "")),
        "words": words,
        "from_round": starts,
        "refused": refused if isinstance(refused, Mapping) else None,
    }
    deeds = (*story.deeds, deed)[-_MOST_DEEDS:]
    told = replace(story, deeds=deeds, num_deeds=story.num_deeds + 1)
    if refused is not None:
        return told
    if command in _CHANGING:
        told = _marked(told, starts or event.server_round, "edit", words)
    return _accepted(told, command, body, starts)


def _accepted(story: Story, command: str, body: Body, starts: int) -> Story:
    """Note what one accepted command changes."""
    if command in _ARMED:
        armed = {**story.armed, str(body.get("id", "")): deed_words(command, body)}
        return replace(story, armed=armed)
    if command == "clear":
        gone = {str(each) for each in _listed(body, "ids")}
        kept = {key: words for key, words in story.armed.items() if key not in gone}
        return replace(story, armed=kept if gone else {})
    nodes = keys_of(body)
    if command == "exclude":
        added = {node: story.left_out.get(node, starts) for node in nodes}
        return replace(story, left_out={**story.left_out, **added})
    if command == "include":
        rest = {node: at for node, at in story.left_out.items() if node not in nodes}
        return replace(story, left_out=rest)
    return story


def _in_force(story: Story, event: RunEvent) -> Story:
    """Believe what is in force now; what was asked for a later round still counts."""
    body, now = event.body, event.server_round
    scopes = {key: dict(each) for key, each in body.items() if isinstance(each, Mapping)}
    excluded = [each for each in _listed(body, "excluded") if isinstance(each, int)]
    since = {node: min(story.left_out.get(node, now), now) for node in excluded}
    later = {node: at for node, at in story.left_out.items() if at > now}
    left_out = {**later, **since}
    return replace(story, settings=scopes, settings_round=now, left_out=left_out)


def _checkpoint(story: Story, event: RunEvent) -> Story:
    kept = (*story.checkpoints, event.server_round)[-_MOST_ROUNDS:]
    return replace(story, checkpoints=kept)


def _marked(story: Story, server_round: int, kind: str, words: str) -> Story:
    mark: dict[str, Json] = {"round": server_round, "kind": kind, "words": words}
    return replace(story, marks=(*story.marks, mark)[-_MOST_MARKS:])


_CHANGES: Mapping[EventKind, Callable[[Story, RunEvent], Story]] = MappingProxyType(
    {
        EventKind.STATE: _state,
        EventKind.CONTROL: _deed,
        EventKind.SETTINGS: _in_force,
        EventKind.CHECKPOINT: _checkpoint,
    }
)


def deed_words(command: str, body: Body) -> str:
    """Say in words what a command asks for."""
    match command:
        case "set":
            values = cast("Body", body.get("values") or {})
            words = "set " + ", ".join(
                f"{name}={value!r}" for name, value in values.items()
            )
        case "set_policy":
            words = f"set policy: {_policy_words(body)}"
        case "exclude" | "include":
            verb = "left out" if command == "exclude" else "took in again"
            words = f"{verb} {', '.join(map(str, keys_of(body)))}"
        case "step":
            number = body.get("num_rounds", 1)
            words = f"step of {number} round{'' if number == 1 else 's'}"
        case "stop_when" | "break_when":
            words = f"{command.replace('_', ' ')} {_rule(body)}"
        case "stop" if "at" in body:
            words = f"stop at {body['at']}"
        case _:
            words = command
    return shortened(words, _WORDS_LENGTH)


def _policy_words(body: Body) -> str:
    """Give a policy in words; what was asked for, where it was refused."""
    policy, changes = body.get("policy"), body.get("changes")
    if isinstance(policy, Mapping):
        return RoundPolicy.from_json(policy).words()
    told = changes if isinstance(changes, Mapping) else {}
    return ", ".join(f"{name}={value!r}" for name, value in told.items())


def _rule(body: Body) -> str:
    """Give a condition, or the parts of a rule."""
    rule = body.get("rule")
    told = rule if isinstance(rule, Mapping) else {"condition": body.get("condition", "")}
    return ", ".join(
        str(value) if key == "condition" else f"{key}={value}"
        for key, value in told.items()
    )


def keys_of(body: Body) -> list[int]:
    """List the partitions that a command names; of nodes without one, their ids."""
    partitions = _listed(body, "partition_ids")
    nodes = _listed(body, "node_ids") or _listed(body, "nodes")  # as asked, when refused
    if len(nodes) == len(partitions):
        pairs = zip(nodes, partitions, strict=True)
        told = [node if partition == -1 else partition for node, partition in pairs]
    else:
        told = [*partitions, *([] if partitions else nodes)]
    return [each for each in told if isinstance(each, int)]


def _listed(body: Body, key: str) -> list[Json]:
    told = body.get(key)
    return list(told) if isinstance(told, list | tuple) else []
