"""The border where scenario files become ``Scenario`` values, and back.

Inside, a ``Scenario`` is frozen data that can be trusted; everything that can be wrong in
a file is found here, before anything runs, with its path and a fix.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomli_w

from flip_lab.core.errors import InvalidValueError, ScenarioError, UnknownNameError, nearest
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import check_dataset_name
from flip_lab.fl.data.site import SITE, what_sites_share
from flip_lab.fl.models import MODELS
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.strategies import check_strategy
from flip_lab.fl.validation import read, read_options

_PACKAGE = Path(__file__).resolve().parents[1]


def scenario_names() -> list[str]:
    """List the scenarios that ``load_scenario`` finds by name, sorted."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.toml")})


def load_scenario(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> Scenario:
    """Load a scenario and check everything that can be checked without its data.

    Args:
        name_or_path: A name from ``scenario_names``, or the path of a ``.toml`` file.
        overrides: Values to change, as ``Scenario.override`` takes them.

    Raises:
        UnknownNameError: If there is no such scenario, or it names something unknown.
        UnknownKeyError: If a key means nothing; the message names the nearest valid one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
        ScenarioError: If the file is not TOML, or lacks a required key.
    """
    path = _find(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(
            f"The scenario file {path} cannot be read: {error.strerror}.",
            fix=f"Check the path, or use a name. {nearest(path.stem, scenario_names())}",
        ) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path} is not valid TOML: {error}.", fix="Correct the file at that place."
        ) from error
    return scenario_from_toml(text, overrides, where=str(path))


def scenario_from_toml(
    text: str, overrides: Mapping[str, Any] | None = None, *, where: str = "The text"
) -> Scenario:
    """Read a scenario from the text of its file, checked as ``load_scenario`` does.

    Args:
        text: TOML.
        overrides: Values to change, as ``Scenario.override`` takes them.
        where: What to call the text where it is no TOML.

    Raises:
        ScenarioError: If the text is no TOML, or lacks a required key.
        UnknownNameError: If it names something unknown.
        UnknownKeyError: If a key means nothing; the message names the nearest valid one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ScenarioError(
            f"{where} is not valid TOML: {error}.", fix="Correct the file at that place."
        ) from error
    return validate(scenario_from_dict(data).override(overrides or {}))


def scenario_text(name: str) -> str:
    """Give the text of the file of a scenario that is found by name, comments and all.

    Raises:
        UnknownNameError: If there is no such scenario.
        ScenarioError: If its file cannot be read.
    """
    if name not in scenario_names():  # a path would open any file
        raise UnknownNameError(
            f"There is no scenario {name!r}.", fix=nearest(name, scenario_names())
        )
    try:
        return _find(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"The file of the scenario {name!r} cannot be read: {error}.",
            fix="Check that you may read it, and that it is text in UTF-8.",
        ) from error


def validate(scenario: Scenario) -> Scenario:
    """Check types, ranges, names and options; return the scenario, numbers as declared.

    Raises:
        UnknownNameError: If the data set, partitioner, model or strategy does not exist.
        UnknownKeyError: If one of their options does not exist.
        InvalidValueError: If a value has the wrong type or lies outside its range.
    """
    checked = scenario_from_dict(scenario_to_dict(scenario))
    check_dataset_name(checked.data.dataset)
    partitioner = PARTITIONERS.get(checked.data.partitioner)
    is_of_sites = checked.data.dataset == SITE  # which are parts of nothing
    builder = what_sites_share if is_of_sites else partitioner
    read_options(builder, checked.data.options, prefix="data.options.")
    model = MODELS.get(checked.model.name)
    read_options(model, checked.model.options, prefix="model.options.")
    check_strategy(checked)
    for position, expectation in enumerate(checked.expect):
        _check_reference(expectation.at_least, f"expect[{position}].at_least")
    return checked


def scenario_from_dict(data: Mapping[str, Any]) -> Scenario:
    """Build a scenario from plain data; checks types and ranges, not names.

    Raises:
        UnknownKeyError: If a key means nothing; the message names the nearest valid one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
        ScenarioError: If a required key is missing.
    """
    return read(Scenario, data)


@lru_cache(maxsize=64)
def scenario_from_json(text: str) -> Scenario:
    """Build a scenario from JSON, as it travels to the apps; the same text is read once.

    Raises:
        UnknownKeyError: If a key means nothing; the message names the nearest valid one.
        InvalidValueError: If a value has the wrong type or lies outside its range.
    """
    return scenario_from_dict(json.loads(text))


def scenario_to_dict(scenario: Scenario) -> dict[str, Any]:
    """Give the scenario as nested tables, lists and scalars, ready for JSON."""
    return {**asdict(scenario), "expect": [asdict(item) for item in scenario.expect]}


def scenario_to_json(scenario: Scenario) -> str:
    """Give the scenario as one line of JSON: the value of ``scenario`` in a run config."""
    return json.dumps(scenario_to_dict(scenario), sort_keys=True)


def scenario_to_toml(scenario: Scenario) -> str:
    """Give the scenario as a file that ``load_scenario`` reads back to an equal one."""
    return tomli_w.dumps(scenario_to_dict(scenario), multiline_strings=True)


def _folders() -> list[Path]:
    """List where scenarios lie: the user's own, the wheel's copy, the repository's."""
    places = [Path("scenarios"), _PACKAGE / "_scenarios", _PACKAGE.parent / "scenarios"]
    return [place for place in places if place.is_dir()]


def _find(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    for folder in _folders():
        if (path := folder / f"{name_or_path}.toml").is_file():
            return path
    raise UnknownNameError(
        f"There is no scenario {name_or_path!r}.",
        fix=nearest(name_or_path, scenario_names()),
    )


def _check_reference(at_least: float | str, path: str) -> None:
    """Make sure that an expectation compares with something that exists.

    Raises:
        InvalidValueError: If it is no number and none of the words that stand for one.
    """
    if isinstance(at_least, str) and at_least not in {"local_only", "pooled"}:
        if not at_least.startswith("scenario:"):
            raise InvalidValueError(
                f"{path} is {at_least!r}.",
                fix="Set it to a number, 'local_only', 'pooled' or 'scenario:NAME'.",
            )
        _find(at_least.removeprefix("scenario:"))
