"""The edits of a run: those it is launched with, all of them, and each in a few words."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeAlias, cast

from flip_lab.core.condition import Condition
from flip_lab.core.edits import Edit, edits_in
from flip_lab.core.errors import ConditionError
from flip_lab.core.events import Json
from flip_lab.core.policy import RoundPolicy
from flip_lab.core.stopping import StopRule
from flip_lab.runs.spec import RunSpec
from flip_lab.store.audit_writer import author
from flip_lab.store.events import read_events
from flip_lab.store.layout import LabDir

_MOST_BYTES = 16_000_000

Break: TypeAlias = str | Callable[[Any], object]
"""A condition as text, or a function that looks at a round's replies."""


def edits_at_launch(
    stop_when: str | StopRule | None, break_when: Break | Iterable[Break] | None
) -> list[dict[str, Any]]:
    """Give the bodies of the edits that a run is launched with, in force from round 1.

    Args:
        stop_when: A rule, or its condition.
        break_when: One condition, or several.

    Raises:
        ConditionError: If one cannot be understood.
    """
    wanted: list[tuple[str, dict[str, Json]]] = []
    if stop_when is not None:
        rule = stop_when
        if isinstance(rule, str):
            rule = StopRule(condition=Condition.parse(rule))
        wanted.append(("stop_when", {"rule": rule.to_json()}))
    if isinstance(break_when, str) or callable(break_when):
        break_when = [break_when]
    wanted += [("break_when", break_body(each)) for each in break_when or ()]
    return [
        Edit(
            id=f"launch-{number}-{command}",
            command=command,
            author=author(),
            from_round=1,
            arguments=arguments,
        ).body()
        for number, (command, arguments) in enumerate(wanted)
    ]


def break_body(condition: Break) -> dict[str, Json]:
    """Give the arguments of a ``break_when``.

    Raises:
        ConditionError: If the condition cannot be understood, or the function holds on to
            something that cannot travel, or is too large to.
    """
    if not callable(condition):
        return {"condition": str(Condition.parse(condition))}
    cloudpickle: Any = import_module("cloudpickle")  # functions of cells, by value
    try:
        content = cast("bytes", cloudpickle.dumps(condition))
    except Exception as error:
        raise ConditionError(
            f"The function cannot be sent to the run: {type(error).__name__}: {error}.",
            fix="Use only plain values in it: no open files, locks or widgets.",
        ) from error
    if len(content) > _MOST_BYTES:  # a fact that the journal refuses is the run's end
        raise ConditionError(
            f"The function cannot be sent to the run: with all that it holds on to it has "
            f"{len(content) / 1e6:.0f} MB, and may have {_MOST_BYTES / 1e6:.0f}.",
            fix="Work out beforehand what it compares with, and use only that in it.",
        )
    function = base64.b64encode(content).decode("ascii")
    name = str(getattr(condition, "__name__", condition))
    return {"condition": name, "function": function}


def edits_of(lab: LabDir, spec: RunSpec) -> list[Edit]:
    """Give all edits of a run: those that it was launched with, and its users'."""
    found = {edit.id: edit for edit in map(Edit.from_body, spec.edits)}
    found |= {edit.id: edit for edit in edits_in(read_events(lab, spec.run_id))}
    return list(found.values())


def edit_text(command: str, body: Mapping[str, Any]) -> str:
    """Say in a few words what an edit does, such as ``set learning_rate = 0.01``."""
    match command:
        case "set":
            values: dict[str, Any] = body.get("values") or {}
            return "set " + ", ".join(f"{name} = {each}" for name, each in values.items())
        case "set_policy":
            return f"set policy: {RoundPolicy.from_json(body['policy']).words()}"
        case "exclude" | "include":
            nodes: list[int] = body.get("partition_ids") or body.get("node_ids") or []
            return f"{command} {', '.join(map(str, nodes))}"
        case "break_when":
            return f"break when {body.get('condition', 'a function says so')}"
        case "stop_when":
            return f"stop when {StopRule.from_json(body['rule'])}"
        case _:
            return command.replace("_", " ")
