"""A hub's deliveries: what is taken, whom it is for, what is signed and written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from flip_lab.api.uploads.kept import Uploads
from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    CohortError,
    DeliveryError,
    FlipLabError,
    HubStateError,
    ModelNotFoundError,
    NoSuchPlaceError,
    UploadError,
)
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.hub import deliveries
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.database_nodes import Nodes as NodeTable
from flip_lab.hub.deliveries import DeliveryDesk
from flip_lab.hub.parcel import Nodes, Parcel, chosen_nodes
from flip_lab.hub.place import HubPlace
from flip_lab.hub.preparing import prepare_hub
from flip_lab.hub.signing_key import load_signing_key
from flip_lab.node.serving.manifest import verified_manifest
from flip_lab.runs.deliver_schema import input_schema_of, scenario_of
from flip_lab.runs.registry_actions import register_model
from flip_lab.runs.registry_sources import source_of_file
from flip_lab.store.audit import read_audit
from flip_lab.store.audit_writer import acting_as
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir, open_lab

CONTENT = safetensors.numpy.save({"1.weight": np.arange(6, dtype=np.float32)})
SCHEMA = {
    "dataset": "toys",
    "features": {"shape": [3], "names": ["a", "b", "c"], "seen": []},
    "classes": ["no", "yes"],
    "is_prepared_per_site": False,
}


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    """Give a new hub with its keys."""
    return prepare_hub(tmp_path / "hub", hosts=["localhost"]).place


@pytest.fixture
def database(place: HubPlace) -> Iterator[HubDatabase]:
    """Give its database, with three nodes."""
    with HubDatabase(place) as database:
        for number, name in enumerate(("bern", "oslo", "rome")):
            record, secret = database.enrolments.create(
                name,
                expires_s=now_s() + 3600,
                tags=["alps"] if name == "bern" else ["sea"],
                config={"partition-id": number},
            )
            device = Device(
                public_key=f"pem {number}", fingerprint=f"{number:064x}", node_id=number
            )
            database.enrolments.redeem(record.id, secret.text, device)
        yield database


@pytest.fixture
def desk(place: HubPlace, database: HubDatabase) -> DeliveryDesk:
    """Give what takes models and hands them on."""
    return DeliveryDesk(place, database)


def uploaded(place: HubPlace, content: bytes = CONTENT) -> str:
    """Upload a file to the hub's lab."""
    uploads = Uploads(LabDir(place.lab))
    upload = uploads.create("model.safetensors", len(content), kind="model")
    with uploads.appending(upload.id, 0) as piece:
        piece.write(content)
    return upload.id


def parcel(place: HubPlace, **changes: object) -> Parcel:
    """Give a delivery whose file was uploaded."""
    upload = uploaded(place)
    sha256 = Uploads(LabDir(place.lab)).checked(upload).sha256
    assert sha256 is not None
    plain = Parcel(
        name="toys",
        version=1,
        stage="production",
        sha256=sha256,
        upload=upload,
        scenario=scenario_to_json(load_scenario("hospitals")),
        lineage={"run_id": "261122-091500-q7xd"},
        input_schema=SCHEMA,
    )
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]  # by name


def test_a_delivery_is_signed_for_its_nodes(
    place: HubPlace, database: HubDatabase, desk: DeliveryDesk
) -> None:
    """Each gets it until it has dealt with it; who did it is on record."""
    asked = parcel(place)
    with acting_as("ada"):
        rows = desk.deliver(asked)
    assert [(row.node, row.state) for row in rows] == [
        ("bern", "pending"),
        ("oslo", "pending"),
        ("rome", "pending"),
    ]
    oslo = database.nodes.named("oslo")
    (signed,) = desk.of_node(oslo, after=0)
    public = load_pem_public_key(place.signing_public.read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    manifest = verified_manifest(signed, public)
    assert (manifest.name, manifest.version, manifest.delivered_by) == ("toys", 1, "ada")
    assert manifest.size_bytes == len(CONTENT)
    assert desk.of_node(oslo, after=manifest.delivery) == []
    desk.require_for(oslo, asked.sha256)
    desk.tell(oslo, manifest.delivery, "installed", "")
    assert {row.node: row.state for row in desk.rows("toys")}["oslo"] == "installed"
    last = read_audit(LabDir(place.lab))[-1]
    assert (last.author, last.action) == ("ada", "deliver_model")
    assert last.body["nodes"] == ["bern", "oslo", "rome"]


def test_a_file_is_uploaded_once(place: HubPlace, desk: DeliveryDesk) -> None:
    """The next delivery of it needs no upload; and no collection takes it."""
    asked = parcel(place)
    assert not desk.has(asked.sha256)
    desk.deliver(asked)
    assert desk.has(asked.sha256)
    rows = desk.deliver(replace(asked, upload=None))
    assert rows[0].delivery > 1
    with pytest.raises(NoSuchPlaceError):
        Uploads(LabDir(place.lab)).find(asked.upload or "")


def test_a_damaged_file_heals_with_the_next_upload(
    place: HubPlace, desk: DeliveryDesk
) -> None:
    """Of the same length even: the hash says which one is right."""
    asked = parcel(place)
    desk.deliver(asked)
    kept = Blobs(LabDir(place.lab)).place(asked.sha256)
    kept.write_bytes(CONTENT[:-1] + b"\x01")
    assert not desk.has(asked.sha256)
    desk.deliver(replace(asked, upload=uploaded(place)))
    assert kept.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("nodes", "meant"),
    [
        ("alps", {"bern"}),
        ("sea and not name:o*", {"rome"}),
        ("0, 2", {"bern", "rome"}),
        (["oslo"], {"oslo"}),
        (None, {"bern", "oslo", "rome"}),
    ],
)
def test_nodes_are_chosen_by_tags_and_names(
    place: HubPlace, desk: DeliveryDesk, nodes: object, meant: set[str]
) -> None:
    """As cohorts of a run are."""
    rows = desk.deliver(parcel(place, nodes=nodes))
    assert {row.node for row in rows} == meant


@pytest.mark.parametrize("nodes", ["mars", ["oslo", "mars"], [], "sea and"])
def test_a_choice_that_nobody_meets_is_refused(
    place: HubPlace, desk: DeliveryDesk, nodes: object
) -> None:
    """Before anything is kept."""
    asked = parcel(place, nodes=nodes)
    with pytest.raises(CohortError):
        desk.deliver(asked)
    assert not desk.has(asked.sha256)


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "live"},
        {"scenario": "{}"},
        {"scenario": "[]"},
        {"input_schema": {}},
        {"lineage": {"long": "x" * 2**19}},
        {"lineage": {"accuracy": float("inf")}},
        {"sha256": "0" * 64},
        {"upload": None},
        {"name": "../model"},
    ],
)
def test_what_does_not_go_together_is_refused(
    place: HubPlace, desk: DeliveryDesk, changes: dict[str, object]
) -> None:
    """And nothing is delivered."""
    asked = parcel(place, **changes)
    with pytest.raises(FlipLabError):
        desk.deliver(asked)
    assert desk.rows() == []


def test_half_an_upload_is_refused(place: HubPlace, desk: DeliveryDesk) -> None:
    """With what is missing."""
    uploads = Uploads(LabDir(place.lab))
    upload = uploads.create("model.safetensors", len(CONTENT), kind="model")
    with uploads.appending(upload.id, 0) as piece:
        piece.write(CONTENT[:10])
    with pytest.raises(UploadError, match="10 of"):
        desk.deliver(parcel(place, upload=upload.id))


def test_a_version_is_one_file(place: HubPlace, desk: DeliveryDesk) -> None:
    """Two researchers whose registries count alike do not mix their models up."""
    desk.deliver(parcel(place))
    other = safetensors.numpy.save({"1.weight": np.zeros(6, dtype=np.float32)})
    upload = uploaded(place, other)
    sha256 = Uploads(LabDir(place.lab)).checked(upload).sha256
    with pytest.raises(DeliveryError, match="another file here"):
        desk.deliver(parcel(place, upload=upload, sha256=sha256))


def test_a_version_is_one_file_also_for_two_at_once(
    place: HubPlace, desk: DeliveryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is faster while the other's file is looked at."""
    other = safetensors.numpy.save({"1.weight": np.zeros(6, dtype=np.float32)})
    upload = uploaded(place, other)
    sha256 = Uploads(LabDir(place.lab)).checked(upload).sha256

    def faster(nodes: NodeTable, choice: Nodes) -> dict[str, str]:
        monkeypatch.undo()
        desk.deliver(parcel(place, upload=upload, sha256=sha256))
        return chosen_nodes(nodes, choice)

    monkeypatch.setattr(deliveries, "chosen_nodes", faster)
    with pytest.raises(DeliveryError, match="another file here"):
        desk.deliver(parcel(place))
    assert {row.sha256 for row in desk.rows()} == {sha256}


def test_what_is_withdrawn_is_signed_too(
    place: HubPlace, database: HubDatabase, desk: DeliveryDesk
) -> None:
    """For those that got it alone."""
    desk.deliver(parcel(place, nodes="sea"))
    rows = desk.withdraw("toys", 1)
    assert {(row.node, row.action) for row in rows} == {
        ("oslo", "withdraw"),
        ("rome", "withdraw"),
    }
    first, second = desk.of_node(database.nodes.named("rome"), after=0)
    assert first != second
    for nodes, version in (("alps", 1), (None, 2)):
        with pytest.raises(ModelNotFoundError, match="was not delivered"):
            desk.withdraw("toys", version, nodes)


def test_a_node_gets_what_is_its_own(
    place: HubPlace, database: HubDatabase, desk: DeliveryDesk
) -> None:
    """No file and no say in what was delivered to others."""
    asked = parcel(place, nodes="alps")
    (row,) = desk.deliver(asked)
    oslo = database.nodes.named("oslo")
    assert desk.of_node(oslo, after=0) == []
    with pytest.raises(NoSuchPlaceError, match="was delivered to 'oslo'"):
        desk.require_for(oslo, asked.sha256)
    with pytest.raises(NoSuchPlaceError, match="not for this node"):
        desk.tell(oslo, row.delivery, "installed", "")


def test_numbers_grow_after_a_backup_was_restored(
    place: HubPlace, desk: DeliveryDesk
) -> None:
    """They begin at the clock: nodes do not take a new delivery for an old one."""
    (row, *_) = desk.deliver(parcel(place))
    assert row.delivery >= int(row.delivered_s)
    (later, *_) = desk.deliver(parcel(place))
    assert later.delivery > row.delivery


def test_a_hub_without_its_key_says_so(place: HubPlace) -> None:
    """Its nodes would believe no other."""
    assert load_signing_key(place)
    place.signing_key.write_text("no key")
    with pytest.raises(HubStateError, match="backup"):
        load_signing_key(place)
    place.signing_key.write_bytes(place.server_key.read_bytes())
    with pytest.raises(HubStateError, match="no key for signing"):
        load_signing_key(place)


def test_a_registered_file_is_delivered_with_its_scenario(tmp_path: Path) -> None:
    """Named by its sender where no run tells; what was seen of each feature goes along."""
    lab = open_lab(tmp_path / "lab")
    path = tmp_path / "file.safetensors"
    path.write_bytes(CONTENT)
    version = register_model(lab, source_of_file(lab, path), "toys")
    with pytest.raises(DeliveryError, match="Nobody knows the scenario"):
        scenario_of(lab, version, None)
    scenario = scenario_of(lab, version, "hospitals")
    schema = input_schema_of(version, scenario)
    assert schema["is_prepared_per_site"]
    names = schema["features"]["names"]
    low, high = schema["features"]["seen"][names.index("sex is male")]
    assert (low, high) == (0.0, 1.0)
    lineage = replace(version.lineage, scenario="hospitals", scenario_fingerprint="0" * 64)
    with pytest.raises(DeliveryError, match="another scenario"):
        scenario_of(lab, replace(version, lineage=lineage), "hospitals")
    told = replace(lineage, scenario_fingerprint=scenario.fingerprint)
    assert scenario_of(lab, replace(version, lineage=told), None) == scenario
