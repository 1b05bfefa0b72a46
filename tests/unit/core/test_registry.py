"""Registries: our names, other packages' names, and help for misspelt ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flip_lab.core.errors import UnknownNameError
from flip_lab.core.registry import Registry

GROUP = "flip_lab.test_things"


@pytest.fixture
def registry() -> Registry[object]:
    """Give a registry with two things of our own."""
    things: Registry[object] = Registry("thing", GROUP)
    things.add("iid")("ours: iid")
    things.add("dirichlet")("ours: dirichlet")
    return things


@pytest.fixture
def _plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that adds a thing, and one that cannot be imported."""
    info = tmp_path / "someone_elses-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: someone-elses\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\nspiral = someone_elses:SPIRAL\nbroken = no_such_module:THING\n"
    )
    (tmp_path / "someone_elses.py").write_text("SPIRAL = ['theirs']\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_decorator_registers_and_returns_the_thing() -> None:
    """Adding leaves the decorated function as it was."""
    things: Registry[Callable[[], int]] = Registry("thing", GROUP)

    @things.add("answer")
    def answer() -> int:
        return 42

    assert things.get("answer") is answer
    assert answer() == 42


def test_names_are_sorted(registry: Registry[object]) -> None:
    """Lists and messages do not depend on the order of imports."""
    assert registry.names() == ["dirichlet", "iid"]


def test_an_unknown_name_is_answered_with_the_nearest_one(
    registry: Registry[object],
) -> None:
    """The message names what was probably meant, and all that would work."""
    with pytest.raises(UnknownNameError, match="There is no thing 'dirchlet'") as caught:
        registry.get("dirchlet")
    assert caught.value.fix == "Did you mean 'dirichlet'? Valid: dirichlet, iid."


@pytest.mark.usefixtures("_plug_in")
def test_a_plug_in_is_listed_without_being_imported(registry: Registry[object]) -> None:
    """Another package's broken module does no harm until its name is asked for."""
    assert registry.names() == ["broken", "dirichlet", "iid", "spiral"]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.get("broken")


@pytest.mark.usefixtures("_plug_in")
def test_a_plug_in_gives_its_thing_once(registry: Registry[object]) -> None:
    """The thing is loaded on first use and stays the same object."""
    assert registry.get("spiral") == ["theirs"]
    assert registry.get("spiral") is registry.get("spiral")


@pytest.mark.usefixtures("_plug_in")
def test_our_own_name_wins_over_a_plug_in(registry: Registry[object]) -> None:
    """Installing a package never changes what a built-in name means."""
    registry.add("spiral")("ours")
    assert registry.get("spiral") == "ours"
