"""The three places an app comes from, and every way in which one can be wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import (
    AppImportError,
    AppPartMissingError,
    FlipLabError,
    InvalidValueError,
    UnknownKeyError,
    UnknownNameError,
    UnsupportedInputError,
)
from flip_lab.engines.apps import DirectoryApp, PickledApp, ScenarioApp, read_manifest
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.flower.fab import build_fab

APPS = Path(__file__).parents[2] / "apps"
COMPONENTS = """
[tool.flwr.app.components]
serverapp = "good:server"
clientapp = "good:client"
"""
MODULE = """
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
server, client, number = ServerApp(), ClientApp(), 3
class holder:
    app = client
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Give a directory for an app; what a test imports from it is forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "good.py").write_text(MODULE)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(directory: Path, project: str) -> Path:
    """Write the app's pyproject.toml."""
    (directory / "pyproject.toml").write_text(project)
    return directory


def test_a_manifest_says_what_the_app_asks_for(directory: Path) -> None:
    """Name, parts, flat configuration, number of nodes."""
    manifest = read_manifest(
        write(
            directory,
            '[project]\nname = "my-app"\n'
            + COMPONENTS
            + "[tool.flwr.app.config]\nrounds = 3\ntrain.lr = 0.5\n"
            + '[tool.flwr.federations]\ndefault = "local"\n'
            + "[tool.flwr.federations.local]\noptions.num-supernodes = 12\n",
        )
    )
    assert manifest.name == "my-app"
    assert (manifest.server_ref, manifest.client_ref) == ("good:server", "good:client")
    assert manifest.config == {"rounds": 3, "train.lr": 0.5}
    assert manifest.num_nodes == 12


def test_an_app_that_names_little_gets_defaults(directory: Path) -> None:
    """The directory's name, no configuration, no number of nodes."""
    manifest = read_manifest(write(directory, COMPONENTS))
    assert manifest.name == directory.name
    assert manifest.config == {}
    assert manifest.num_nodes is None


@pytest.mark.parametrize(
    ("project", "says"),
    [
        (None, "has no pyproject.toml"),
        ("[project", "is not valid TOML"),
        ('[project]\nname = "x"', "names no serverapp"),
        (COMPONENTS.replace("clientapp", "clientap"), "names no clientapp"),
        (COMPONENTS.replace('"good:server"', "3"), "names no serverapp"),
        (COMPONENTS.replace("good:server", "good"), "'good'"),
        (COMPONENTS.replace("good:client", "bad:client"), "'bad:client'"),
        (COMPONENTS.replace("good:client", "a.b.c:client"), "'a.b.c:client'"),
    ],
)
def test_a_missing_part_is_named_before_anything_runs(
    directory: Path, project: str | None, says: str
) -> None:
    """Each branch has the offending value and a fix."""
    if project is not None:
        write(directory, project)
    with pytest.raises(AppPartMissingError) as caught:
        read_manifest(directory)
    assert says in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("project", "kind"),
    [
        ("tool = 3", AppPartMissingError),
        ("[tool]\nflwr = 3", AppPartMissingError),
        ("[tool.flwr]\napp = 3", AppPartMissingError),
        ("[tool.flwr.app]\ncomponents = 3", AppPartMissingError),
        (COMPONENTS + "[tool.flwr.app]\nconfig = 3", InvalidValueError),
    ],
)
def test_a_table_that_is_no_table_is_no_crash(
    directory: Path, project: str, kind: type[FlipLabError]
) -> None:
    """Whatever TOML a user wrote, the error names the file."""
    with pytest.raises(kind) as caught:
        read_manifest(write(directory, project))
    assert str(directory) in caught.value.what


def test_a_project_file_that_is_no_utf_8_is_no_crash(directory: Path) -> None:
    """Some editors save another encoding."""
    (directory / "pyproject.toml").write_bytes('name = "Köln"'.encode("latin-1"))
    with pytest.raises(AppPartMissingError, match="is not valid TOML"):
        read_manifest(directory)


def test_what_we_can_do_without_may_be_anything(directory: Path) -> None:
    """A strange name or federation table does not keep an app from running."""
    project = "project = 3\n" + COMPONENTS + "[tool.flwr]\nfederations = 3\n"
    assert read_manifest(write(directory, project)).name == directory.name


def test_a_configuration_that_flower_cannot_carry_is_refused(directory: Path) -> None:
    """Lists do not travel in a run configuration."""
    project = COMPONENTS + "[tool.flwr.app.config]\nlayers = [1, 2]\n"
    with pytest.raises(InvalidValueError) as caught:
        read_manifest(write(directory, project))
    assert "pyproject.toml" in caught.value.what


def test_an_override_must_be_a_key_of_the_app(directory: Path) -> None:
    """Flower refuses it too; ours names the nearest."""
    manifest = read_manifest(
        write(directory, COMPONENTS + "[tool.flwr.app.config]\nrounds = 3\n")
    )
    assert manifest.run_config({"rounds": 5}) == {"rounds": 5}
    with pytest.raises(UnknownKeyError, match="Did you mean 'rounds'"):
        manifest.run_config({"round": 5})


def test_a_directory_gives_its_apps(directory: Path) -> None:
    """Also an attribute inside another object."""
    app = DirectoryApp(
        directory=directory, server_ref="good:server", client_ref="good:holder.app"
    )
    assert isinstance(app.load_server_app(), ServerApp)
    assert isinstance(app.load_client_app(), ClientApp)


@pytest.mark.parametrize(
    ("module", "reference", "says"),
    [
        ("raise OSError('disk on fire')", "bad:client", "raised OSError"),
        ("import nothing_of_this_name", "bad:client", "raised ModuleNotFoundError"),
        ("x = 1", "bad:client", "raised AttributeError"),
        ("client = 3", "bad:client", "is a int, not a ClientApp"),
        ("def f(:", "bad:client", "raised SyntaxError"),
    ],
)
def test_an_app_that_cannot_be_imported_says_why(
    directory: Path, module: str, reference: str, says: str
) -> None:
    """With the traceback of the app's own module."""
    (directory / "bad.py").write_text(module)
    app = DirectoryApp(directory=directory, server_ref="", client_ref=reference)
    with pytest.raises(AppImportError) as caught:
        app.load_client_app()
    assert says in caught.value.what
    assert (
        "int" in says or "bad.py" in caught.value.detail or "client" in caught.value.detail
    )


def test_the_files_of_an_app_are_what_flower_ships(directory: Path) -> None:
    """Sources with their relative paths, data left out; Flower can pack them."""
    write(
        directory,
        '[project]\nname = "a"\nversion = "1.0.0"\nlicense = "MIT"\n'
        '[tool.flwr.app]\npublisher = "p"\n' + COMPONENTS,
    )
    (directory / "package").mkdir()
    (directory / "package" / "task.py").write_text("x = 1")
    (directory / "data.npz").write_bytes(b"0" * 100)
    app = DirectoryApp(directory=directory, server_ref="", client_ref="")
    files = app.fab_files()
    assert set(files) == {"pyproject.toml", "good.py", "package/task.py"}
    assert build_fab(files, {}).content


def test_a_notebooks_apps_travel_by_value_and_only_here(tmp_path: Path) -> None:
    """They come back as they were; real nodes do not get pickles."""
    (tmp_path / "server.pkl").write_bytes(cloudpickle.dumps(ServerApp()))
    (tmp_path / "client.pkl").write_bytes(b"this is no pickle")
    app = PickledApp(directory=tmp_path)
    assert isinstance(app.load_server_app(), ServerApp)
    with pytest.raises(AppImportError, match=r"client\.pkl"):
        app.load_client_app()
    with pytest.raises(UnsupportedInputError, match="simulation only"):
        app.fab_files()


def test_a_scenarios_app_is_ours() -> None:
    """The same two apps for every scenario; Flower can pack them."""
    app = ScenarioApp(scenario_json="{}")
    assert isinstance(app.load_server_app(), ServerApp)
    assert isinstance(app.load_client_app(), ClientApp)
    assert build_fab(app.fab_files(), {"scenario": "{}"}).content


def test_engines_are_found_by_name() -> None:
    """And a wrong name hears the right one."""
    assert {"in_process", "ray"} <= set(ENGINES.names())
    assert ENGINES.get("in_process")().name == "in_process"
    with pytest.raises(UnknownNameError, match="Did you mean 'in_process'"):
        ENGINES.get("in_proces")


@pytest.mark.parametrize("name", ["numpy", "pytorch", "sklearn", "legacy"])
def test_flowers_examples_are_read_as_they_are(name: str) -> None:
    """The apps of our own tests are unmodified Flower apps."""
    manifest = read_manifest(APPS / name)
    assert manifest.config["num-server-rounds"]
