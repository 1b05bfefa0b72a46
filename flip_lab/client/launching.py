"""What a launch is made of, as it travels: a name, a text, or an uploaded app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flip_lab.client.run_steering import words_of
from flip_lab.core.condition import Condition
from flip_lab.core.errors import InvalidValueError, ScenarioError, UnknownNameError
from flip_lab.core.scenario import Scenario
from flip_lab.core.stopping import StopRule


def source_of(what: object, *, upload: Callable[[Path], str]) -> Mapping[str, str]:
    """Say what shall be launched.

    Args:
        what: A Scenario, its name or its TOML file; or a Flower App directory.
        upload: Brings a directory to the lab, and gives the upload's id.

    Returns:
        One of ``scenario``, ``toml`` and ``upload``.

    Raises:
        InvalidValueError: If it is something else.
        UnknownNameError: If it is a path of neither a scenario nor a directory.
        ScenarioError: If the file cannot be read.
    """
    if isinstance(what, Scenario):
        from flip_lab.fl.scenarios import scenario_to_toml  # loads Flower and torch

        return {"toml": scenario_to_toml(what)}
    if not isinstance(what, str | Path):
        raise InvalidValueError(
            f"A {type(what).__name__} cannot be launched in a remote lab: {what!r:.200}.",
            fix="Give a Scenario, its name or file, or a Flower App directory; apps from "
            "notebook cells run in a local lab only.",
        )
    path = Path(what).expanduser()
    if path.is_dir():
        return {"upload": upload(path)}
    if path.suffix == ".toml":
        return {"toml": _text(path)}
    if isinstance(what, Path):
        raise UnknownNameError(
            f"{what} is neither a scenario file nor a Flower App directory.",
            fix="Give a .toml file, or a directory with a pyproject.toml.",
        )
    return {"scenario": what}


def rule_of(stop_when: str | StopRule | None) -> Any:  # noqa: ANN401  # JSON
    """Give a rule to stop by as JSON.

    Raises:
        ConditionError: If it cannot be understood.
    """
    if isinstance(stop_when, StopRule):
        return stop_when.to_json()
    return None if stop_when is None else str(Condition.parse(stop_when))


def conditions_of(break_when: str | Iterable[str] | None) -> list[str]:
    """Give conditions to break on as texts.

    Raises:
        ConditionError: If one cannot be understood, or is a function.
    """
    if break_when is None:
        return []
    several = (
        [break_when] if isinstance(break_when, str) or callable(break_when) else break_when
    )
    return [words_of(each) for each in several]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"The scenario file {path} cannot be read: {error}.",
            fix="Check the path, or use a name: lab.scenarios() lists them.",
        ) from error
