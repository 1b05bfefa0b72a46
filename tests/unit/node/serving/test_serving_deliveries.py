"""Deliveries at a node: fetched once, checked, confirmed; what is wrong is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import safetensors.torch
import torch
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from torch import nn

from flip_lab.core.errors import (
    DeliveryError,
    FederationUnreachableError,
    FlipLabError,
    NoSuchPlaceError,
    RequestError,
)
from flip_lab.fl.models import MODELS
from flip_lab.node.config import NodeLimits
from flip_lab.node.deliveries import Deliveries
from flip_lab.node.serving.input_schema import read_input_schema
from flip_lab.node.serving.manifest import Manifest, SignedManifest
from flip_lab.node.serving.predictor import check_model_file, load_predictor
from flip_lab.testing.serving_site import ServingSite, arrays_of


@dataclass
class FakeHub:
    """A hub that hands out what a test gives it.

    Attributes:
        signed: What is for the node.
        files: By hash.
        answers: What the node made of deliveries.
        asked_from: From which byte files were asked for.
        breaks_after: Bytes after which the line breaks, once.
        refusals: What it says to the next answers in place of taking them.
    """

    signed: list[SignedManifest] = field(default_factory=list[SignedManifest])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    answers: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    asked_from: list[int] = field(default_factory=list[int])
    breaks_after: int | None = None
    refusals: list[FlipLabError] = field(default_factory=list[FlipLabError])

    def ask(self, method: str, target: str, told: Any = None) -> Any:  # noqa: ANN401  # JSON
        """Answer as a hub does."""
        number = int(target.replace("=", "/").rpartition("/")[2])
        if method == "POST" and self.refusals:
            raise self.refusals.pop(0)
        if method == "POST":
            self.answers.append((number, told["state"], told["why"]))
            return None
        later = [s for s in self.signed if json.loads(s.content)["delivery"] > number]
        return {"items": [each.plain() for each in later]}

    @contextmanager
    def parts(self, target: str, *, after_bytes: int) -> Generator[Iterator[bytes]]:
        """Give a file in small parts."""
        self.asked_from.append(after_bytes)
        yield self._parts(self.files[target.rpartition("/")[2]], after_bytes)

    def _parts(self, content: bytes, after: int) -> Iterator[bytes]:
        for at in range(after, len(content), 1000):
            if self.breaks_after is not None and at >= self.breaks_after:
                self.breaks_after = None
                raise FederationUnreachableError("The line broke.", fix="Wait.")
            yield content[at : at + 1000]


@pytest.fixture
def hub(site: ServingSite) -> FakeHub:
    """Give the hub that the site trusts."""
    public = site.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (site.config.directory / "hub.pub").write_bytes(pem)
    return FakeHub()


def send(
    site: ServingSite,
    hub: FakeHub,
    content: bytes | None = None,
    **changes: Any,  # noqa: ANN401  # values of a manifest
) -> Manifest:
    """Let the hub deliver something."""
    content = content or safetensors.torch.save(arrays_of("digits-iid", 1))
    manifest = site.manifest(content, "digits-iid", **changes)
    hub.files.setdefault(manifest.sha256, content)
    hub.signed.append(site.signed(manifest))
    return manifest


def test_a_delivery_is_installed_and_confirmed(site: ServingSite, hub: FakeHub) -> None:
    """Its file has its hash; nothing is fetched or told twice."""
    manifest = send(site, hub)
    node = Deliveries(site.config, hub)
    assert node.take() == 1
    assert node.take() == 0
    assert hub.answers == [(1, "installed", "")]
    (kept,) = site.shelf.installed()
    assert kept.is_live
    assert kept.path.read_bytes() == hub.files[manifest.sha256]
    send(site, hub, version=2)  # the same file once more
    assert node.take() == 1
    assert hub.asked_from == [0]


def test_a_file_goes_on_where_it_stopped(site: ServingSite, hub: FakeHub) -> None:
    """After the line broke; until it is whole nothing is installed."""
    send(site, hub)
    hub.breaks_after = 1500
    node = Deliveries(site.config, hub)
    with pytest.raises(FederationUnreachableError):
        node.take()
    assert site.shelf.installed() == []
    node.look()
    assert hub.asked_from == [0, 2000]
    assert hub.answers == [(1, "installed", "")]


@pytest.mark.parametrize("unheard", [NoSuchPlaceError, RequestError])
def test_what_the_hub_did_not_hear_is_told_again(
    site: ServingSite, hub: FakeHub, unheard: type[FlipLabError]
) -> None:
    """By the next process of the node, too; what it never takes keeps nothing back."""
    away = FederationUnreachableError("The line broke.", fix="Wait.")
    hub.refusals = [away, away]
    send(site, hub)
    send(site, hub, version=2)
    node = Deliveries(site.config, hub)
    for _ in range(2):
        with pytest.raises(FederationUnreachableError):
            node.take()
    assert hub.answers == []
    again = Deliveries(site.config, hub)
    assert again.take() == 1
    assert hub.answers == [(1, "installed", ""), (2, "installed", "")]
    hub.refusals = [away, unheard("It was not for you.", fix="Nothing.")]
    send(site, hub, version=3)
    send(site, hub, version=4)
    again.look()
    assert again.take() == 1
    assert [number for number, *_ in hub.answers] == [1, 2, 4]


def test_a_long_reason_is_told_as_far_as_a_hub_reads(
    site: ServingSite, hub: FakeHub
) -> None:
    """It would take none of it."""
    manifest = send(site, hub, content=b"as signed", name="m" * 3000)
    hub.files[manifest.sha256] = b"not as so"
    Deliveries(site.config, hub).take()
    [(_, state, why)] = hub.answers
    assert (state, len(why)) == ("refused", 2000)


def test_a_file_is_on_the_disk_before_it_counts(
    site: ServingSite, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut takes a model that nobody sends again."""
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    manifest = send(site, hub)
    Deliveries(site.config, hub).take()
    assert site.shelf.file(manifest.sha256).stat().st_ino in synced


def test_a_tampered_file_is_refused(site: ServingSite, hub: FakeHub) -> None:
    """What answered before goes on answering; the next delivery is taken."""
    site.deliver(7)
    manifest = send(site, hub, version=8)
    whole = hub.files[manifest.sha256]
    hub.files[manifest.sha256] = whole[:-1] + bytes([whole[-1] ^ 1])
    node = Deliveries(site.config, hub)
    node.take()
    (number, state, why), *_ = hub.answers
    assert (number, state) == (manifest.delivery, "refused")
    assert "does not match its hash" in why
    assert [e.manifest.version for e in site.shelf.installed() if e.is_live] == [7]
    hub.files[manifest.sha256] = whole
    send(site, hub, version=9)
    node.take()
    assert hub.answers[-1][1] == "installed"


def test_a_foreign_signature_is_refused_once(site: ServingSite, hub: FakeHub) -> None:
    """And does not keep later deliveries from coming."""
    signed = site.signed(site.manifest(b"", "digits-iid"))
    hub.signed.append(replace(signed, signature=bytes(64)))
    node = Deliveries(site.config, hub)
    node.take()
    node.take()
    assert [answer[:2] for answer in hub.answers] == [(1, "refused")]
    send(site, hub)
    node.take()
    assert [answer[:2] for answer in hub.answers][1:] == [(2, "installed")]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scenario": "{}"}, "cannot be built"),
        ({"scenario": "not JSON"}, "cannot be built"),
        ({"input_schema": {}}, "cannot be read"),
        ({"size_bytes": 2**40}, "takes up to"),
    ],
)
def test_what_cannot_be_served_is_refused(
    site: ServingSite, hub: FakeHub, changes: dict[str, Any], why: str
) -> None:
    """The hub hears why."""
    send(site, hub, **changes)
    Deliveries(site.config, hub).take()
    assert [answer[:2] for answer in hub.answers] == [(1, "refused")]
    assert why in hub.answers[0][2]
    assert site.shelf.installed() == []


@pytest.mark.parametrize("kind", ["nan", "shape", "missing", "more", "pickle"])
def test_arrays_must_be_those_of_the_model(
    site: ServingSite, hub: FakeHub, kind: str
) -> None:
    """NaN, another shape, an array too few or too many, or no safetensors file at all."""
    arrays = arrays_of("digits-iid", 1)
    first = next(iter(arrays))
    if kind == "nan":
        arrays[first][0] = torch.nan
    elif kind == "shape":
        arrays[first] = torch.zeros(3, 3)
    elif kind == "missing":
        del arrays[first]
    elif kind == "more":
        arrays["more"] = torch.zeros(1)
    content = b"\x80\x04N." if kind == "pickle" else safetensors.torch.save(arrays)
    send(site, hub, content)
    Deliveries(site.config, hub).take()
    assert hub.answers[0][1] == "refused"
    wanted = "no safetensors file" if kind == "pickle" else "The array"
    assert wanted in hub.answers[0][2]


def test_a_scenario_cannot_make_a_node_run_out_of_memory(site: ServingSite) -> None:
    """Sizes are compared before there is room for a single array."""
    content = safetensors.torch.save(arrays_of("digits-iid", 1))
    manifest = site.manifest(content, "digits-iid")
    scenario = json.loads(manifest.scenario)
    scenario["model"] = {"name": "mlp", "options": {"hidden": 10**12}}
    path = site.config.directory / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(DeliveryError, match="The array"):
        load_predictor(replace(manifest, scenario=json.dumps(scenario)), path)


def test_a_model_that_gives_something_else_does_not_answer(site: ServingSite) -> None:
    """An added model may do what it wants: it is tried out before anybody asks."""
    content = safetensors.torch.save({"1.weight": torch.zeros(3, 64)})
    path = site.config.directory / "file.safetensors"
    path.write_bytes(content)
    manifest = site.manifest(content, "digits-iid")
    scenario = json.loads(manifest.scenario) | {"model": {"name": "odd", "options": {}}}

    def odd(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Build a model that gives three numbers, whatever it is asked for."""
        return nn.Sequential(
            nn.Flatten(), nn.Linear(shape[1] * shape[2], num_classes - 7, bias=False)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._things, "odd", odd)
        with pytest.raises(DeliveryError, match=r"gave \(1, 3\)"):
            load_predictor(replace(manifest, scenario=json.dumps(scenario)), path)


def test_a_check_draws_no_number(site: ServingSite) -> None:
    """Clients train in the same process, with dropout perhaps."""
    content = safetensors.torch.save(arrays_of("digits-iid", 1))
    path = site.config.directory / "file.safetensors"
    path.write_bytes(content)
    manifest = site.manifest(content, "digits-iid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "manual_seed", None)  # it would be called
        before = torch.get_rng_state()
        assert check_model_file(manifest, path).class_names
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": {"shape": [10**9], "names": [], "seen": []}},
        {"features": {"shape": [0], "names": []}},
        {"features": {"shape": ["2"], "names": []}},
        {"features": {"shape": [2], "names": ["a", "a"]}},
        {"features": {"shape": [2], "names": [], "seen": [[2, 1]]}},
        {"classes": []},
        {"classes": ["yes", "yes"]},
        {"classes": "yes"},
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    """Names twice, no class, an example of gigabytes."""
    told = {
        "dataset": "toys",
        "features": {"shape": [2], "names": ["a", "b"], "seen": [[0, 1], [0, 2]]},
        "classes": ["no", "yes"],
        "is_prepared_per_site": False,
    }
    assert read_input_schema(told).shape == (2,)
    with pytest.raises(DeliveryError):
        read_input_schema({**told, **changes})


def test_the_site_says_how_large_a_model_may_be(site: ServingSite, hub: FakeHub) -> None:
    """As for messages: nothing of a larger one is fetched."""
    site.config = replace(site.config, limits=NodeLimits(message_mb=1))
    send(site, hub, size_bytes=2**20 + 1)
    Deliveries(site.config, hub).take()
    assert "takes up to 1,048,576" in hub.answers[0][2]
    assert hub.asked_from == []
