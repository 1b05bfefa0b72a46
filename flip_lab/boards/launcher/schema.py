"""The launch form: its fields in their groups, as plain data.

The fields of a scenario come from ``flip_lab.fl.schema``, those of an app from its own
configuration, and those of the launch itself from the signature of ``Lab.launch``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from flip_lab.boards.launcher.devices import device_arguments, device_fields
from flip_lab.boards.launcher.values import Values, is_same
from flip_lab.core.errors import FlipLabError
from flip_lab.core.scenario import Expectation, Scenario
from flip_lab.engines.apps import AppManifest
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.federations import federation_names
from flip_lab.fl.docstrings import meanings, plain
from flip_lab.fl.form_field import FormField, form_field
from flip_lab.fl.schema import scenario_fields
from flip_lab.runs.lab import Lab

CONFIG = "config."
"""What the paths of an app's configuration begin with."""

LAUNCH_FIELDS = (
    "on",
    "workers",
    "client_timeout_s",
    "stop_when",
    "num_nodes",
    "seed",
    "experiment",
    "tags",
    "note",
)
"""Arguments of ``Lab.launch`` that the form has a field for."""

_OF_APPS = {"num_nodes", "seed"}  # a scenario has values of its own for these
_TITLES = {
    "data": "Data",
    "model": "Model",
    "strategy": "Strategy",
    "train": "Training",
    "config": "Configuration of the app",
    "launch": "Where",
    "devices": "Real nodes",
    "about": "About",
}
_LONG = {"note", "description"}


@dataclass(frozen=True, kw_only=True)
class FieldGroup:
    """Fields that belong together.

    Attributes:
        key: ``data``, ``model``, ``strategy``, ``train``, ``config``, ``launch``,
            ``devices`` or ``about``.
        title: What stands above them.
        fields: The fields.
    """

    key: str
    title: str
    fields: tuple[FormField, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the group as the browser draws it: defaults travel by themselves."""
        return {
            "key": self.key,
            "title": self.title,
            "fields": [_field_json(field) for field in self.fields],
        }


def scenario_groups(scenario: Scenario, on: object = None) -> list[FieldGroup]:
    """Give the form of a scenario.

    Args:
        scenario: Its names say which options there are.
        on: Where it is launched: real nodes bring fields of their own.

    Returns:
        Groups that hold every field of ``Scenario``, and those of the launch.
    """
    groups: dict[str, list[FormField]] = {key: [] for key in _TITLES}
    for field in scenario_fields(scenario):
        part = field.path.partition(".")[0]
        in_launch = field.path == "seed"
        groups["launch" if in_launch else part if part in groups else "about"].append(field)
    (seed,), where = groups["launch"], _where()
    at = [field.path for field in where].index("experiment")
    groups["launch"] = [*where[:at], seed, *where[at:]]
    groups["devices"] = device_fields(on)
    return _titled(groups)


def app_groups(manifest: AppManifest, on: object = None) -> list[FieldGroup]:
    """Give the form of a Flower App: its configuration with the types of its defaults."""
    config = [
        form_field(f"{CONFIG}{key}", type(value), default=value, label=key)
        for key, value in manifest.config.items()
    ]
    where = _where(is_app=True)
    return _titled({"config": config, "launch": where, "devices": device_fields(on)})


@cache
def launch_fields(*, is_app: bool = False) -> tuple[FormField, ...]:
    """Describe the arguments of ``Lab.launch``, as its signature and docstring have them.

    Args:
        is_app: Whether an app is launched: then the seed and the nodes are arguments.
    """
    parameters, said = signature(Lab.launch).parameters, meanings(Lab.launch)
    # Only these annotations are looked up: others may name modules that are not loaded.
    wanted = {name: parameters[name].annotation for name in LAUNCH_FIELDS}
    own = {"tags": list[str], "stop_when": str | None}  # what can be typed
    told = SimpleNamespace(__annotations__={**wanted, **own})
    hints = get_type_hints(told, Lab.launch.__globals__, include_extras=True)
    return tuple(
        form_field(
            name,
            hints[name],
            default=[] if name == "tags" else parameters[name].default,
            help_text=said.get(name, ""),
        )
        for name in LAUNCH_FIELDS
        if is_app or name not in _OF_APPS
    )


def _where(*, is_app: bool = False) -> list[FormField]:
    """Give the arguments of the launch with the places that there are now."""
    on, *others = launch_fields(is_app=is_app)
    return [
        replace(on, label="Engine or federation", choices=places(), is_closed=True),
        *others,
    ]


def launch_arguments(values: Values, *, is_app: bool = False) -> dict[str, Any]:
    """Give the arguments of the launch that differ from their defaults.

    Args:
        values: What was put in, by path.
        is_app: Whether an app is launched.
    """
    found = {
        each.path: values[each.path]
        for each in launch_fields(is_app=is_app)
        if each.path in values and not is_same(values[each.path], each.default)
    }
    return found | device_arguments(values)


def places() -> tuple[str, ...]:
    """List what ``on=`` can say: the engines, and the federations of ``flip-lab.toml``."""
    try:
        federations = federation_names(Path.cwd())
    except FlipLabError:  # a launch on an engine does not read that file
        federations = []
    return (*ENGINES.names(), *federations)


def expectation_text(expectation: Expectation) -> str:
    """Say in one line what a run must show."""
    at_least, margin = expectation.at_least, expectation.margin
    by = f" {'+' if margin > 0 else '-'} {abs(margin):g}" if margin else ""
    return f"{expectation.says} ({expectation.metric} ≥ {at_least}{by})"


def _titled(groups: dict[str, list[FormField]]) -> list[FieldGroup]:
    return [
        FieldGroup(key=key, title=_TITLES[key], fields=tuple(fields))
        for key, fields in groups.items()
        if fields
    ]


def _field_json(field: FormField) -> dict[str, Any]:
    told = asdict(field)
    del told["default"]
    told["help"] = plain(field.help)
    told["is_long"] = field.path in _LONG
    return {
        key: value
        for key, value in told.items()
        if value is not None and value is not False and value not in ("", ())
    }
