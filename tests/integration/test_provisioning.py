"""Looking after a hub that is up, at its directory and from afar, and a device's way in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    FederationUnreachableError,
    InvalidValueError,
    NodeRevokedError,
    NoSuchPlaceError,
    NotAllowedError,
    NotAuthenticatedError,
)
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.desk import RemoteDesk
from flip_lab.hub.local_desk import LocalDesk
from flip_lab.hub.wishes import EnrolmentWish, TagWish, TokenWish
from flip_lab.node.config import load_node
from flip_lab.node.enrol import enrol_node
from flip_lab.node.hub_line import HubLine
from flip_lab.node.identity import load_identity
from flip_lab.node.reporting import report
from flip_lab.node.trust import context_for
from flip_lab.store.audit import read_audit
from flip_lab.store.layout import LabDir
from flip_lab.testing.hub import LoopbackHub
from flip_lab.testing.hub_processes import quiet_environment, script

pytestmark = [pytest.mark.hub, pytest.mark.slow]

PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """Give a hub without nodes, shared by the tests of this module."""
    with LoopbackHub(num_nodes=0, directory=tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def token_for(hub: LoopbackHub, person: str, role: str) -> str:
    """Make a token at the hub's directory."""
    with LocalDesk(hub.place) as desk:
        return desk.make_token(TokenWish(role=role, person=person)).token


def desk_of(hub: LoopbackHub, token: str) -> RemoteDesk:
    """Sit down at the hub from afar."""
    return RemoteDesk(hub.address, token, hub.place.authorities)


def flip_lab(hub: LoopbackHub, *words: str, text: str = "") -> subprocess.CompletedProcess:
    """Run the command as people do."""
    return subprocess.run(
        [script("flip-lab"), *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=quiet_environment(hub.directory, "127.0.0.1"),
    )


def look_for_long(desk: RemoteDesk) -> None:
    """Look at the nodes again and again, until that is refused or takes too long."""
    end_s = tick_s() + PATIENCE_S
    while tick_s() < end_s:
        desk.nodes()
        sleep(0.2)


def test_near_and_far_say_the_same(hub: LoopbackHub) -> None:
    """What is done from afar is seen at the directory, with the author's name, and back."""
    with desk_of(hub, token_for(hub, "Ada", "admin")) as far, LocalDesk(hub.place) as near:
        made = far.make_enrolment(EnrolmentWish(name="near-far", tags=["b", "a"]))
        assert made.address == hub.address.replace("localhost", "127.0.0.1")
        assert near.enrolments() == far.enrolments()
        far.withdraw_enrolment(made.id)
        states = {each.id: each.state for each in near.enrolments().items}
        assert states[made.id] == "withdrawn"
        ben = far.make_token(TokenWish(role="viewer", person="Ben"))
        assert ben.id in {each.id for each in near.tokens().items}
        near.revoke_token(ben.id)
        with pytest.raises(NoSuchPlaceError):
            far.revoke_token(ben.id)
    told = [(each.author, each.action) for each in read_audit(LabDir(hub.place.lab))]
    assert ("Ada", "enrolment_create") in told
    assert ("Ada", "enrolment_withdraw") in told
    assert ("Ada", "token_create") in told


@pytest.mark.parametrize("role", ["viewer", "researcher"])
def test_only_admins_say_who_is_let_in(hub: LoopbackHub, role: str) -> None:
    """Others may look at nodes, and change nothing."""
    with desk_of(hub, token_for(hub, "Ben", role)) as desk:
        desk.nodes()
        for refused in (
            desk.tokens,
            desk.enrolments,
            lambda: desk.make_token(TokenWish(role="admin", person="Ben")),
            lambda: desk.make_enrolment(EnrolmentWish(name="mine")),
            lambda: desk.revoke_node("any"),
            lambda: desk.tag_node("any", TagWish(add=["x"])),
        ):
            with pytest.raises(NotAllowedError):
                refused()


def test_a_revoked_token_opens_nothing_soon(hub: LoopbackHub) -> None:
    """A token that is revoked at the directory is refused by the running hub."""
    token = token_for(hub, "Eve", "viewer")
    with desk_of(hub, token) as desk, LocalDesk(hub.place) as near:
        desk.nodes()
        near.revoke_token(token.split("_")[1])
        with pytest.raises(NotAuthenticatedError):
            look_for_long(desk)
    with desk_of(hub, "flip_no_token") as desk, pytest.raises(NotAuthenticatedError):
        desk.nodes()


def test_bad_input_is_answered_with_codes(hub: LoopbackHub) -> None:
    """What cannot be is refused by the hub as it is at its directory."""
    with desk_of(hub, token_for(hub, "Ada", "admin")) as desk:
        with pytest.raises(InvalidValueError, match="no role"):
            desk.make_token(TokenWish(role="king", person="Ada"))
        with pytest.raises(InvalidValueError, match="cannot be a node"):
            desk.make_enrolment(EnrolmentWish(name="../../x"))
        with pytest.raises(NoSuchPlaceError):
            desk.revoke_node("no/such?node")
        with pytest.raises(NoSuchPlaceError):
            desk.tag_node("", TagWish())
    with pytest.raises(FederationUnreachableError, match="is not the hub's"):
        RemoteDesk(hub.address, "x", None).nodes()


def test_a_device_comes_and_goes(hub: LoopbackHub, tmp_path: Path) -> None:
    """Kit, enrolment, preflight, tag and revocation, as people type them."""
    admin = tmp_path / "admin.token"
    admin.touch(mode=0o600)
    admin.write_text(token_for(hub, "Ada", "admin"))
    far = ("--hub", hub.address, "--token-file", str(admin), "--ca", hub.root_certificates)
    words = (*map(str, far), "--json")
    kit, node = tmp_path / "kit", tmp_path / "node"
    made = flip_lab(hub, "hub", "kit", "st-mary", "--to", str(kit), "--tags", "eu", *words)
    assert made.returncode == 0, made.stderr
    done = flip_lab(hub, "node", "enroll", "--kit", str(kit), "--directory", str(node))
    assert done.returncode == 0, done.stderr
    again = flip_lab(
        hub, "node", "enroll", "--hub", hub.address, "--token-file", "-",
        "--directory", str(tmp_path / "m"), text=(kit / "enrolment.token").read_text(),
    )  # fmt: skip
    assert again.returncode == 1
    assert "FLIP-801" in again.stderr
    ready = flip_lab(hub, "node", "preflight", str(node), "--json")
    assert json.loads(ready.stdout)["is_ready"] is True, ready.stdout
    tagged = flip_lab(hub, "hub", "node", "tag", "st-mary", "slow", *words)
    assert json.loads(tagged.stdout)["tags"] == ["eu", "slow"]
    gone = flip_lab(hub, "hub", "node", "revoke", "st-mary", *words)
    assert json.loads(gone.stdout)["revoked_by"] == "Ada"
    refused = flip_lab(hub, "node", "preflight", str(node), "--json")
    checks = {each["name"]: each for each in json.loads(refused.stdout)["checks"]}
    assert refused.returncode == 1
    assert checks["admission"]["verdict"] == "wrong"
    assert "FLIP-802" in checks["admission"]["found"]


def test_a_node_that_is_revoked_at_the_directory_is_turned_away(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """The running hub notices what another process wrote into its database."""
    with LocalDesk(hub.place) as near:
        token = near.make_enrolment(EnrolmentWish(name="st-john")).token
    config = enrol_node(token, hub=hub.address, directory=tmp_path / "n")
    identity = load_identity(config.directory)
    with HubLine(config.hub, context_for(config.directory / "ca.crt")) as line:
        assert report(config, identity, line).tags == []
        with HubDatabase(hub.place) as database:
            database.nodes.revoke("st-john")
        with pytest.raises(NodeRevokedError):
            report(config, identity, line)
    assert load_node(config.directory).name == "st-john"


def test_no_secret_is_in_a_log(hub: LoopbackHub) -> None:
    """What the hub prints and writes down holds no token."""
    token = token_for(hub, "Ada", "admin")
    with desk_of(hub, token) as desk:
        made = desk.make_enrolment(EnrolmentWish(name="quiet"))
    secrets = [token.split("_", 2)[2], made.token.split(".")[2]]
    for folder, _, names in os.walk(hub.directory):
        for name in names:
            with suppress(FileNotFoundError):  # the database's own files come and go
                content = (Path(folder) / name).read_bytes()
                assert not any(secret.encode() in content for secret in secrets), name
