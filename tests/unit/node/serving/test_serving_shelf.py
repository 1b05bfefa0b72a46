"""What a node keeps: the last versions, signed by its hub, each whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import (
    DeliveryError,
    HubStateError,
    InvalidValueError,
    ModelNotFoundError,
    NotAllowedError,
)
from flip_lab.node.serving.hub_key import hub_key
from flip_lab.node.serving.manifest import SignedManifest, verified_manifest
from flip_lab.node.serving.shelf import KEPT_VERSIONS
from flip_lab.node.serving.shelf_state import ShelfState
from flip_lab.node.serving.site_token import site_token
from flip_lab.testing.serving_site import ServingSite


def live(site: ServingSite, name: str = "model") -> int | None:
    """Give the version that answers."""
    there = [e.manifest for e in site.shelf.installed() if e.is_live]
    return next((m.version for m in there if m.name == name), None)


def kept(site: ServingSite) -> list[int]:
    """Give the versions that are kept, in order of their delivery."""
    return [each.manifest.version for each in site.shelf.installed()]


def test_production_is_live_and_staging_waits(site: ServingSite) -> None:
    """Until somebody makes it live."""
    site.deliver(1)
    site.deliver(2, stage="staging")
    assert live(site) == 1
    assert site.shelf.make_live("model", 2).is_live
    assert live(site) == 2


def test_the_last_versions_are_kept(site: ServingSite) -> None:
    """Files of others go, but the live one never."""
    for version in range(1, 4):
        site.deliver(version)
    site.shelf.make_live("model", 1)
    for version in range(4, 7):
        site.deliver(version, stage="staging")
    assert kept(site) == [1, 5, 6]
    assert live(site) == 1
    assert len(kept(site)) == KEPT_VERSIONS
    files = {path.stem for path in site.config.models.glob("*.safetensors")}
    assert files == {each.manifest.sha256 for each in site.shelf.installed()}


def test_other_models_are_left_alone(site: ServingSite) -> None:
    """Each name has its own versions."""
    site.deliver(1, name="other", of="hospitals")
    for version in range(1, 6):
        site.deliver(version)
    assert live(site, "other") == 1


def test_a_version_that_comes_again_is_live_again(site: ServingSite) -> None:
    """A roll back by the hub: the same file under a new number."""
    site.deliver(1)
    site.deliver(2)
    site.deliver(1)
    assert kept(site) == [2, 1]
    assert live(site) == 1


def test_what_is_withdrawn_goes(site: ServingSite) -> None:
    """The one that was live before it is live again; none if it was the last."""
    site.deliver(1)
    manifest = site.deliver(2)
    for version, wanted in ((2, 1), (1, None)):
        site.number += 1
        away = replace(manifest, delivery=site.number, action="withdraw", version=version)
        site.shelf.withdraw(site.signed(away))
        assert live(site) == wanted
    assert kept(site) == []
    assert not list(site.config.models.glob("*.safetensors"))


def test_an_old_delivery_does_not_come_back(site: ServingSite) -> None:
    """Who sends what was recorded cannot bring an old model back."""
    first = site.deliver(1)
    site.deliver(2)
    with pytest.raises(DeliveryError, match="not newer"):
        site.shelf.install(site.signed(first))
    assert live(site) == 2


def test_a_version_that_is_not_here_cannot_be_live(site: ServingSite) -> None:
    """The message lists those that are."""
    site.deliver(2)
    with pytest.raises(ModelNotFoundError, match=r"\[2\]"):
        site.shelf.make_live("model", 7)


@pytest.mark.parametrize("change", ["signature", "content", "key"])
def test_what_the_hub_did_not_sign_is_refused(site: ServingSite, change: str) -> None:
    """One bit is enough; and so is the signature of somebody else."""
    signed = site.signed(site.manifest(b"file", "digits-iid"))
    key = site.key.public_key()
    assert verified_manifest(signed, key).version == 1
    if change == "signature":
        signed = replace(
            signed, signature=bytes([signed.signature[0] ^ 1]) + signed.signature[1:]
        )
    elif change == "content":
        content = signed.content.replace(b'"version": 1', b'"version": 2')
        signed = replace(signed, content=content)
    else:
        key = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(DeliveryError, match="does not bear the signature"):
        verified_manifest(signed, key)


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"nothing", b'{"format": 99}', b'{"format": 1, "delivery": "1"}'],
)
def test_what_cannot_be_read_is_refused(site: ServingSite, content: bytes) -> None:
    """Even with the hub's signature: a newer hub may write what we cannot read."""
    signed = SignedManifest(content=content, signature=site.key.sign(content))
    with pytest.raises(DeliveryError, match="cannot be read"):
        verified_manifest(signed, site.key.public_key())


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1"},
        {"sha256": "../../etc/passwd"},
        {"action": "run"},
        {"delivery": 1.5},
        {"scenario": None},
        {"unknown": 1},
    ],
)
def test_values_of_another_kind_are_refused(
    site: ServingSite, changes: dict[str, object]
) -> None:
    """A hash that is a path, a number that is a text, a key that means nothing."""
    told = json.loads(site.signed(site.manifest(b"", "digits-iid")).content)
    content = json.dumps({**told, **changes}).encode()
    signed = SignedManifest(content=content, signature=site.key.sign(content))
    with pytest.raises(DeliveryError, match="cannot be read"):
        verified_manifest(signed, site.key.public_key())


@pytest.mark.parametrize(
    "told",
    [None, [], {}, {"manifest": 1, "signature": ""}, {"manifest": "", "signature": "?"}],
)
def test_what_is_no_signed_manifest_is_refused(told: object) -> None:
    """Whatever a hub may answer."""
    with pytest.raises(DeliveryError, match="cannot be read"):
        SignedManifest.read(told)


def test_a_manifest_travels_whole(site: ServingSite) -> None:
    """What is read is what was signed, to the byte."""
    manifest = site.manifest(b"file", "hospitals")
    signed = site.signed(manifest)
    again = SignedManifest.read(json.loads(json.dumps(signed.plain())))
    assert again == signed
    assert verified_manifest(again, site.key.public_key()) == manifest


def test_a_damaged_state_is_told(site: ServingSite) -> None:
    """With what to do; deleted, deliveries come again."""
    site.deliver(1)
    (site.config.models / "state.json").write_text("{")
    with pytest.raises(DeliveryError, match="Delete it"):
        site.shelf.installed()
    (site.config.models / "state.json").unlink()
    assert kept(site) == [1]
    assert live(site) is None


@given(steps=st.lists(st.tuples(st.sampled_from("lw"), st.integers(1, 4)), max_size=12))
def test_one_version_is_live_at_a_time(steps: list[tuple[str, int]]) -> None:
    """The last that was made live and not withdrawn; as a plain list says."""
    state, wanted = ShelfState(), list[int]()
    for step, version in steps:
        wanted = [each for each in wanted if each != version]
        if step == "l":
            wanted.append(version)
            state = state.with_live("m", version)
        else:
            state = state.without("m", version)
        assert state.produced.get("m", ()) == tuple(wanted)
        assert [v for v in range(1, 5) if state.is_live("m", v)] == wanted[-1:]


def test_the_token_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """And refused when others may read it, or when it is none."""
    path = tmp_path / "serve.token"
    token = site_token(path)
    assert site_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(NotAllowedError, match="chmod 600"):
        site_token(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(InvalidValueError, match="holds no token"):
        site_token(path)
    with pytest.raises(HubStateError, match="cannot be used"):
        site_token(tmp_path / "nowhere" / "token")


def test_a_node_without_its_hub_s_key_says_so(site: ServingSite) -> None:
    """It cannot tell whose deliveries are whose."""
    with pytest.raises(HubStateError, match="Enroll the node again"):
        hub_key(site.config)
    (site.config.directory / "hub.pub").write_text("no key")
    with pytest.raises(HubStateError, match="cannot be read"):
        hub_key(site.config)
