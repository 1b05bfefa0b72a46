"""Wishes: who comes later gets what was delivered to such nodes, until it is withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.api.uploads.kept import Uploads
from flip_lab.core.clock import now_s
from flip_lab.core.cohort import NodeFacts
from flip_lab.core.errors import HubStateError
from flip_lab.fl.scenarios import load_scenario, scenario_to_json
from flip_lab.hub import active
from flip_lab.hub.active import _Keeper
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_delivery_tables import EVERYBODY, Word
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.deliveries import DeliveryDesk
from flip_lab.hub.deliveries_owed import carry_out_wishes, owed
from flip_lab.hub.parcel import Parcel
from flip_lab.hub.place import HubPlace
from flip_lab.hub.preparing import prepare_hub
from flip_lab.node.serving.manifest import Manifest, verified_manifest
from flip_lab.node.serving.shelf import KEPT_VERSIONS
from flip_lab.node.serving.shelf_state import ShelfState
from flip_lab.store.audit import read_audit
from flip_lab.store.audit_writer import acting_as
from flip_lab.store.layout import LabDir
from flip_lab.testing.hub_probe import Asked, ProbedHub

SCHEMA = {
    "dataset": "toys",
    "features": {"shape": [3], "names": ["a", "b", "c"], "seen": []},
    "classes": ["no", "yes"],
    "is_prepared_per_site": False,
}
Enrol = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    """Give a new hub."""
    return prepare_hub(tmp_path / "hub", hosts=["localhost"]).place


@pytest.fixture
def hub(tmp_path: Path) -> ProbedHub:
    """Give a hub's directory that can be active in this process."""
    return ProbedHub(tmp_path / "probed")


@pytest.fixture
def database(place: HubPlace) -> Iterator[HubDatabase]:
    """Give its database."""
    with HubDatabase(place) as database:
        yield database


@pytest.fixture
def enrol(database: HubDatabase) -> Enrol:
    """Give what enrols a node of a name with tags."""

    def enrol(name: str, *tags: str) -> None:
        number = len(database.nodes.list())
        made, secret = database.enrolments.create(name, expires_s=now_s() + 3600, tags=tags)
        device = Device(
            public_key=f"pem {number}", fingerprint=f"{number:064x}", node_id=number
        )
        database.enrolments.redeem(made.id, secret.text, device)

    return enrol


@pytest.fixture
def deliver(place: HubPlace, database: HubDatabase) -> Callable[..., None]:
    """Give what delivers a version."""

    def deliver(version: int, nodes: object = None, stage: str = "production") -> None:
        weights = np.full(6, version, dtype=np.float32)
        content = safetensors.numpy.save({"1.weight": weights})
        uploads = Uploads(LabDir(place.lab))
        upload = uploads.create("model.safetensors", len(content), kind="model")
        with uploads.appending(upload.id, 0) as piece:
            piece.write(content)
        plain = Parcel(
            name="toys",
            version=version,
            stage=stage,
            sha256=uploads.checked(upload.id).sha256 or "",
            upload=upload.id,
            scenario=scenario_to_json(load_scenario("hospitals")),
            input_schema=SCHEMA,
        )
        asked = replace(plain, nodes=nodes)  # pyright: ignore[reportArgumentType]  # as given
        with acting_as("ada"):
            DeliveryDesk(place, database).deliver(asked)

    return deliver


def told(place: HubPlace, database: HubDatabase, name: str) -> list[Manifest]:
    """Give what a node is told, the oldest first, signature checked."""
    carry_out_wishes(place, database)
    assert carry_out_wishes(place, database) == 0  # once is enough
    public = load_pem_public_key(place.signing_public.read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    found = DeliveryDesk(place, database).of_node(database.nodes.named(name), after=0)
    return [verified_manifest(signed, public) for signed in found]


def versions(manifests: list[Manifest]) -> list[tuple[str, int]]:
    """Give what each of them says."""
    return [(each.action, each.version) for each in manifests]


def test_who_enrols_later_gets_what_all_got(
    place: HubPlace, database: HubDatabase, enrol: Enrol, deliver: Callable[..., None]
) -> None:
    """Signed, by whoever delivered it, on record, and with its file."""
    enrol("bern", "alps")
    deliver(1)
    deliver(2, ["bern"])  # by name: for that one alone
    enrol("oslo")
    (found,) = told(place, database, "oslo")
    assert (found.action, found.version, found.delivered_by) == ("install", 1, "ada")
    DeliveryDesk(place, database).require_for(database.nodes.named("oslo"), found.sha256)
    last = read_audit(LabDir(place.lab))[-1]
    assert (last.author, last.body["nodes"]) == ("ada", ["oslo"])
    assert last.body["wish"] < found.delivery
    assert versions(told(place, database, "bern")) == [("install", 1), ("install", 2)]


def test_who_is_tagged_later_gets_what_such_nodes_got(
    place: HubPlace, database: HubDatabase, enrol: Enrol, deliver: Callable[..., None]
) -> None:
    """Newer than all that the node dealt with before, for it takes nothing older."""
    enrol("bern", "alps")
    enrol("oslo", "sea")
    deliver(1, "alps and not slow")
    deliver(7, ["oslo"], "staging")
    (before,) = told(place, database, "oslo")
    changes = database.nodes.changes()
    database.nodes.tag("oslo", add=["alps", "slow"])
    assert database.nodes.changes() > changes  # a hub that is up looks then
    assert versions(told(place, database, "oslo")) == [("install", 7)]
    database.nodes.tag("oslo", remove=["slow"])
    _, after = told(place, database, "oslo")
    assert (after.version, after.delivery > before.delivery) == (1, True)
    database.nodes.tag("oslo", remove=["alps"])  # what is there stays there
    assert len(told(place, database, "oslo")) == 2


def test_what_is_withdrawn_is_wished_no_more(
    place: HubPlace, database: HubDatabase, enrol: Enrol, deliver: Callable[..., None]
) -> None:
    """Off all: nobody gets it; off some by tags: off who joins them; or off one by name."""
    enrol("bern", "alps")
    enrol("oslo")
    deliver(1)
    deliver(2)
    desk = DeliveryDesk(place, database)
    desk.withdraw("toys", 1)
    desk.withdraw("toys", 2, "alps")
    enrol("graz", "alps")
    enrol("rome")
    assert versions(told(place, database, "graz")) == []
    assert versions(told(place, database, "rome")) == [("install", 2)]
    database.nodes.tag("rome", add=["alps"])
    assert versions(told(place, database, "rome"))[1:] == [("withdraw", 2)]
    desk.withdraw("toys", 2, ["oslo"])
    assert versions(told(place, database, "oslo"))[-1] == ("withdraw", 2)


def word(number: int, version: int, **more: object) -> Word:
    """Give a wish about all nodes."""
    plain = Word(
        number=number,
        action="install",
        model="toys",
        version=version,
        stage="production",
        meant=EVERYBODY,
        wish=None,
    )
    return replace(plain, **more)  # pyright: ignore[reportArgumentType]  # by name


NODE = NodeFacts(name="oslo", tags=frozenset({"sea"}), partition_id=1)


def test_an_older_wish_takes_the_place_of_nothing_newer() -> None:
    """A version that the node was given by name since goes on answering."""
    own = [word(200, 9, meant=None)]
    assert owed(NODE, [word(100, 1)], own) == []
    assert owed(NODE, [word(300, 1)], own) == [word(300, 1)]
    gone = word(250, 9, meant=None, action="withdraw")
    assert owed(NODE, [word(100, 1)], [*own, gone]) == [word(100, 1)]


def test_what_a_crash_left_undone_is_done() -> None:
    """The first of two was delivered anew, the second not yet: it still comes."""
    first = word(300, 1, meant=None, wish=100)
    assert owed(NODE, [word(100, 1), word(200, 2)], [first]) == [word(200, 2)]


def test_no_more_comes_than_is_kept() -> None:
    """Of fifty versions a new node gets the one that answers, and the newest beside it."""
    wishes = [word(n, n, stage="production" if n == 7 else "staging") for n in range(1, 51)]
    found = owed(NODE, wishes, [])
    assert [each.version for each in found] == [7, 49, 50]
    assert len(found) == KEPT_VERSIONS


@given(
    st.lists(st.tuples(st.sampled_from(["install", "withdraw"]), st.integers(1, 4))),
    st.sets(st.integers(1, 4)),
    st.integers(0, 20),
)
def test_late_and_early_nodes_answer_with_the_same_version(
    said: list[tuple[str, int]], staged: set[int], when: int
) -> None:
    """Whatever was wished for all, and whenever a node comes."""
    wishes = [
        word(n, v, action=action, stage="staging" if v in staged else "production")
        for n, (action, v) in enumerate(said, 1)
    ]
    early = late = ShelfState()
    for each in wishes:
        early = _after(early, each)
    before = owed(NODE, wishes[:when], [])
    own = [replace(w, number=w.number + 100, meant=None, wish=w.number) for w in before]
    for each in (*before, *owed(NODE, wishes, own)):
        late = _after(late, each)
    assert late.produced.get("toys", ())[-1:] == early.produced.get("toys", ())[-1:]


def _after(state: ShelfState, each: Word) -> ShelfState:
    if each.action == "withdraw":
        return state.without("toys", each.version)
    is_live = each.stage == "production"
    return state.with_live("toys", each.version) if is_live else state


def test_a_hub_that_cannot_sign_looks_after_the_rest(
    hub: ProbedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once in a while, and carries out what is wished when it can again."""
    now = [0.0]
    tried: list[float] = []
    saved: list[float] = []

    def carry_out(place: HubPlace, database: HubDatabase) -> int:
        tried.append(now[0])
        if len(tried) < 3:
            raise HubStateError("signing.key cannot be read.", fix="Restore it.")
        return carry_out_wishes(place, database)

    async def story(asked: Asked) -> None:
        keeper = _Keeper(asked.active.service)
        monkeypatch.setattr(active, "carry_out_wishes", carry_out)
        monkeypatch.setattr(active, "tick_s", lambda: now[0])
        monkeypatch.setattr(keeper, "save", lambda: saved.append(now[0]))
        for second in range(100):
            now[0] = 1e6 + second
            with suppress(HubStateError):
                keeper.tick()

    hub.play(story)
    assert [at - 1e6 for at in tried] == [0, 30, 60]
    assert len(saved) == 7
