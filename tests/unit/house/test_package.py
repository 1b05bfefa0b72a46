"""The package as a whole: light to import, complete, and in nobody's way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest

import flip_lab

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = (
    "IPython",
    "anywidget",
    "duckdb",
    "flwr",
    "ipywidgets",
    "jupyter_server",
    "pandas",
    "plotly",
    "pydantic",
    "ray",
    "torch",
)


def modules_after(statement: str) -> set[str]:
    """Give the top-level modules that a fresh interpreter holds after a statement."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{statement}\nimport json, sys\nprint(json.dumps(list(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    """``import flip_lab`` is free: no Flower, torch, Ray, Jupyter or pandas."""
    assert modules_after("import flip_lab").isdisjoint(HEAVY)


def test_finding_a_run_again_loads_nothing_that_takes_seconds() -> None:
    """A new kernel that only looks at a run needs no torch, Ray, pandas or Jupyter."""
    slow = {
        "torch",
        "ray",
        "pandas",
        "plotly",
        "IPython",
        "ipywidgets",
        "sklearn",
        "datasets",
    }
    assert modules_after("from flip_lab import Lab, Run").isdisjoint(slow)


def test_core_needs_no_framework() -> None:
    """Scenarios, events and errors are plain data, usable anywhere."""
    names = [
        f"flip_lab.core.{path.stem}" for path in (ROOT / "flip_lab/core").glob("[a-z]*.py")
    ]
    assert modules_after(f"import {', '.join(names)}").isdisjoint(HEAVY)


@pytest.mark.parametrize("name", flip_lab.__all__)
def test_every_public_name_resolves(name: str) -> None:
    """Each promised name is there, documented, and offered to tab completion."""
    thing = getattr(flip_lab, name)
    assert thing.__doc__
    assert name in dir(flip_lab)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """``hasattr`` and tools that probe modules keep working."""
    assert not hasattr(flip_lab, "no_such_name")


def test_nothing_of_ours_is_called_flip() -> None:
    """``flip`` is another project's import name: no module, script or data may take it."""
    ours = [
        path
        for path in subprocess.run(
            ["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.splitlines()
        if any(Path(part).stem == "flip" for part in Path(path).parts)
    ]
    assert ours == []
    assert list(PROJECT["project"]["scripts"]) == ["flip-lab"]


def test_the_command_resolves() -> None:
    """The installed command leads to something that can be called."""
    module, _, name = PROJECT["project"]["scripts"]["flip-lab"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_every_package_that_an_extra_names_is_pinned() -> None:
    """What the tests passed with can be installed again."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=~! ]", item)[0].lower() for item in wanted} - {"flip-lab"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned


def test_pins_name_no_build_and_no_place() -> None:
    """Constraints work on any machine: no local version, no path, no host."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"#.*|[\w.\-]+==[\w.]+", line), line


def test_the_version_is_in_the_changelog() -> None:
    """A release says what is in it."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(flip_lab.__version__)}\]", changelog, re.MULTILINE)
