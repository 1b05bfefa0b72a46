"""What a fork changes: names that people give, read against the parent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flip_lab.core.errors import InvalidValueError, UnknownKeyError, nearest
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import scenario_from_dict
from flip_lab.fl.schema import option_items
from flip_lab.fl.strategies import STRATEGIES
from flip_lab.runs.arguments import in_python, overrides_by_key
from flip_lab.runs.inputs import Changes
from flip_lab.runs.spec import RunSpec

NODES = "data.num_partitions"
_FIXED = ("data.dataset", "model.")
_STRATEGY = "strategy.name"
_OPTIONS = "strategy.options"
_ROUNDS = ("num-server-rounds", "num_server_rounds", "num-rounds")


def read_changes(
    parent: RunSpec,
    named: Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    num_nodes: int | None = None,
) -> Changes:
    """Read what a fork changes.

    Args:
        parent: The run that is forked.
        named: Values by a short name: a field of the scenario or an option of its
            strategy; a key of an app's run configuration, with ``_`` for its ``-``.
        overrides: Values by key, as a launch takes them; they win.
        seed: Seed of the rounds to come; ``None`` keeps the parent's.
        num_nodes: Nodes from now on; ``None`` keeps the parent's.

    Returns:
        The changes, each by its whole path or key.

    Raises:
        UnknownKeyError: If a name means nothing; the nearest one is named.
        InvalidValueError: If a change would not fit any checkpoint.
    """
    exact = overrides_by_key(overrides or {})
    if parent.scenario is None:
        keys = {_app_key(parent, name): in_python(each) for name, each in named.items()}
        exact = {_found(parent, name) or name: each for name, each in exact.items()}
        return Changes(num_nodes=num_nodes, seed=seed, overrides={**keys, **exact})
    return _of_scenario(
        scenario_from_dict(parent.scenario),
        {**overrides_by_key(named), **exact},
        Changes(num_nodes=num_nodes, seed=seed, overrides={}),
    )


def _of_scenario(scenario: Scenario, given: Mapping[str, Any], changes: Changes) -> Changes:
    fields = {name: path for name in given if (path := _field(scenario, name))}
    values = {path: given[name] for name, path in fields.items()}
    strategy = str(values.get(_STRATEGY, scenario.strategy.name))
    known = {item.name for item in option_items(STRATEGIES.get(strategy))}
    for name, value in given.items():
        if name not in fields:
            values[_option(scenario, name, known, strategy)] = value
    seed, num_nodes = values.pop("seed", None), values.pop(NODES, None)
    for path in values:
        if path.startswith(_FIXED):
            raise InvalidValueError(
                f"A fork cannot change {path!r}: the parent's model would not fit.",
                fix="Launch a new run with this change.",
            )
    return Changes(
        num_nodes=num_nodes if changes.num_nodes is None else changes.num_nodes,
        seed=seed if changes.seed is None else changes.seed,
        overrides=values,
    )


def _field(scenario: Scenario, name: str) -> str | None:
    try:
        return scenario.path(name)
    except UnknownKeyError:
        return None


def _option(scenario: Scenario, name: str, known: Iterable[str], strategy: str) -> str:
    """Find an option that is given without its path.

    Raises:
        UnknownKeyError: If there is none.
    """
    if name in known:
        return f"{_OPTIONS}.{name}"
    if name in scenario.data.options:
        return f"data.options.{name}"
    last = {path.rpartition(".")[2] for path in scenario.paths()} - {"name", "options"}
    raise UnknownKeyError(
        f"Neither a scenario nor the strategy {strategy} has a value {name!r}.",
        fix=nearest(name, last | set(known)),
    )


def _app_key(parent: RunSpec, name: str) -> str:
    """Find a key of an app's run configuration.

    Raises:
        UnknownKeyError: If there is none.
    """
    key = _found(parent, name)
    if key is None:
        raise UnknownKeyError(
            f"The app {parent.name!r} has no configuration key {name!r}.",
            fix=nearest(name, parent.run_config),
        )
    return key


def _found(parent: RunSpec, name: str) -> str | None:
    wanted = [name, name.replace("_", "-"), *(_ROUNDS if name == "num_rounds" else ())]
    return next((key for key in wanted if key in parent.run_config), None)


def with_fitting_options(parent: RunSpec, changes: Changes) -> RunSpec:
    """Drop options that the fork's other strategy lacks; those that it has too stay.

    Args:
        parent: The run that is forked.
        changes: What the fork changes.

    Returns:
        The parent's spec as the fork begins with it.

    Raises:
        UnknownNameError: If there is no such strategy.
    """
    strategy = changes.overrides.get(_STRATEGY)
    if strategy is None or parent.scenario is None:
        return parent
    known = {item.name for item in option_items(STRATEGIES.get(str(strategy)))}
    told = parent.scenario["strategy"]
    kept = {name: each for name, each in told["options"].items() if name in known}
    scenario = {**parent.scenario, "strategy": {**told, "options": kept}}
    overrides = {
        path: value
        for path, value in parent.overrides.items()
        if not path.startswith(_OPTIONS) or path.rpartition(".")[2] in kept
    }
    return replace(parent, scenario=scenario, overrides=overrides)


def changed_names(parent: RunSpec, changes: Changes) -> frozenset[str]:
    """Name what the fork says itself, so that no edit of the parent's overrules it.

    Returns:
        The last part of each name, with ``_`` for ``-``; with another strategy also the
        options that it lacks.
    """
    names = {name.rpartition(".")[2] for name in changes.overrides}
    if _STRATEGY in changes.overrides and parent.scenario is not None:
        fitting = with_fitting_options(parent, changes).scenario or {}
        names |= {*parent.scenario["strategy"]["options"]} - {
            *fitting["strategy"]["options"]
        }
    return frozenset(name.replace("-", "_") for name in names)
