"""What can be set in a scenario: each value with its type, range, unit and meaning.

Forms and the reference are made from this; it is read off the dataclasses, the signatures
and the docstrings that also check a launch, so it cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, cast, get_type_hints

from flip_lab.core.errors import UnknownNameError
from flip_lab.core.registry import Registry
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import DATASETS
from flip_lab.fl.docstrings import first_line, meanings
from flip_lab.fl.form_field import FormField, form_field
from flip_lab.fl.models import MODELS
from flip_lab.fl.partitioners import PARTITIONERS
from flip_lab.fl.strategies import STRATEGIES, strategy_defaults, strategy_range
from flip_lab.fl.validation import options_type

REGISTRIES: Mapping[str, Registry[Any]] = {
    "data.dataset": DATASETS,
    "data.partitioner": PARTITIONERS,
    "model.name": MODELS,
    "strategy.name": STRATEGIES,
}
"""Where the names that a scenario holds come from."""

OPTIONS: Mapping[str, str] = {
    "data.options": "data.partitioner",
    "model.options": "model.name",
    "strategy.options": "strategy.name",
}
"""Tables of options, and the name that says which options there are."""

_LABELS = {
    "data.dataset": "Data set",
    "data.partitioner": "Partitioner",
    "model.name": "Model",
    "strategy.name": "Strategy",
}
_OPEN = {"data.dataset"}  # names of the Hugging Face hub will do, too


def scenario_fields(scenario: Scenario) -> list[FormField]:
    """List all that can be set in a scenario, as its own names have it.

    Args:
        scenario: Its partitioner, model and strategy say which options there are, and its
            values are the defaults.

    Returns:
        Every field of ``Scenario`` and its parts; the options in place of each table of
        options. Those of a name that is not known are left out.
    """
    return [*_part_fields(scenario, scenario, "")]


def _part_fields(scenario: Scenario, part: object, prefix: str) -> Iterator[FormField]:
    kind: type[Any] = type(part)
    hints = get_type_hints(kind, include_extras=True)
    said = meanings(kind)
    for item in fields(kind):
        path, value = f"{prefix}{item.name}", getattr(part, item.name)
        if is_dataclass(value):
            yield from _part_fields(scenario, value, f"{path}.")
        elif path in OPTIONS:
            yield from _option_fields(scenario, path)
        else:
            more = _names(path, str(value)) if path in REGISTRIES else {}
            meaning = said.get(item.name, "")
            yield form_field(
                path, hints[item.name], default=value, help_text=meaning, **more
            )


def _names(path: str, chosen: str) -> dict[str, Any]:
    """Describe the names that may stand at a place."""
    return {
        "label": _LABELS[path],
        "choices": tuple(REGISTRIES[path].names()),
        "is_closed": path not in _OPEN,
        "about": first_line(thing_called(path, chosen)),
    }


def _option_fields(scenario: Scenario, path: str) -> Iterator[FormField]:
    """Describe the options in one table, with what holds for them now."""
    builder = _builder(scenario, path)
    if builder is None:
        return
    said, usual = meanings(builder), option_defaults(scenario)
    given = cast("Mapping[str, Any]", value_at(scenario, path))
    for item in option_items(builder):
        where = f"{path}.{item.name}"
        yield form_field(
            where,
            item.type,
            default=given.get(item.name, usual[where]),
            help_text=said.get(item.name, ""),
            is_option=True,
            **_waiting_range(scenario, where),
        )


def _waiting_range(scenario: Scenario, path: str) -> dict[str, Any]:
    """Give the range of an option by which a strategy waits for nodes."""
    table, _, name = path.rpartition(".")
    if table != "strategy.options":
        return {}
    limits = strategy_range(name, scenario.data.num_partitions)
    return {} if limits is None else {"least": limits[0], "most": limits[1]}


def thing_called(path: str, name: str) -> Callable[..., Any] | None:
    """Find what a name in a scenario stands for.

    Args:
        path: Where the name stands, such as ``strategy.name``.
        name: The name.

    Returns:
        The data set's loader, partitioner, model or strategy; ``None`` for none.
    """
    try:
        return REGISTRIES[path].get(name)
    except UnknownNameError:
        return None


def option_items(builder: Callable[..., Any]) -> list[Field[Any]]:
    """List the options that a scenario may give to a partitioner, model or strategy."""
    # The keys of the records are settled between our ServerApp and our ClientApp.
    return [
        item for item in fields(options_type(builder)) if not item.name.endswith("_key")
    ]


def option_defaults(scenario: Scenario) -> dict[str, Any]:
    """Give what holds for each option that a scenario does not give, by path.

    Returns:
        The builders' defaults and, for a strategy, what makes it use every node; ``None``
        for an option that may be left out.
    """
    found: dict[str, Any] = {}
    for path in OPTIONS:
        builder = _builder(scenario, path)
        for item in option_items(builder) if builder else ():
            usual = None if item.default is MISSING else item.default
            found[f"{path}.{item.name}"] = usual
    for name, value in strategy_defaults(scenario).items():
        if (path := f"strategy.options.{name}") in found:
            found[path] = value
    return found


def value_at(scenario: Scenario, path: str) -> Any:  # noqa: ANN401  # any value
    """Give a scenario's value by its dotted path.

    Raises:
        AttributeError: If there is no such path.
    """
    part: Any = scenario
    for step in path.split("."):
        part = getattr(part, step)
    return part


def _builder(scenario: Scenario, path: str) -> Callable[..., Any] | None:
    """Find what takes the options in a table."""
    return thing_called(OPTIONS[path], str(value_at(scenario, OPTIONS[path])))
