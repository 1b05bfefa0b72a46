"""The edits of a run: all of them, and what each does in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flip_lab.core.edits import Edit, edits_in
from flip_lab.core.stopping import StopRule
from flip_lab.runs.spec import RunSpec
from flip_lab.store.events import read_events
from flip_lab.store.layout import LabDir


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
        case "exclude" | "include":
            nodes: list[int] = body.get("partition_ids") or body.get("node_ids") or []
            return f"{command} {', '.join(map(str, nodes))}"
        case "break_when":
            return f"break when {body.get('condition', 'a function says so')}"
        case "stop_when":
            return f"stop when {StopRule.from_json(body['rule'])}"
        case _:
            return command.replace("_", " ")
