"""How a device becomes a node: its key stays, whom to trust is in the token."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import pytest

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    ClockSkewError,
    EnrolmentError,
    FederationUnreachableError,
    FlipLabError,
    HubStateError,
    VersionMismatchError,
)
from flip_lab.hub.kits import kit_of
from flip_lab.hub.preparing import prepare_hub
from flip_lab.hub.rotation import begin
from flip_lab.node import enrol as enrol_module
from flip_lab.node import reporting
from flip_lab.node.config import load_node
from flip_lab.node.enrol import enrol_node
from flip_lab.node.enrol_token import EnrolToken
from flip_lab.node.hub_line import HubLine
from flip_lab.node.identity import load_identity
from flip_lab.node.reporting import follow_authority, report, reports_beside
from flip_lab.node.trust import bundle_hash, context_for

if TYPE_CHECKING:
    from conftest import DeviceHub


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol_module, "_PAUSE_S", 0.0)


def left_in(path: Path) -> list[str]:
    """Give what is in a directory, hidden files, too."""
    return sorted(each.name for each in path.iterdir())


def test_a_device_becomes_a_node(device_hub: DeviceHub, tmp_path: Path) -> None:
    """The directory holds a key that only its owner reads, and the hub knows its half."""
    token = device_hub.token(tags=["eu"], config={"partition-id": 2, "rate": 0.5})
    config = enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")
    assert (config.name, config.hub) == ("st-mary", device_hub.address)
    assert dict(config.config) == {"partition-id": 2, "rate": 0.5}
    assert config.workers == 1  # limits hold from the first call on
    key = tmp_path / "n" / "node.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "n").stat().st_mode) == 0o700
    node = device_hub.database.nodes.named("st-mary")
    identity = load_identity(tmp_path / "n")
    assert (node.fingerprint, node.public_key) == (
        identity.fingerprint,
        identity.public_key,
    )
    assert node.tags == ("eu",)
    kept = b"".join(p.read_bytes() for p in device_hub.place.path.rglob("*") if p.is_file())
    assert key.read_bytes().splitlines()[1] not in kept
    assert {"ca.crt", "contexts", "hub.pub", "models", "node.toml"} < set(
        left_in(tmp_path / "n")
    )


def test_a_token_is_good_once(device_hub: DeviceHub, tmp_path: Path) -> None:
    """The second device is refused, and has nothing left of its try."""
    token = device_hub.token()
    enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")
    with pytest.raises(EnrolmentError, match="was used at"):
        enrol_node(token, hub=device_hub.address, directory=tmp_path / "m")
    assert left_in(tmp_path) == ["hub", "n"]


def test_an_answer_that_got_lost_is_asked_for_again(
    device_hub: DeviceHub, tmp_path: Path
) -> None:
    """The line breaks after the hub let the device in: the same key gets the answer."""
    device_hub.lost = 2
    enrol_node(device_hub.token(), hub=device_hub.address, directory=tmp_path / "n")
    assert len(device_hub.database.nodes.list()) == 1


@pytest.mark.parametrize("text", ["", "flip-node.a.b.c", "flip_token", "x" * 10_000])
def test_what_is_no_token_is_not_sent(text: str, tmp_path: Path) -> None:
    """A text that cannot be a token is refused before anybody is asked."""
    with pytest.raises(EnrolmentError, match="no enrolment token") as raised:
        enrol_node(text, hub="127.0.0.1:1", directory=tmp_path / "n")
    assert text not in str(raised.value) or not text
    assert left_in(tmp_path) == []


def test_a_token_does_not_show_its_secret() -> None:
    """What logs and tracebacks print of a token is its public part."""
    token = EnrolToken(id="abcdefghjk", secret="s" * 43, authority="0" * 32)
    assert "s" * 43 not in repr(token)
    assert EnrolToken.read(f" {token.text}\n") == token


def test_another_hub_is_not_believed(device_hub: DeviceHub, tmp_path: Path) -> None:
    """A token of one hub, sent to another: it is noticed before the token is shown."""
    token = EnrolToken.read(device_hub.token())
    other = prepare_hub(tmp_path / "other", hosts=["hub.test"]).place
    device_hub.serve_as(other.server_certificate, other.server_key)
    with pytest.raises(FederationUnreachableError, match="is not the hub's"):
        enrol_node(token.text, hub=device_hub.address, directory=tmp_path / "n")
    device_hub.place.authorities.write_bytes(other.authorities.read_bytes())
    with pytest.raises(EnrolmentError, match="not the hub that made this token"):
        enrol_node(token.text, hub=device_hub.address, directory=tmp_path / "n")
    assert device_hub.database.enrolments.list()[0].state == "open"
    assert not (tmp_path / "n").exists()


def test_only_the_authority_of_the_token_is_believed(
    device_hub: DeviceHub, tmp_path: Path
) -> None:
    """A stranger that adds its own authority to the right one is still a stranger."""
    token = device_hub.token()
    other = prepare_hub(tmp_path / "other", hosts=["hub.test"]).place
    both = device_hub.place.authorities.read_bytes() + other.authorities.read_bytes()
    device_hub.place.authorities.write_bytes(both)
    device_hub.serve_as(other.server_certificate, other.server_key)
    with pytest.raises(FederationUnreachableError):
        enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")


@pytest.mark.parametrize("ahead_s", [-600.0, 600.0])
def test_a_wrong_clock_spends_no_token(
    device_hub: DeviceHub, tmp_path: Path, ahead_s: float
) -> None:
    """Ten minutes off: refused before the token is sent."""
    token, device_hub.ahead_s = device_hub.token(), ahead_s
    with pytest.raises(ClockSkewError, match="600 s"):
        enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")
    assert device_hub.database.enrolments.list()[0].state == "open"


def test_another_flower_spends_no_token(device_hub: DeviceHub, tmp_path: Path) -> None:
    """A hub with a Flower that ours does not understand: refused, with both versions."""
    token, device_hub.flower = device_hub.token(), "1.12.3"
    with pytest.raises(VersionMismatchError, match=r"1\.12\.3"):
        enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")
    assert device_hub.database.enrolments.list()[0].state == "open"


def test_a_directory_that_holds_something_spends_no_token(
    device_hub: DeviceHub, tmp_path: Path
) -> None:
    """Nothing is written over, and the token stays good."""
    token = device_hub.token()
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "precious").touch()
    with pytest.raises(HubStateError, match="holds something already"):
        enrol_node(token, hub=device_hub.address, directory=tmp_path / "n")
    assert left_in(tmp_path / "n") == ["precious"]
    assert device_hub.database.enrolments.list()[0].state == "open"


def test_a_full_disk_leaves_nothing(
    device_hub: DeviceHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full while the key is written: a code, and no half of a node."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(enrol_module, "write_identity", full)
    with pytest.raises(HubStateError, match="No space left"):
        enrol_node(device_hub.token(), hub=device_hub.address, directory=tmp_path / "n")
    assert left_in(tmp_path) == ["hub"]


@pytest.mark.parametrize("hub", ["127.0.0.1:1", "no such host", "http://x", "[::1]:1"])
def test_a_hub_that_is_not_there_is_told(hub: str, tmp_path: Path) -> None:
    """Nobody at that address, or no address: a code and a fix, and nothing left."""
    token = EnrolToken(id="abcdefghjk", secret="s" * 43, authority="0" * 32).text
    with pytest.raises(FlipLabError) as raised:
        enrol_node(token, hub=hub, directory=tmp_path / "n")
    assert raised.value.code == "FLIP-503"
    assert left_in(tmp_path) == []


def test_a_kit_keeps_its_words(device_hub: DeviceHub, tmp_path: Path) -> None:
    """With a kit the site's settings are the kit's, comments included."""
    made = device_hub.enrolment(config={"partition-id": 1})
    kit_of(made).write_to(tmp_path / "kit")
    config = enrol_node(
        made.token, hub=made.address, directory=tmp_path / "n", kit=tmp_path / "kit"
    )
    assert config.workers == 1
    words = (tmp_path / "kit" / "node.toml").read_text()
    assert (tmp_path / "n" / "node.toml").read_text() == words


def test_a_kit_at_another_address_goes_there(device_hub: DeviceHub, tmp_path: Path) -> None:
    """``--hub`` in place of the kit's address is what is written down."""
    made = device_hub.enrolment(config={"partition-id": 1})
    kit_of(made.model_copy(update={"address": "hub.test:8443"})).write_to(tmp_path / "kit")
    enrol_node(
        made.token,
        hub=device_hub.address,
        directory=tmp_path / "n",
        kit=tmp_path / "kit",
    )
    assert load_node(tmp_path / "n").hub == device_hub.address


def test_a_node_follows_its_hubs_new_authority(
    device_hub: DeviceHub, tmp_path: Path
) -> None:
    """A node that trusts the old authority reports, fetches the new one, and goes on."""
    config = enrol_node(
        device_hub.token(), hub=device_hub.address, directory=tmp_path / "n"
    )
    identity, authority = load_identity(config.directory), config.directory / "ca.crt"
    begin(device_hub.place)
    device_hub.serve_as(device_hub.place.server_certificate, device_hub.place.server_key)
    before = bundle_hash(authority.read_bytes())
    with HubLine(config.hub, context_for(authority)) as line:
        assert follow_authority(config, report(config, identity, line), line)
    after = authority.read_bytes()
    assert bundle_hash(after) != before
    assert after == device_hub.place.authorities.read_bytes()
    with HubLine(config.hub, context_for(authority)) as line:
        assert not follow_authority(config, report(config, identity, line), line)
    node = device_hub.database.nodes.named("st-mary")
    assert node.facts["bundle"] == bundle_hash(after)


def test_a_running_node_tells_its_hub_whom_it_trusts(
    device_hub: DeviceHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside its work a node reports, follows a new authority, and says that it did."""
    config = enrol_node(
        device_hub.token(), hub=device_hub.address, directory=tmp_path / "n"
    )
    begin(device_hub.place)
    device_hub.serve_as(device_hub.place.server_certificate, device_hub.place.server_key)
    wanted = bundle_hash(device_hub.place.authorities.read_bytes())
    monkeypatch.setattr(reporting, "_EVERY_S", 0.1)
    monkeypatch.setattr(reporting, "_GAP_S", 0.1)
    with reports_beside([config]):
        end_s = tick_s() + 120
        while tick_s() < end_s:
            if device_hub.database.nodes.named("st-mary").facts.get("bundle") == wanted:
                break
            sleep(0.05)
    facts = device_hub.database.nodes.named("st-mary").facts
    assert facts["bundle"] == wanted
    assert facts["facts"]["free_disk_bytes"] > 0


def test_a_node_is_on_the_disk_before_its_directory_has_its_name(
    device_hub: DeviceHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token is spent: after a power cut nothing of it could be had again.

    Nor could it reach its hub without the new authority, if that file were empty.
    """
    synced, fsync = set[int](), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    target = tmp_path / "node"
    config = enrol_node(device_hub.token(), hub=device_hub.address, directory=target)
    written = [target, *target.rglob("*")]
    assert {"ca.crt", "hub.pub", "node.key", "node.toml"} <= {e.name for e in written}
    assert {each.stat().st_ino for each in written} <= synced
    begin(device_hub.place)
    device_hub.serve_as(device_hub.place.server_certificate, device_hub.place.server_key)
    with HubLine(config.hub, context_for(target / "ca.crt")) as line:
        answer = report(config, load_identity(target), line)
        assert follow_authority(config, answer, line)
    assert (target / "ca.crt").stat().st_ino in synced
