"""What can be launched: a Scenario, a Flower App directory, apps from notebook cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import (
    AppError,
    InvalidValueError,
    MissingExtraError,
    UnknownNameError,
)
from flip_lab.core.scenario import Scalar, Scenario
from flip_lab.engines.apps import AppManifest, read_manifest
from flip_lab.fl.scenarios import (
    load_scenario,
    scenario_from_dict,
    scenario_to_dict,
    scenario_to_json,
    validate,
)
from flip_lab.runs.arguments import (
    config_values,
    in_python,
    overrides_by_key,
    whole_number,
)
from flip_lab.runs.snapshot import contents, take_snapshot
from flip_lab.runs.spec import RunSpec
from flip_lab.store.layout import write_json_atomic

DEFAULT_NUM_NODES = 10
"""Simulated nodes of a Flower App that names no number; Flower's own default."""

MIN_REAL_NODES = 2
"""Real nodes that a Flower App waits for at least; its strategy may wait for more."""


@dataclass(frozen=True, kw_only=True)
class App:
    """ServerApp and ClientApp objects defined in notebook cells.

    Attributes:
        server_app: The ServerApp object.
        client_app: The ClientApp object.
        num_nodes: Number of simulated nodes, at least 1.
        run_config: Flower's run configuration, as the apps read it from their Context.
        name: What the run is called in lists.
    """

    server_app: ServerApp
    client_app: ClientApp
    num_nodes: int = DEFAULT_NUM_NODES
    run_config: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    name: str = "notebook"


_CONTENTS = "app-contents.json"
_PICKLES = ("server", "client")

Launchable: TypeAlias = "Scenario | App | str | Path"
Unpack: TypeAlias = Callable[[Path], str]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a launch changes in its input.

    Attributes:
        num_nodes: Number of nodes; ``None`` keeps the input's.
        seed: The run's seed; ``None`` keeps the input's.
        overrides: Scenario values by path, or the app's configuration by key.
    """

    num_nodes: int | None
    seed: int | None
    overrides: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """An input that was found valid, ready to be written into a run's directory.

    Attributes:
        spec: The run's spec, as far as the input decides it.
        unpack: Writes the app into the run's directory; returns the app's hash.
    """

    spec: RunSpec
    unpack: Unpack


def prepare(what: Launchable, blank: RunSpec, changes: Changes) -> Prepared:
    """Check an input and say what its run would be; writes nothing.

    Args:
        what: A Scenario; its name or file; a Flower App directory; an ``App``.
        blank: The spec with what the launch itself decides.
        changes: What the launch changes in the input.

    Raises:
        ScenarioError: If the scenario cannot be run as written.
        AppError: If the Flower App lacks a part.
        UnknownNameError: If nothing of this name exists.
        InvalidValueError: If the input is of another type.
    """
    if isinstance(what, App):
        return _prepare_notebook(what, blank, changes)
    if isinstance(what, Scenario):
        return _prepare_scenario(what, blank, changes)
    if not isinstance(what, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
        raise InvalidValueError(
            f"A {type(what).__name__} cannot be launched: {what!r}.",
            fix="Give a Scenario, its name or file, a Flower App directory, or "
            "App(server_app=…, client_app=…).",
        )
    if Path(what).is_dir():
        return _prepare_directory(Path(what).resolve(), blank, changes)
    if isinstance(what, Path) and what.suffix != ".toml":
        raise UnknownNameError(
            f"{what} is neither a scenario file nor a Flower App directory.",
            fix="Give a .toml file, or a directory with a pyproject.toml.",
        )
    return _prepare_scenario(load_scenario(str(what)), blank, changes)


def prepare_again(
    old: RunSpec, run_dir: Path, blank: RunSpec, changes: Changes
) -> Prepared:
    """Say what another run of an earlier run's input would be; writes nothing.

    Args:
        old: The earlier run.
        run_dir: Its directory, which keeps its input.
        blank: The spec with what the launch itself decides.
        changes: What is changed; the earlier run's own changes stand.

    Raises:
        ScenarioError: If the scenario cannot be run with these changes.
        AppError: If the kept app lacks a part, or is gone.
    """
    blank = replace(blank, search_path=old.search_path)
    if old.scenario is not None:
        return _scenario_again(old, blank, changes)
    seed = old.seed if changes.seed is None else changes.seed
    num_nodes = old.num_nodes if changes.num_nodes is None else changes.num_nodes
    overrides = {**old.overrides, **overrides_by_key(changes.overrides)}
    changes = Changes(num_nodes=num_nodes, seed=seed, overrides=overrides)
    app = run_dir / "app"
    if not app.is_dir():
        raise AppError(
            f"Run {old.run_id} is kept here without its app.",
            fix="It was imported; share it from the lab that it ran in with format='flip'.",
        )
    if old.kind == "notebook":
        config = config_values(overrides)
        spec = replace(
            blank,
            kind="notebook",
            name=old.name,
            seed=_seed(changes),
            num_nodes=_num_nodes(changes, old.num_nodes),
            run_config={**old.run_config, **config},
            overrides=dict(config),
            working_dir=old.working_dir,
        )
        return Prepared(spec=spec, unpack=lambda into: _copy_pickles(app, into / "app"))
    only = frozenset(json.loads((run_dir / _CONTENTS).read_text(encoding="utf-8")))
    prepared = _prepare_directory(app, blank, changes)
    return Prepared(spec=prepared.spec, unpack=lambda into: _unpack(app, into, only=only))


def _scenario_again(old: RunSpec, blank: RunSpec, changes: Changes) -> Prepared:
    """Change the scenario as it was run; what had been changed before is in it."""
    scenario = scenario_from_dict(old.scenario or {})
    again = _prepare_scenario(scenario, blank, changes)
    before = {scenario.path(name): value for name, value in old.overrides.items()}
    overrides = {**before, **again.spec.overrides}
    return replace(again, spec=replace(again.spec, overrides=overrides))


def _copy_pickles(source: Path, into: Path) -> str:
    into.mkdir()
    digest = hashlib.sha256()
    for name in _PICKLES:
        content = (source / f"{name}.pkl").read_bytes()
        (into / f"{name}.pkl").write_bytes(content)
        digest.update(content)
    return digest.hexdigest()


def _prepare_scenario(scenario: Scenario, blank: RunSpec, changes: Changes) -> Prepared:
    values = overrides_by_key(changes.overrides)
    if changes.num_nodes is not None:
        values["data.num_partitions"] = in_python(changes.num_nodes)
    if changes.seed is not None:
        values["seed"] = in_python(changes.seed)
    final = validate(scenario.override(values))
    spec = replace(
        blank,
        kind="scenario",
        name=final.name,
        seed=final.seed,
        num_rounds=final.train.num_rounds,
        num_nodes=final.data.num_partitions,
        run_config={"scenario": scenario_to_json(final)},
        overrides=values,
        scenario=scenario_to_dict(final),
        scenario_fingerprint=final.fingerprint,
    )
    return Prepared(spec=spec, unpack=lambda _: final.fingerprint)


def _prepare_directory(directory: Path, blank: RunSpec, changes: Changes) -> Prepared:
    manifest = read_manifest(directory)
    overrides = config_values(changes.overrides)
    spec = replace(
        blank,
        kind="app",
        name=manifest.name,
        seed=_seed(changes),
        num_nodes=_num_nodes(changes, _default_num_nodes(manifest, blank)),
        run_config=dict(manifest.run_config(overrides)),
        overrides=dict(overrides),
        server_ref=manifest.server_ref,
        client_ref=manifest.client_ref,
    )
    return Prepared(spec=spec, unpack=lambda run_dir: _unpack(directory, run_dir))


def _unpack(directory: Path, run_dir: Path, *, only: frozenset[str] | None = None) -> str:
    """Take the app's snapshot and note what it holds: the app may write beside it."""
    app_sha256 = take_snapshot(directory, run_dir / "app", only=only)
    write_json_atomic(run_dir / _CONTENTS, contents(run_dir / "app"))
    return app_sha256


def _default_num_nodes(manifest: AppManifest, blank: RunSpec) -> int:
    if blank.federation is not None:
        return MIN_REAL_NODES
    return manifest.num_nodes or DEFAULT_NUM_NODES


def _prepare_notebook(app: App, blank: RunSpec, changes: Changes) -> Prepared:
    overrides = config_values(changes.overrides)
    spec = replace(
        blank,
        kind="notebook",
        name=app.name,
        seed=_seed(changes),
        num_nodes=_num_nodes(changes, app.num_nodes),
        run_config={**config_values(app.run_config), **overrides},
        overrides=dict(overrides),
    )
    return Prepared(spec=spec, unpack=lambda run_dir: _pickle(app, run_dir / "app"))


def _pickle(app: App, into: Path) -> str:
    """Write both apps by value; give the hash of what was written.

    Raises:
        MissingExtraError: If cloudpickle is not installed.
        InvalidValueError: If an app holds something that cannot travel.
    """
    try:
        cloudpickle: Any = import_module("cloudpickle")
    except ImportError as error:
        raise MissingExtraError(
            "Apps from notebook cells need cloudpickle, which is not installed.",
            fix='Install it with: pip install "flip-lab[lab]"',
        ) from error
    into.mkdir()
    digest = hashlib.sha256()
    for name, thing in zip(_PICKLES, (app.server_app, app.client_app), strict=True):
        try:
            content = cloudpickle.dumps(thing)
        except Exception as raised:
            raise InvalidValueError(
                f"The {name} app cannot travel to the run process: {raised}",
                fix="Open files, locks and connections inside the app's functions.",
            ) from raised
        (into / f"{name}.pkl").write_bytes(content)
        digest.update(content)
    return digest.hexdigest()


def _seed(changes: Changes) -> int:
    seed = 0 if changes.seed is None else changes.seed
    return whole_number("The seed", seed, at_least=0, at_most=2**32 - 1)


def _num_nodes(changes: Changes, default: int) -> int:
    num_nodes = default if changes.num_nodes is None else changes.num_nodes
    return whole_number("The number of nodes", num_nodes, at_least=1)
