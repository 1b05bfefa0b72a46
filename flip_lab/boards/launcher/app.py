"""A Flower App directory in the launch form: the values of its own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.devices import device_fields
from flip_lab.boards.launcher.schema import (
    CONFIG,
    FieldGroup,
    app_groups,
    launch_arguments,
)
from flip_lab.boards.launcher.values import Values, is_same, require_typed
from flip_lab.engines.apps import AppManifest
from flip_lab.fl.form_field import FormField


@dataclass(frozen=True, kw_only=True)
class AppSource:
    """A Flower App directory.

    Attributes:
        what: The directory, as it was given.
        manifest: What its ``pyproject.toml`` says.
    """

    what: str
    manifest: AppManifest

    @property
    def title(self) -> str:
        """The project's name."""
        return self.manifest.name

    @property
    def description(self) -> str:
        """Where the form's fields come from."""
        return f"The Flower App in `{self.what}`. Its fields are those of `pyproject.toml`."

    @property
    def expectations(self) -> list[str]:
        """Nothing: an app does not say what it must show."""
        return []

    @cached_property
    def _fields(self) -> Mapping[str, FormField]:
        groups = app_groups(self.manifest)
        return {each.path: each for group in groups for each in group.fields}

    def groups(self, values: Values) -> list[FieldGroup]:
        """Give the fields; where it is launched decides on some."""
        return app_groups(self.manifest, values.get("on"))

    def defaults(self, values: Values) -> dict[str, Any]:
        """Give the app's configuration and the launch's defaults."""
        usual = {path: each.default for path, each in self._fields.items()}
        return usual | {each.path: each.default for each in device_fields(values.get("on"))}

    def call(self, values: Values) -> Call:
        """Give the launch: what differs from the app's configuration."""
        changed = {
            path.removeprefix(CONFIG): value
            for path, value in values.items()
            if path.startswith(CONFIG) and not self._is_default(path, value)
        }
        overrides = {"overrides": changed} if changed else {}
        arguments = {**launch_arguments(values, is_app=True), **overrides}
        return Call(what=self.what, arguments=arguments)

    def check(self, values: Values) -> None:
        """Check the launch, and that each value is of the type that the app's own has.

        Raises:
            FlipLabError: If a launch would refuse it, or a value is of another type.
        """
        for path, value in values.items():
            if path.startswith(CONFIG) and not self._is_default(path, value):
                require_typed(self._fields[path], value)
        self.call(values).check()

    def _is_default(self, path: str, value: object) -> bool:
        return path not in self._fields or is_same(value, self._fields[path].default)
