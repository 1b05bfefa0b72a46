"""A scenario in the launch form: its fields, and what of it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.devices import device_fields
from flip_lab.boards.launcher.schema import (
    FieldGroup,
    expectation_text,
    launch_arguments,
    launch_fields,
    scenario_groups,
)
from flip_lab.boards.launcher.values import Values, is_same, is_typed
from flip_lab.core.scenario import Scenario
from flip_lab.fl.form_field import FormField
from flip_lab.fl.schema import (
    OPTIONS,
    option_defaults,
    option_items,
    scenario_fields,
    thing_called,
    value_at,
)


@dataclass(frozen=True, kw_only=True)
class ScenarioSource:
    """A scenario as its file has it.

    Attributes:
        what: Its name or file, as it was given.
        base: The scenario.
    """

    what: str
    base: Scenario

    @property
    def title(self) -> str:
        """The scenario's title."""
        return self.base.title or self.base.name

    @property
    def description(self) -> str:
        """Its description."""
        return self.base.description

    @property
    def expectations(self) -> list[str]:
        """What a run must show, one line each."""
        return [expectation_text(each) for each in self.base.expect]

    def groups(self, values: Values) -> list[FieldGroup]:
        """Give the fields; the names chosen decide which options there are."""
        return scenario_groups(self.current(values), values.get("on"))

    def current(self, values: Values) -> Scenario:
        """Give the scenario with these values, as far as they are of the right type.

        Options that the chosen partitioner, model or strategy does not know are dropped;
        those of the form are not looked at.
        """
        changed = self.base
        for path, value in values.items():
            if path in self._plain and is_typed(self._plain[path], value):
                changed = changed.override({path: value})
        for table, name_path in OPTIONS.items():
            builder = thing_called(name_path, str(value_at(changed, name_path)))
            if builder is not None:
                known = {item.name for item in option_items(builder)}
                given: Mapping[str, Any] = value_at(self.base, table)
                kept = {name: each for name, each in given.items() if name in known}
                changed = changed.override({table: kept})
        return changed

    @cached_property
    def _plain(self) -> Mapping[str, FormField]:
        """The scenario's own fields, options left out."""
        every = scenario_fields(self.base)
        return {
            each.path: each for each in every if not each.is_option and each.kind != "prose"
        }

    def defaults(self, values: Values) -> dict[str, Any]:
        """Give the scenario's values, and of options what holds with these values."""
        now = self.current(values)
        found = {path: value_at(self.base, path) for path in self._plain}
        found |= option_defaults(now)
        for table in OPTIONS:
            given: Mapping[str, Any] = value_at(now, table)
            found |= {f"{table}.{name}": value for name, value in given.items()}
        of_launch = [*launch_fields(), *device_fields(values.get("on"))]
        return found | {each.path: each.default for each in of_launch}

    def call(self, values: Values) -> Call:
        """Give the launch: what differs from the scenario, and nothing else."""
        now = self.current(values)
        changed = {
            path: value
            for path, value in values.items()
            if path in self._plain and not is_same(value, value_at(self.base, path))
        }
        seed = {"seed": changed.pop("seed")} if "seed" in changed else {}
        for table in OPTIONS:
            changed |= self._option_overrides(now, table, values)
        overrides = {"overrides": changed} if changed else {}
        return Call(
            what=self.what, arguments={**launch_arguments(values), **seed, **overrides}
        )

    def check(self, values: Values) -> None:
        """Check the launch.

        Raises:
            FlipLabError: If a launch would refuse it.
        """
        self.call(values).check()

    def _option_overrides(
        self, now: Scenario, table: str, values: Values
    ) -> dict[str, Any]:
        """Say what of one table of options is to be changed, or all of it."""
        before: Mapping[str, Any] = value_at(self.base, table)
        kept: Mapping[str, Any] = value_at(now, table)
        usual = option_defaults(now)
        wanted = dict(kept)
        for path, value in values.items():
            name = path.removeprefix(f"{table}.")
            if path not in usual or name == path:
                continue
            if value is None:
                wanted.pop(name, None)
            elif not is_same(value, kept.get(name, usual[path])):
                wanted[name] = value
        if before.keys() - wanted.keys():  # one by one, nothing can be taken away
            return {table: wanted}
        return {
            f"{table}.{name}": value
            for name, value in wanted.items()
            if name not in before or not is_same(value, before[name])
        }
