"""A loopback hub in flip-lab.toml: beside others, and once, however often a cell is run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flip_lab.testing.hub_contact import HubContact

OTHERS = """[federations.first]
address = "one.example.org:8443"

[federations.hospitals]
address = "127.0.0.1:1"
token = "old.token"

[federations.hospitals-2]
address = "two.example.org:8443"
"""


@pytest.mark.parametrize("before", ["", OTHERS, OTHERS.rstrip(), "# mine\n"])
def test_a_federation_is_written_once_and_others_stay(before: str, tmp_path: Path) -> None:
    """Run again, after a restart of the kernel, the file still is TOML."""
    path = tmp_path / "flip-lab.toml"
    path.write_text(before)
    others = tomllib.loads(before).get("federations", {})
    contact = HubContact(tmp_path)
    for address in ("127.0.0.1:2", "127.0.0.1:3"):
        contact.address = address
        contact.write_config(path, "hospitals", token="any")  # noqa: S106  # opens nothing
    found = tomllib.loads(path.read_text())["federations"]
    assert found.pop("hospitals")["address"] == "127.0.0.1:3"
    assert found == {name: each for name, each in others.items() if name != "hospitals"}
    assert path.read_text().startswith("# mine") == before.startswith("# mine")
