"""The state of a launch form: what was put in, what is wrong with it, what it would run.

Nothing in here knows of widgets: a draft goes in, a verdict comes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict

from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.schema import FieldGroup
from flip_lab.boards.launcher.source import Source
from flip_lab.boards.launcher.values import Edits, Raw, is_same, raw_of, value_of
from flip_lab.core.errors import FlipLabError, UnknownKeyError, nearest
from flip_lab.fl.form_field import FormField


class Problem(TypedDict):
    """An error as the browser shows it.

    Attributes:
        code: Its code.
        what: What is wrong.
        fix: What to do about it.
    """

    code: str
    what: str
    fix: str


class Change(TypedDict):
    """A value that is not the default.

    Attributes:
        path: Whose.
        label: What the field is called.
        before: The default, as it would stand in the form.
        after: What stands there.
    """

    path: str
    label: str
    before: Raw
    after: Raw


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A form that was filled in.

    Attributes:
        source: What it launches.
        edits: What was put in, by path; of fields that are not there now, too.
    """

    source: Source
    edits: Edits = field(default_factory=dict[str, Raw])

    @cached_property
    def values(self) -> dict[str, Any]:
        """What was put in, as Python has it; names first, as the options go by them."""
        found: dict[str, Any] = {}
        for _ in range(2):  # a new name brings new options
            groups = self.source.groups(found)
            fields = {each.path: each for group in groups for each in group.fields}
            found = {
                path: value_of(fields[path], raw)
                for path, raw in self.edits.items()
                if path in fields and fields[path].kind != "prose"
            }
        return found

    @cached_property
    def groups(self) -> list[FieldGroup]:
        """The fields that there are."""
        return self.source.groups(self.values)

    @cached_property
    def fields(self) -> Mapping[str, FormField]:
        """The same by path."""
        return {each.path: each for group in self.groups for each in group.fields}

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """What holds for each field that is left alone."""
        found = self.source.defaults(self.values)
        return {path: found.get(path) for path in self.fields}

    @cached_property
    def changes(self) -> list[Change]:
        """What is not the default, in the form's order."""
        return [
            Change(
                path=path,
                label=each.label,
                before=raw_of(self.defaults[path]),
                after=self.edits[path],
            )
            for path, each in self.fields.items()
            if path in self.values and not is_same(self.values[path], self.defaults[path])
        ]

    @cached_property
    def problems(self) -> dict[str, Problem]:
        """What is wrong, by path; under the empty path what no field is to blame for."""
        values, found = dict(self.values), dict[str, Problem]()
        while (error := _refusal(self.source, values)) is not None:
            path = _culprit(self.source, values, error)
            found[path] = told(error)
            if not path:
                break
            del values[path]
        return found

    @cached_property
    def call(self) -> Call:
        """The launch, right or wrong."""
        return self.source.call(self.values)

    @property
    def is_away(self) -> bool:
        """Whether the run would go on elsewhere, and not be kept in this lab at first."""
        return "detach" in self.call.arguments

    def with_edits(self, values: Mapping[str, Any]) -> Draft:
        """Give a draft with these values put in, too.

        Args:
            values: Python's values by path; ``None`` puts the default back.

        Raises:
            UnknownKeyError: If the form has no such field; the nearest is named.
        """
        edits = {**self.edits}
        for path, value in values.items():
            edits.pop(path, None)
            if value is not None:
                edits[path] = raw_of(value)
        draft = Draft(source=self.source, edits=edits)
        for path in values:
            if path not in draft.fields:
                raise UnknownKeyError(
                    f"The form has no field {path!r}.", fix=nearest(path, draft.fields)
                )
        return draft


def told(error: FlipLabError) -> Problem:
    """Give an error as the browser shows it."""
    return Problem(code=error.code, what=error.what, fix=error.fix)


def _refusal(source: Source, values: Mapping[str, Any]) -> FlipLabError | None:
    """Say what a launch with these values would be refused for; ``None`` for nothing."""
    try:
        source.check(values)
    except FlipLabError as error:
        return error
    return None


def _is_named(path: str, text: str) -> bool:
    """Say whether a text names a value: ``on`` is not named by *over-selection*."""
    return re.search(rf"(?<!\w){re.escape(path)}(?!\w)", text) is not None


def _culprit(source: Source, values: Mapping[str, Any], error: FlipLabError) -> str:
    """Find the value that is to blame: without it, the launch has no such error.

    Those that the message names are tried first, then the last ones put in.
    """
    latest = [*values][::-1]
    named = [path for path in latest if _is_named(path.removeprefix("config."), error.what)]
    for path in dict.fromkeys([*sorted(named, key=len, reverse=True), *latest]):
        rest = {each: value for each, value in values.items() if each != path}
        left = _refusal(source, rest)
        if left is None or left.what != error.what:
            return path
    return ""
