"""The three places an app comes from: a Scenario, a Flower App directory, a notebook."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

import tomli_w
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import (
    AppImportError,
    AppPartMissingError,
    UnknownKeyError,
    UnsupportedInputError,
    nearest,
)
from flip_lab.engines.base import RunConfig
from flip_lab.engines.failures import failure_tail
from flip_lab.engines.flower.config import flatten_config

App = TypeVar("App", ServerApp, ClientApp)

_SHIPPED = ("*.py", "*.toml", "*.md", "*.yaml", "*.yml", "*.json", "*.jsonl")


@dataclass(frozen=True, kw_only=True)
class ScenarioApp:
    """The apps that FLIP Lab builds from a Scenario.

    Attributes:
        scenario_json: The scenario, as it travels in the run configuration.
    """

    scenario_json: str

    def load_server_app(self) -> ServerApp:
        """Import the ServerApp."""
        return importlib.import_module("flip_lab.fl.server_app").app

    def load_client_app(self) -> ClientApp:
        """Import the ClientApp."""
        return importlib.import_module("flip_lab.fl.client_app").app

    def fab_files(self) -> dict[str, bytes]:
        """Give a tiny app that imports ours; nodes have ``flip_lab`` installed."""
        files = {
            f"flip_scenario/{name}.py": f"from flip_lab.fl.{name} import app as app\n"
            for name in ("server_app", "client_app")
        }
        project = {
            "project": {
                "name": "flip-scenario",
                "version": "1.0.0",
                "license": "Apache-2.0",
            },
            "tool": {
                "flwr": {
                    "app": {
                        "publisher": "flip-lab",
                        "components": {
                            "serverapp": "flip_scenario.server_app:app",
                            "clientapp": "flip_scenario.client_app:app",
                        },
                        "config": {"scenario": self.scenario_json},
                    }
                }
            },
        }
        files |= {"flip_scenario/__init__.py": "", "pyproject.toml": tomli_w.dumps(project)}
        return {path: text.encode() for path, text in files.items()}


@dataclass(frozen=True, kw_only=True)
class DirectoryApp:
    """An unmodified Flower App directory.

    Attributes:
        directory: Where its ``pyproject.toml`` is.
        server_ref: ``module:attribute`` of the ServerApp.
        client_ref: ``module:attribute`` of the ClientApp.
    """

    directory: Path
    server_ref: str
    client_ref: str

    def load_server_app(self) -> ServerApp:
        """Import the ServerApp from the directory."""
        return self._load(self.server_ref, ServerApp)

    def load_client_app(self) -> ClientApp:
        """Import the ClientApp from the directory."""
        return self._load(self.client_ref, ClientApp)

    def _load(self, reference: str, kind: type[App]) -> App:
        if str(self.directory) not in sys.path:
            sys.path.insert(0, str(self.directory))
        module, _, attribute = reference.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in attribute.split("."):
                found = getattr(found, name)
        except Exception as raised:
            raise AppImportError(
                f"Importing {reference!r} raised {type(raised).__name__}.",
                fix="Mend the module or install what it imports; its traceback is below.",
                detail=failure_tail(raised),
            ) from raised
        if not isinstance(found, kind):
            raise AppImportError(
                f"{reference!r} is a {type(found).__name__}, not a {kind.__name__}.",
                fix=f"Point [tool.flwr.app.components] at a {kind.__name__} object.",
            )
        return found

    def fab_files(self) -> dict[str, bytes]:
        """Read the files of the types that Flower ships; ``build_fab`` leaves out more."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for pattern in _SHIPPED
            for path in sorted(self.directory.rglob(pattern))
        }


@dataclass(frozen=True, kw_only=True)
class PickledApp:
    """ServerApp and ClientApp objects defined in notebook cells.

    They travel by value (cloudpickle), on this host only.

    Attributes:
        directory: Where ``server.pkl`` and ``client.pkl`` are.
    """

    directory: Path

    def load_server_app(self) -> ServerApp:
        """Rebuild the ServerApp."""
        return cast("ServerApp", self._load("server.pkl"))

    def load_client_app(self) -> ClientApp:
        """Rebuild the ClientApp."""
        return cast("ClientApp", self._load("client.pkl"))

    def _load(self, name: str) -> object:
        cloudpickle = importlib.import_module("cloudpickle")
        try:
            return cloudpickle.loads((self.directory / name).read_bytes())
        except Exception as raised:
            raise AppImportError(
                f"The app defined in the notebook could not be rebuilt ({name}).",
                fix="Import what it uses inside its functions, or move it to a Flower App "
                "directory; the traceback is below.",
                detail=failure_tail(raised),
            ) from raised

    def fab_files(self) -> dict[str, bytes]:
        """Refuse: pickles do not go to real nodes.

        Raises:
            UnsupportedInputError: Always.
        """
        raise UnsupportedInputError(
            "Apps defined in notebook cells run in simulation only.",
            fix="Put the app in a Flower App directory and launch that directory, or use "
            'on="in_process" or on="ray".',
        )


@dataclass(frozen=True, kw_only=True)
class AppManifest:
    """What a Flower App directory says about itself.

    Attributes:
        name: The project's name.
        server_ref: ``module:attribute`` of the ServerApp.
        client_ref: ``module:attribute`` of the ClientApp.
        config: Default run configuration, nested keys joined with dots.
        num_nodes: Number of simulated nodes it asks for; ``None`` when it names none.
    """

    name: str
    server_ref: str
    client_ref: str
    config: RunConfig
    num_nodes: int | None

    def run_config(self, overrides: Mapping[str, bool | int | float | str]) -> RunConfig:
        """Give the run configuration with some values replaced.

        Raises:
            UnknownKeyError: If a key is not one of the app's; Flower refuses it too.
        """
        for key in overrides:
            if key not in self.config:
                raise UnknownKeyError(
                    f"The app {self.name!r} has no configuration key {key!r}.",
                    fix=nearest(key, self.config),
                )
        return {**self.config, **overrides}


def read_manifest(directory: Path) -> AppManifest:
    """Read a Flower App directory's ``pyproject.toml`` and check that its parts exist.

    Nothing of the app is imported.

    Raises:
        AppPartMissingError: If a part that Flower requires is missing.
    """
    project_file = directory / "pyproject.toml"
    if not project_file.is_file():
        raise AppPartMissingError(
            f"{directory} is no Flower App: it has no pyproject.toml.",
            fix="Give the directory that holds the app's pyproject.toml.",
        )
    try:
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AppPartMissingError(
            f"{project_file} is not valid TOML: {error}.", fix="Mend that line."
        ) from error
    flower = _table(_table(project.get("tool")).get("flwr"))
    app = _table(flower.get("app"))
    components = _table(app.get("components"))
    references = {
        part: _checked_reference(directory, components, part)
        for part in ("serverapp", "clientapp")
    }
    return AppManifest(
        name=str(_table(project.get("project")).get("name", directory.name)),
        server_ref=references["serverapp"],
        client_ref=references["clientapp"],
        config=flatten_config(app.get("config", {}), project_file),
        num_nodes=_num_supernodes(flower),
    )


def _table(value: object) -> Mapping[str, Any]:
    """Give a TOML table; anything else that a user wrote there counts as an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _checked_reference(directory: Path, components: Mapping[str, object], part: str) -> str:
    reference = components.get(part)
    if not isinstance(reference, str):
        raise AppPartMissingError(
            f"{directory / 'pyproject.toml'} names no {part}.",
            fix=f'Add {part} = "package.module:app" under [tool.flwr.app.components].',
        )
    module, _, attribute = reference.partition(":")
    if not attribute or not _module_exists(directory, module):
        raise AppPartMissingError(
            f"The {part} {reference!r} of {directory} does not exist.",
            fix='Write "package.module:attribute"; the module is in that directory.',
        )
    return reference


def _module_exists(directory: Path, module: str) -> bool:
    path = directory.joinpath(*module.split("."))
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return True
    top = module.split(".", maxsplit=1)[0]
    return not (directory / top).exists() and find_spec(top) is not None


def _num_supernodes(flower: Mapping[str, Any]) -> int | None:
    """Read ``options.num-supernodes`` of the app's default federation, where it has one."""
    federations = _table(flower.get("federations"))
    default = _table(federations.get(str(federations.get("default", ""))))
    value = _table(default.get("options")).get("num-supernodes")
    return value if isinstance(value, int) else None
