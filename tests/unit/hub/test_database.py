"""The hub's database: who is let in, once each, on record, through damage and threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    EnrolmentError,
    FlipLabError,
    HubStateError,
    NoSuchPlaceError,
    StoreNotWritableError,
)
from flip_lab.hub import database_core
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.place import HubPlace
from flip_lab.store.audit import read_audit
from flip_lab.store.audit_writer import acting_as
from flip_lab.store.layout import LabDir, open_lab

SOON_S = now_s() + 24 * 3600  # tests run long after this is read


def device(number: int = 1) -> Device:
    """Give a device with a key of its own."""
    return Device(public_key=f"pem {number}", fingerprint=f"{number:064x}", node_id=number)


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    """Give a directory with a lab, and no database yet."""
    place = HubPlace(tmp_path)
    open_lab(place.lab)
    return place


@pytest.fixture
def database(place: HubPlace) -> Iterator[HubDatabase]:
    """Give a new database."""
    with HubDatabase(place, create=True) as database:
        yield database


def enrolled(database: HubDatabase, name: str, number: int = 1) -> None:
    """Let a node in."""
    record, secret = database.enrolments.create(name, expires_s=SOON_S)
    database.enrolments.redeem(record.id, secret.text, device(number))


def test_a_token_opens_until_it_is_revoked(database: HubDatabase) -> None:
    """A right token is known with its role; a revoked one is not, and not twice revoked."""
    record, token = database.tokens.create(role="researcher", person="Ada")
    found = database.tokens.check(token)
    assert found is not None
    assert (found.id, found.role, found.person) == (record.id, "researcher", "Ada")
    database.tokens.revoke(record.id)
    assert database.tokens.check(token) is None
    with pytest.raises(NoSuchPlaceError):
        database.tokens.revoke(record.id)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1],
        lambda token: f"{token}x",
        lambda token: token.replace("flip_", "flap_"),
        lambda token: token.rsplit("_", 1)[0],
        lambda _: "",
        lambda _: "flip__",
        lambda _: "flip_nobody_" + "x" * 43,
        lambda token: token.upper(),
        lambda _: "\ud800",
    ],
)
def test_a_wrong_token_opens_nothing(
    database: HubDatabase, spoil: Callable[[str], str]
) -> None:
    """Whatever is not the whole token is nobody's."""
    _, token = database.tokens.create(role="admin", person="Ada")
    assert database.tokens.check(token) is not None
    assert database.tokens.check(spoil(token)) is None


def test_an_expired_token_opens_nothing(database: HubDatabase) -> None:
    """A token ends at its time."""
    _, token = database.tokens.create(role="admin", person="Ada", expires_s=now_s() - 1)
    assert database.tokens.check(token) is None


def test_no_secret_is_on_the_disk(place: HubPlace) -> None:
    """Neither the database nor the log holds a token or an enrolment's secret."""
    with HubDatabase(place, create=True) as database:
        _, token = database.tokens.create(role="admin", person="Ada")
        _, secret = database.enrolments.create("st-mary", expires_s=SOON_S)
    files = [path for path in place.path.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert token.split("_", 2)[2].encode() not in kept
    assert secret.text.encode() not in kept


def test_last_use_is_kept_to_the_minute(database: HubDatabase) -> None:
    """Using a token is noted, but not each time: that would be a write for each request."""
    record, token = database.tokens.create(role="viewer", person="Ada")
    assert record.last_used_s is None
    database.tokens.check(token)
    first = database.tokens.list()[0].last_used_s
    assert first is not None
    database.tokens.check(token)
    assert database.tokens.list()[0].last_used_s == first


def test_an_enrolment_lets_in_one_device_once(database: HubDatabase) -> None:
    """The token becomes a node with its tags and configuration, and then is used."""
    record, secret = database.enrolments.create(
        "st-mary", tags=["gpu", "eu", "eu"], config={"partition-id": 3}, expires_s=SOON_S
    )
    database.enrolments.redeem(record.id, secret.text, device(1))
    node = database.nodes.named("st-mary")
    assert (node.node_id, node.tags, node.config) == (1, ("eu", "gpu"), {"partition-id": 3})
    assert database.enrolments.list()[0].state == "used"
    with pytest.raises(EnrolmentError, match="was used at"):
        database.enrolments.redeem(record.id, secret.text, device(2))
    assert [each.name for each in database.nodes.list()] == ["st-mary"]


def test_the_same_device_may_ask_again_if_its_answer_got_lost(
    database: HubDatabase,
) -> None:
    """The same key with the same token gets the same answer; a revoked one does not."""
    record, secret = database.enrolments.create("st-mary", expires_s=SOON_S)
    first = database.enrolments.redeem(record.id, secret.text, device(1))
    again = database.enrolments.redeem(record.id, secret.text, device(1))
    assert again.name == first.name
    assert len(database.nodes.list()) == 1
    database.nodes.revoke("st-mary")
    with pytest.raises(EnrolmentError):
        database.enrolments.redeem(record.id, secret.text, device(1))


@pytest.mark.parametrize("state", ["wrong", "unknown", "expired", "withdrawn"])
def test_a_bad_enrolment_changes_nothing(database: HubDatabase, state: str) -> None:
    """A wrong, unknown, expired or withdrawn token lets nobody in, and says why."""
    expires_s = now_s() - 1 if state == "expired" else SOON_S
    record, secret = database.enrolments.create("st-mary", expires_s=expires_s)
    if state == "withdrawn":
        database.enrolments.withdraw(record.id)
    name = "nobody" if state == "unknown" else record.id
    text = "x" * 43 if state == "wrong" else secret.text
    with pytest.raises(EnrolmentError) as raised:
        database.enrolments.redeem(name, text, device())
    assert raised.value.fix
    if state in {"expired", "withdrawn"}:
        assert state in raised.value.what
    assert database.nodes.list() == []
    assert database.nodes.changes() == 0


def test_a_name_is_given_once(database: HubDatabase) -> None:
    """Neither a node's name nor one that waits for its device is given a second time."""
    database.enrolments.create("st-mary", expires_s=SOON_S)
    with pytest.raises(EnrolmentError, match="open enrolment"):
        database.enrolments.create("st-mary", expires_s=SOON_S)
    record, secret = database.enrolments.create("st-mary", expires_s=SOON_S, replace=True)
    assert [each.state for each in database.enrolments.list()] == ["withdrawn", "open"]
    database.enrolments.redeem(record.id, secret.text, device())
    with pytest.raises(EnrolmentError, match="enrolled already"):
        database.enrolments.create("st-mary", expires_s=SOON_S, replace=True)


def test_a_key_is_let_in_once(database: HubDatabase) -> None:
    """A key that a node has, or had, cannot enrol under another name."""
    enrolled(database, "st-mary", 1)
    record, secret = database.enrolments.create("st-john", expires_s=SOON_S)
    with pytest.raises(EnrolmentError, match="st-mary"):
        database.enrolments.redeem(record.id, secret.text, device(1))
    assert database.enrolments.list()[-1].state == "open"  # it is not spent


def test_of_many_devices_with_one_token_one_gets_in(database: HubDatabase) -> None:
    """A token that eight devices show at once lets in exactly one of them."""
    record, secret = database.enrolments.create("st-mary", expires_s=SOON_S)

    def show(number: int) -> bool:
        try:
            database.enrolments.redeem(record.id, secret.text, device(number))
        except EnrolmentError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(show, range(1, 9))) == 1
    assert len(database.nodes.list()) == 1


def test_a_revoked_name_is_free_again(database: HubDatabase) -> None:
    """Who was revoked stays on record; the name can be given to another key."""
    enrolled(database, "st-mary", 1)
    with acting_as("Ada"):
        revoked = database.nodes.revoke("st-mary")
    assert (revoked.status, revoked.revoked_by) == ("revoked", "Ada")
    with pytest.raises(NoSuchPlaceError):
        database.nodes.revoke("st-mary")
    enrolled(database, "st-mary", 2)
    rows = [(each.node_id, each.status) for each in database.nodes.list()]
    assert rows == [(2, "enrolled"), (1, "revoked")]
    assert database.nodes.named("st-mary").node_id == 2
    assert database.nodes.changes() == 3  # two came, one went


def test_tags_come_and_go(database: HubDatabase) -> None:
    """Tags are a sorted set; a wrong name is answered with the right one."""
    enrolled(database, "st-mary")
    assert database.nodes.tag("st-mary", add=["b", "a", "a"]).tags == ("a", "b")
    assert database.nodes.tag("st-mary", remove=["a", "never"]).tags == ("b",)
    with pytest.raises(NoSuchPlaceError, match="st-mary"):
        database.nodes.tag("st-marry", add=["x"])


def test_what_a_node_reports_is_kept(database: HubDatabase) -> None:
    """The newest report counts; ids of 64 bits come back whole."""
    record, secret = database.enrolments.create("st-mary", expires_s=SOON_S)
    large = Device(public_key="pem", fingerprint="f" * 64, node_id=2**63 - 1)
    database.enrolments.redeem(record.id, secret.text, large)
    database.nodes.seen("f" * 64, {"flip_lab": "1", "old": True})
    database.nodes.seen("f" * 64, {"flip_lab": "2"})
    node = database.nodes.of_key("f" * 64)
    assert node is not None
    assert (node.node_id, dict(node.facts)) == (2**63 - 1, {"flip_lab": "2"})
    assert node.last_seen_s is not None
    assert database.nodes.of_key("e" * 64) is None


def test_runs_belong_to_whoever_started_them(database: HubDatabase) -> None:
    """The newest run of a FAB counts, and its first end."""
    for person in ("Ada", "Ben"):
        database.runs.started(flower_run_id=2**63, fab_sha256="f" * 64, person=person)
    found = database.runs.of_fab("f" * 64)
    assert found is not None
    assert (found.person, found.flower_run_id, found.ended_s) == ("Ben", 2**63, None)
    database.runs.ended(2**63, "completed")
    database.runs.end_all("lost")
    assert {run.outcome for run in database.runs.list()} == {"completed"}
    assert database.runs.of_flower_run(1) is None


def test_everything_is_on_record_with_its_author(
    place: HubPlace, database: HubDatabase
) -> None:
    """Tokens, enrolments, tags and revocations are lines of the lab's log."""
    with acting_as("Ada"):
        record, _ = database.tokens.create(role="viewer", person="Ben")
        database.tokens.revoke(record.id)
        enrolled(database, "st-mary")
        database.nodes.tag("st-mary", add=["eu"])
        database.nodes.revoke("st-mary")
    told = [(each.author, each.action) for each in read_audit(LabDir(place.lab))]
    assert told == [
        ("Ada", "token_create"),
        ("Ada", "token_revoke"),
        ("Ada", "enrolment_create"),
        ("node st-mary", "node_enrol"),
        ("Ada", "node_tag"),
        ("Ada", "node_revoke"),
    ]


def test_what_cannot_be_written_down_is_not_done(
    place: HubPlace, database: HubDatabase
) -> None:
    """Without a log nobody is let in: the change is taken back."""
    (place.lab / "audit.jsonl").mkdir()
    with pytest.raises(StoreNotWritableError):
        database.tokens.create(role="admin", person="Ada")
    assert database.tokens.list() == []


def test_a_full_disk_keeps_nobody_out(database: HubDatabase) -> None:
    """When a token was used last is not worth a refusal: people must look just then."""
    _, token = database.tokens.create(role="admin", person="Ada")

    with database.connections.reading() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")  # as on a full disk
    shown = database.tokens.check(token)
    assert shown is not None
    assert shown.person == "Ada"


def test_who_hangs_over_the_database_keeps_nobody_out(
    place: HubPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first waits for a while, to note that the token is used; once."""
    monkeypatch.setattr(database_core, "_PATIENCE_S", 0.1)
    with HubDatabase(place, create=True) as database:
        _, token = database.tokens.create(role="viewer", person="Ada")
        tried = list[None]()
        writing = database.connections.writing

        def counted() -> AbstractContextManager[Connection]:
            tried.append(None)
            return writing()

        monkeypatch.setattr(database.connections, "writing", counted)
        with closing(sqlite3.connect(place.database_file)) as other:
            other.execute("BEGIN IMMEDIATE")
            found = [database.tokens.check(token) for _ in range(3)]
            other.rollback()
        assert [each.person if each else "" for each in found] == ["Ada"] * 3
        assert len(tried) == 1


def test_a_full_disk_changes_nothing_and_says_so(database: HubDatabase) -> None:
    """A database that cannot grow refuses, with a fix, and stays as it was."""
    enrolled(database, "st-mary")

    def fill(_connection: object) -> None:
        for number in range(2, 500):
            record, secret = database.enrolments.create(f"n{number}", expires_s=SOON_S)
            database.enrolments.redeem(record.id, secret.text, device(number))

    with database.connections.reading() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreNotWritableError, match="full"):
        fill(None)
    assert database.nodes.named("st-mary").status == "enrolled"


@pytest.mark.parametrize("damage", ["garbage", "zeros", "newer", "missing", "again"])
def test_a_damaged_database_is_refused_with_a_fix(place: HubPlace, damage: str) -> None:
    """No file, a file of something else, of a newer version, or a second one: a code."""
    HubDatabase(place, create=True).close()
    file = place.database_file
    if damage == "garbage":
        file.write_bytes(b"not a database " * 999)
    elif damage == "zeros":
        content = bytearray(file.read_bytes())
        content[4096:12288] = bytes(8192)
        file.write_bytes(content)
    elif damage == "newer":
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif damage == "missing":
        file.unlink()
    with pytest.raises(HubStateError) as raised:
        HubDatabase(place, create=damage == "again")
    assert str(file) in raised.value.what
    assert raised.value.fix


def test_two_processes_share_one_database(place: HubPlace, database: HubDatabase) -> None:
    """What is done at the hub's directory is seen by a hub that is up."""
    before = database.nodes.changes()
    with HubDatabase(place) as other:
        enrolled(other, "st-mary")
    assert database.nodes.changes() == before + 1
    assert database.nodes.named("st-mary").node_id == 1


def test_errors_are_coded(database: HubDatabase) -> None:
    """An error while others write is one of ours, and leaves the database usable."""
    with pytest.raises(FlipLabError):
        database.enrolments.withdraw("nobody")
    with ThreadPoolExecutor(8) as threads:
        done = threads.map(
            lambda n: database.tokens.create(role="viewer", person=f"p{n}"), range(16)
        )
        assert len({record.id for record, _ in done}) == 16
    assert len(database.tokens.list()) == 16
