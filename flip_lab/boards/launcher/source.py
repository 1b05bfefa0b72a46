"""What a form is about: a scenario, or the directory of a Flower App."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from flip_lab.boards.launcher.app import AppSource
from flip_lab.boards.launcher.call import Call
from flip_lab.boards.launcher.scenario import ScenarioSource
from flip_lab.boards.launcher.schema import FieldGroup
from flip_lab.boards.launcher.values import Values
from flip_lab.core.errors import FlipLabError, InvalidValueError
from flip_lab.engines.apps import read_manifest
from flip_lab.fl.scenarios import load_scenario, scenario_names


class Source(Protocol):
    """What a form needs to know of what it launches."""

    @property
    def what(self) -> str:
        """Its name, file or directory, as it was given."""
        ...

    @property
    def title(self) -> str:
        """One line."""
        ...

    @property
    def description(self) -> str:
        """More lines; may be empty."""
        ...

    @property
    def expectations(self) -> list[str]:
        """What a run must show, one line each."""
        ...

    def groups(self, values: Values) -> list[FieldGroup]:
        """Give the fields that there are with these values."""
        ...

    def defaults(self, values: Values) -> dict[str, Any]:
        """Give what holds for each field that is left alone, by path."""
        ...

    def call(self, values: Values) -> Call:
        """Give the launch with these values, right or wrong."""
        ...

    def check(self, values: Values) -> None:
        """Check the launch with these values.

        Raises:
            FlipLabError: If something is wrong with them.
        """
        ...


def source_of(what: str | Path) -> Source:
    """Find out what somebody wants to launch.

    Args:
        what: A scenario's name or file, or the directory of a Flower App.

    Raises:
        InvalidValueError: If it is neither a text nor a path.
        FlipLabError: If there is no such thing, or it cannot be read.
    """
    if not isinstance(what, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
        raise InvalidValueError(
            f"A form cannot be made for {what!r}.",
            fix="Give a scenario's name or file, or the directory of a Flower App.",
        )
    if Path(what).is_dir():
        return AppSource(what=str(what), manifest=read_manifest(Path(what).resolve()))
    return ScenarioSource(what=str(what), base=load_scenario(what))


def listed_scenarios() -> list[dict[str, str]]:
    """List the scenarios to choose from, each with its title; broken ones have none."""
    found: list[dict[str, str]] = []
    for name in scenario_names():
        try:
            title = load_scenario(name).title
        except FlipLabError:  # it is told when somebody chooses it
            title = ""
        found.append({"name": name, "title": title})
    return found
