"""``flip-lab hub rotate-certs`` says which hosts the certificate covers, now and later."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core.errors import HubStateError
from flip_lab.hub import rotation
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.place import HubPlace, replace_private
from flip_lab.hub.preparing import prepare_hub


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    """Give a new hub."""
    return prepare_hub(tmp_path / "hub", hosts=["hub.test", "2001:DB8::1"]).place


def rotated(place: HubPlace, *words: str) -> str:
    """Run the command; gives what it printed, on one line."""
    result = CliRunner().invoke(app, ["hub", "rotate-certs", str(place.path), *words])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def told(place: HubPlace, *words: str) -> dict[str, Any]:
    """Run the command for a program."""
    return json.loads(rotated(place, *words, "--json"))


def test_new_hosts_are_named_from_the_first_step_on(place: HubPlace) -> None:
    """They count when the older authority, which may not speak for them, is gone."""
    words = rotated(place, "--ca", "--host", "new.test")
    assert "The certificate names hub.test, 2001:db8::1" in words
    assert "After --finish it also names new.test: the older authority" in words
    status = CliRunner().invoke(app, ["hub", "status", str(place.path)])
    assert "(and soon new.test)" in status.stdout

    words = rotated(place, "--finish")
    assert "The certificate names hub.test, 2001:db8::1, new.test" in words
    assert "After --finish" not in words
    assert told(place)["hosts_to_come"] == []


def test_programs_are_told_the_hosts_to_come(place: HubPlace) -> None:
    """A plain renewal in between tells the same; hosts that are known are there at once."""
    begun = told(place, "--ca", "--host", "new.test", "--host", "10.0.0.9")
    assert begun["hosts_to_come"] == ["new.test", "10.0.0.9"]
    assert "new.test" not in begun["hosts"]
    again = told(place, "--host", "hub.test", "--host", "new.test")
    assert again["hosts_to_come"] == ["new.test", "10.0.0.9"]
    assert {"new.test", "10.0.0.9"} <= set(told(place, "--finish")["hosts"])
    plain = told(place, "--host", "new.test")
    assert (plain["hosts"], plain["hosts_to_come"]) == (told(place)["hosts"], [])


def test_a_host_that_neither_authority_may_name_is_refused_meanwhile(
    place: HubPlace,
) -> None:
    """Kept in the settings it would let ``--finish`` fail half-way."""
    rotation.begin(place)
    with pytest.raises(HubStateError, match=r"may not speak for other\.test"):
        rotation.renew(place, hosts=["other.test"])
    assert "other.test" not in place.settings().hosts
    with HubDatabase(place) as database:
        rotation.finish(place, database)


def test_what_root_writes_belongs_to_whoever_the_hub_belongs_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that root renewed would lock the service out of its own port."""
    given: list[tuple[int, int]] = []
    home = tmp_path.stat()
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    for account, handed in ((0, [(home.st_uid, home.st_gid)]), (1000, [])):
        given.clear()
        monkeypatch.setattr(os, "geteuid", lambda account=account: account)
        replace_private(tmp_path / "server.key", b"key")
        assert given == handed
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
