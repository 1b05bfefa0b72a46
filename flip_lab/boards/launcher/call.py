"""A launch as data, and as the line of Python that does the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

from flip_lab.boards.launcher.devices import policy_of
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.edits import edits_at_launch
from flip_lab.runs.groups import group_of
from flip_lab.runs.inputs import Changes, Prepared
from flip_lab.runs.lab import Lab
from flip_lab.runs.launch import prepared_run
from flip_lab.runs.places import place_of, with_cohorts

_LINE = 79
"""Columns of one line in a notebook's cell."""
_IMPORT = "from flip_lab import RoundPolicy"


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is passed to ``Lab.launch``.

    Attributes:
        what: The scenario's name or file, or the app's directory.
        arguments: The keyword arguments that differ from their defaults; of a policy its
            parts by name, right or wrong.
    """

    what: str
    arguments: Mapping[str, Any]

    def python(self) -> str:
        """Write the call as one would type it; ``lab`` is the lab."""
        told = self._ordered()
        before = f"{_IMPORT}\n\n" if "policy" in told else ""
        given = [_written(name, value) for name, value in told.items()]
        line = f"lab.launch({', '.join([literal(self.what), *given])})"
        if len(line) <= _LINE and "\n" not in line:
            return before + line
        given = [_written(name, value, indent=4) for name, value in told.items()]
        body = "".join(f"    {part},\n" for part in [literal(self.what), *given])
        return f"{before}lab.launch(\n{body})"

    def in_order(self) -> dict[str, Any]:
        """Give the arguments as a launch takes them, in the order of its signature.

        Raises:
            InvalidValueError: If there is no such policy.
        """
        told = self._ordered()
        return told | ({"policy": policy_of(told["policy"])} if "policy" in told else {})

    def _ordered(self) -> dict[str, Any]:
        names = signature(Lab.launch).parameters
        return {name: self.arguments[name] for name in names if name in self.arguments}

    def check(self) -> Prepared:
        """Check it as a launch does, with the same code; writes and starts nothing.

        Returns:
            What would be run.

        Raises:
            FlipLabError: If a launch would refuse it, with the same code and words.
        """
        told = self.arguments
        group = group_of(
            told.get("experiment"), None, told.get("tags", ()), told.get("note", "")
        )
        changes = Changes(
            num_nodes=told.get("num_nodes"),
            seed=told.get("seed"),
            overrides=told.get("overrides", {}),
        )
        place = place_of(
            told.get("on", "auto"), told.get("workers"), told.get("client_timeout_s")
        )
        policy = policy_of(told.get("policy"))
        return prepared_run(
            self.what,
            place=with_cohorts(place, told.get("nodes"), policy),
            changes=changes,
            checkpoints=Checkpoints(),
            group=group,
            edits=edits_at_launch(told.get("stop_when"), None),
        )


def _written(name: str, value: object, *, indent: int = 0) -> str:
    """Write one argument."""
    if name == "policy":
        parts = cast("Mapping[str, object]", value).items()
        told = ", ".join(f"{part}={literal(each)}" for part, each in parts)
        return f"policy=RoundPolicy({told})"
    return f"{name}={literal(value, indent=indent)}"


def literal(value: object, *, indent: int = 0) -> str:
    """Write a value as Python source that gives it back.

    Args:
        value: A scalar, ``None``, or lists and tables of these.
        indent: Columns that its line begins with: long tables get a line for each entry;
            0 keeps everything on one line.
    """
    match value:
        case str():
            source = repr(value)
            return source if '"' in value or source[0] == '"' else f'"{source[1:-1]}"'
        case float() if not math.isfinite(value):
            return f'float("{value}")'
        case list() | tuple():
            parts = cast("list[object]", value)
            return f"[{', '.join(literal(part) for part in parts)}]"
        case Mapping():
            entries = [
                f"{literal(key)}: {literal(each)}"
                for key, each in cast("Mapping[object, object]", value).items()
            ]
            line = f"{{{', '.join(entries)}}}"
            if not indent or len(line) + indent < _LINE - len("overrides=,"):
                return line
            pad = " " * indent
            body = "".join(f"{pad}    {entry},\n" for entry in entries)
            return f"{{\n{body}{pad}}}"
        case _:
            return repr(value)
