"""Making a hub and looking after it: whole or not at all, with its secrets kept."""

from __future__ import annotations

import configparser
import errno
import json
import ssl
import stat
import zipfile
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from flip_lab.cli.main import app
from flip_lab.core import clock
from flip_lab.core.errors import (
    BackupError,
    DamagedBackupError,
    EnrolmentError,
    HubStateError,
    InvalidValueError,
)
from flip_lab.hub import authority, preparing, rotation
from flip_lab.hub.backup import backup_hub, restore_hub
from flip_lab.hub.certificates import permitted_hosts
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.enrolment import enrol, make_enrolment
from flip_lab.hub.kits import kit_of
from flip_lab.hub.names import checked_hosts, checked_node, checked_person, checked_tags
from flip_lab.hub.place import HubPlace, open_hub
from flip_lab.hub.preparing import prepare_hub
from flip_lab.hub.status import status_of
from flip_lab.hub.unit import unit_of_hub
from flip_lab.hub.wishes import EnrolmentWish
from flip_lab.node.config import load_node
from flip_lab.node.identity import new_identity
from flip_lab.node.messages import EnrolAsk
from flip_lab.node.versions import versions_here
from flip_lab.runs import care
from flip_lab.store.audit import read_audit
from flip_lab.store.layout import LabDir

HERE = ["localhost", "127.0.0.1", "::1"]
PRIVATE = {"ca.key", "server.key", "superexec.secret", "signing.key", "hub.db"}


@pytest.fixture
def place(tmp_path: Path) -> HubPlace:
    """Give a hub."""
    return prepare_hub(tmp_path / "hub", hosts=["hub.test", "10.0.0.5"]).place


def handshake(place: HubPlace, trusted: bytes, host: str) -> str:
    """Connect to what a hub would show; give what the client has against it."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(place.server_certificate, place.server_key)
    client = ssl.create_default_context(cadata=trusted.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
    return ""


def run(*words: object, code: int = 0, text: str = "") -> str:
    """Run ``flip-lab``; give what it prints."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=text)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_new_hub_keeps_its_secrets(place: HubPlace) -> None:
    """Private files are for their owner alone; the directory, too."""
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
    for name in PRIVATE:
        assert stat.S_IMODE((place.path / name).stat().st_mode) == 0o600, name
    assert place.settings().address == "hub.test:8443"
    assert len(place.superexec_secret.read_bytes()) == 32


def test_the_first_admin_gets_in_and_is_on_record(tmp_path: Path) -> None:
    """The token that is shown once opens the hub as an admin."""
    made = prepare_hub(tmp_path / "hub", hosts=["hub.test"], admin="Ada")
    with HubDatabase(made.place) as database:
        found = database.tokens.check(made.token)
    assert found is not None
    assert (found.role, found.person, found.expires_s) == ("admin", "Ada", None)
    actions = [each.action for each in read_audit(LabDir(made.place.lab))]
    assert actions == ["hub_init", "token_create"]


@pytest.mark.parametrize("kind", ["file", "full", "link"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    """A place that holds anything is refused, and stays as it is."""
    target = tmp_path / "hub"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
        (target / "mine").touch()
    with pytest.raises(HubStateError, match="holds something"):
        prepare_hub(target, hosts=["hub.test"])
    assert [each.name for each in tmp_path.iterdir()] == ["hub"]


def test_an_init_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle: a coded error, and no half of a hub."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(preparing, "HubDatabase", full)
    with pytest.raises(HubStateError, match="No space left"):
        prepare_hub(tmp_path / "hub", hosts=["hub.test"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wish",
    [
        {"hosts": []},
        {"hosts": ["https://hub.test"]},
        {"hosts": ["hub.test:8443"]},
        {"hosts": ["hub test"]},
        {"hosts": ["10.0.0"]},
        {"hosts": ["10.0.0.256"]},
        {"hosts": ["x" * 300]},
        {"hosts": ["hub.test"], "port": 0},
        {"hosts": ["hub.test"], "port": 70000},
        {"hosts": ["hub.test"], "name": "../hub"},
        {"hosts": ["hub.test"], "admin": "a\nb"},
        {"hosts": ["hub.test"], "admin": "node x"},
    ],
)
def test_bad_names_are_refused_with_a_fix(tmp_path: Path, wish: dict[str, object]) -> None:
    """No host, no port, no name, or one that cannot be: refused before anything is made."""
    with pytest.raises(InvalidValueError) as raised:
        prepare_hub(tmp_path / "hub", **wish)  # pyright: ignore[reportArgumentType]  # it is wrong on purpose
    assert raised.value.fix
    assert list(tmp_path.iterdir()) == []


def test_names_that_can_be() -> None:
    """Hosts are told apart whatever their case; tags are a sorted set."""
    assert checked_hosts(["HUB.test", "hub.test", "[::1]"]) == ("hub.test", "::1")
    assert checked_tags([" b", "a", "a", "ward:3", "_x.y-z"]) == [
        "_x.y-z",
        "a",
        "b",
        "ward:3",
    ]
    assert checked_node("st-mary-1") == "st-mary-1"
    assert checked_person(" Ada Lovelace ") == "Ada Lovelace"


@pytest.mark.parametrize(
    "tag", ["", "a b", "and", "NOT", "(eu)", "é", "-x", "x" * 64, "a,b"]
)
def test_odd_tags_are_refused(tag: str) -> None:
    """A tag that a choice of nodes could not be written with."""
    with pytest.raises(InvalidValueError, match="cannot be a tag"):
        checked_tags([tag])


@pytest.mark.parametrize(
    "content", ["", "format = 1", "not toml [", 'format = "x"', "format = 99", "\xff"]
)
def test_a_damaged_hub_toml_is_refused(place: HubPlace, content: str) -> None:
    """Whatever is wrong with the settings is a code that names the file or the format."""
    place.settings_file.write_bytes(content.encode("latin-1"))
    with pytest.raises(HubStateError) as raised:
        open_hub(place.path)
    assert raised.value.fix


def test_the_certificate_speaks_for_the_hub_alone(place: HubPlace) -> None:
    """Its hosts are trusted, others are not; the authority may speak for no others."""
    trusted = place.authorities.read_bytes()
    for host in ("hub.test", "10.0.0.5", *HERE):
        assert handshake(place, trusted, host) == "", host
    assert "mismatch" in handshake(place, trusted, "bank.example")
    ca = x509.load_pem_x509_certificate(trusted)
    assert set(permitted_hosts(ca)) == {"hub.test", "10.0.0.5", *HERE}


def test_a_new_server_certificate_needs_nothing_of_nodes(place: HubPlace) -> None:
    """Renewed under the same authority: another certificate, trusted as before."""
    trusted, before = place.authorities.read_bytes(), place.server_certificate.read_bytes()
    rotation.renew(place)
    assert place.server_certificate.read_bytes() != before
    assert place.authorities.read_bytes() == trusted
    assert handshake(place, trusted, "hub.test") == ""


def test_a_host_that_the_authority_may_not_speak_for(place: HubPlace) -> None:
    """A new host needs a new authority; the refusal changes nothing."""
    before = place.server_certificate.read_bytes()
    with pytest.raises(HubStateError, match=r"other\.test") as raised:
        rotation.renew(place, hosts=["other.test"])
    assert "--ca --host other.test" in raised.value.fix
    assert place.server_certificate.read_bytes() == before
    assert place.settings().hosts == ("hub.test", "10.0.0.5")


def test_one_authority_follows_another(place: HubPlace) -> None:
    """Meanwhile a node that knows either trusts the hub; then only the new one counts."""
    old = place.authorities.read_bytes()
    rotation.begin(place, hosts=["other.test"])
    both = place.authorities.read_bytes()
    assert handshake(place, old, "hub.test") == ""
    assert handshake(place, both, "hub.test") == ""
    with pytest.raises(HubStateError, match="still changing over"):
        rotation.begin(place)
    with HubDatabase(place) as database:
        assert rotation.certificates_of(place, database).is_changing_over
        rotation.finish(place, database)
        with pytest.raises(HubStateError, match="one authority only"):
            rotation.finish(place, database)
    new = place.authorities.read_bytes()
    assert handshake(place, new, "other.test") == ""
    assert handshake(place, new, "hub.test") == ""
    assert handshake(place, old, "hub.test") != ""


def test_nobody_is_left_behind_by_accident(place: HubPlace) -> None:
    """While a node has not fetched the new authority the old one stays, unless forced."""
    with HubDatabase(place) as database:
        record, secret = database.enrolments.create("st-mary", expires_s=9e9)
        device = Device(public_key="pem", fingerprint="f" * 64, node_id=1)
        database.enrolments.redeem(record.id, secret.text, device)
        rotation.begin(place)
        with pytest.raises(HubStateError, match="st-mary"):
            rotation.finish(place, database)
        bundle = rotation.certificates_of(place, database).bundle
        database.nodes.seen("f" * 64, {"bundle": bundle})
        assert rotation.certificates_of(place, database).behind == ()
        database.nodes.seen("f" * 64, {"bundle": "old"})
        rotation.finish(place, database, force=True)


def test_a_change_that_was_cut_short_is_passed_over(
    place: HubPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the new key was written: the old authority goes on, or begins anew."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    old = place.authorities.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(rotation, "replace_private", killed)
        with pytest.raises(KeyboardInterrupt):
            rotation.begin(place)
    assert len(x509.load_pem_x509_certificates(place.authorities.read_bytes())) == 2
    rotation.renew(place)
    assert handshake(place, old, "hub.test") == ""
    rotation.begin(place)
    assert len(x509.load_pem_x509_certificates(place.authorities.read_bytes())) == 2
    assert handshake(place, old, "hub.test") == ""


def test_a_hub_renews_what_is_due_or_half_made(
    place: HubPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In good time nothing is done; near its end, or with another key, it is renewed."""
    assert not rotation.renew_if_due(place)
    later_s = clock.now_s() + timedelta(days=380).total_seconds()
    with monkeypatch.context() as patched:
        for module in (rotation, authority):
            patched.setattr(module, "now_s", lambda: later_s)
        assert rotation.renew_if_due(place)
        assert not rotation.renew_if_due(place)
    place.server_key.write_bytes(place.authority_key.read_bytes())
    assert rotation.renew_if_due(place)
    assert handshake(place, place.authorities.read_bytes(), "hub.test") == ""


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "server.crt", "server.key"])
def test_damaged_keys_and_certificates_are_told(place: HubPlace, name: str) -> None:
    """A file that is garbage, or gone, is a coded error with a way out."""
    for spoil in (lambda p: p.write_text("garbage"), Path.unlink):
        spoil(place.path / name)
        with pytest.raises(HubStateError, match=r"backup|restore"):
            _ = rotation.renew_if_due(place) or rotation.begin(place)


def test_a_kit_has_all_but_a_key(place: HubPlace, tmp_path: Path) -> None:
    """The site's settings load, the token is for its owner, and no private key is in it."""
    wish = EnrolmentWish(name="st-mary", tags=["eu"], config={"partition-id": 1})
    with HubDatabase(place) as database:
        made = make_enrolment(place, database, wish)
    kit_of(made).write_to(tmp_path / "kit")
    config = load_node(tmp_path / "kit")
    assert (config.name, config.hub) == ("st-mary", "hub.test:8443")
    assert dict(config.config) == {"partition-id": 1}
    token = tmp_path / "kit" / "enrolment.token"
    assert token.read_text().strip() == made.token
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    kit_of(made).write_to(tmp_path / "kit.zip")
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        mode = archive.getinfo("st-mary/enrolment.token").external_attr >> 16
    assert names == {path.name for path in (tmp_path / "kit").iterdir()}
    assert stat.S_IMODE(mode) == 0o600
    assert not any("PRIVATE" in p.read_text() for p in (tmp_path / "kit").iterdir())
    for taken in ("kit", "kit.zip"):
        with pytest.raises(HubStateError, match="holds something"):
            kit_of(made).write_to(tmp_path / taken)


@pytest.mark.parametrize("name", ["../st-mary", "a\nb", "$(reboot)"])
def test_a_hub_elsewhere_gives_a_kit_no_odd_name(
    place: HubPlace, tmp_path: Path, name: str
) -> None:
    """It would become part of paths, of a unit, and of what shells are given."""
    with HubDatabase(place) as database:
        made = make_enrolment(place, database, EnrolmentWish(name="st-mary"))
    with pytest.raises(InvalidValueError, match="node's name"):
        kit_of(made.model_copy(update={"name": name})).write_to(tmp_path / "kit.zip")
    assert not (tmp_path / "kit.zip").exists()


def test_a_damaged_hub_spends_no_token(place: HubPlace) -> None:
    """What the answer is made of cannot be read: the device may try again later."""
    with HubDatabase(place) as database:
        made = make_enrolment(place, database, EnrolmentWish(name="st-mary"))
        asked = EnrolAsk(
            token=made.token,
            public_key=new_identity().public_key,
            **asdict(versions_here()),
        )
        hidden = place.signing_public.rename(place.path / "away")
        with pytest.raises(HubStateError, match="cannot be read"):
            enrol(place, database, asked)
        hidden.rename(place.signing_public)
        assert enrol(place, database, asked).name == "st-mary"


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "St Mary"},
        {"name": "st-mary", "tags": ["a b"]},
        {"name": "st-mary", "config": {"partition-id": -1}},
        {"name": "st-mary", "config": {"partition-id": "zero"}},
        {"name": "st-mary", "config": {"partition id": 1}},
        {"name": "st-mary", "config": {"x": "y" * 2000}},
        {"name": "st-mary", "config": {"x": "a\nb"}},
        {"name": "st-mary", "config": {"x": float("inf")}},
        {"name": "st-mary", "config": {"x": 2**63}},
        {"name": "st-mary", "lifetime_s": 0},
        {"name": "st-mary", "lifetime_s": 1e12},
    ],
)
def test_bad_wishes_make_no_enrolment(place: HubPlace, wish: dict[str, object]) -> None:
    """A name, tag, setting or time that cannot be: coded, and nothing is made."""
    with HubDatabase(place) as database:
        with pytest.raises(InvalidValueError):
            make_enrolment(place, database, EnrolmentWish.model_validate(wish))
        assert database.enrolments.list() == []


def test_a_backup_is_the_same_hub(place: HubPlace, tmp_path: Path) -> None:
    """Keys, nodes and tokens come back as they were, and private files stay private."""
    with HubDatabase(place) as database:
        record, token = database.tokens.create(role="viewer", person="Ben")
        done = backup_hub(place, tmp_path / "backups")
        database.tokens.revoke(record.id)  # after the copy
    for part in ("", "lab", "hub"):  # models of the lab are for nobody else, either
        mode = (tmp_path / "backups" / part).stat().st_mode
        assert stat.S_IMODE(mode) == 0o700, part
    for file in done.path.iterdir():
        if file.name in PRIVATE:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    restored = restore_hub(tmp_path / "backups", tmp_path / "again")
    for name in PRIVATE - {"hub.db"} | {"ca.crt", "server.crt", "hub.toml"}:
        assert (restored.path / name).read_bytes() == (place.path / name).read_bytes()
        mode = (place.path / name).stat().st_mode
        assert (restored.path / name).stat().st_mode == mode
    with HubDatabase(restored) as database:
        assert database.tokens.check(token) is not None
    told = [each.action for each in read_audit(LabDir(restored.lab))]
    assert told[-1] == "hub_restore"
    assert "hub_backup" in [each.action for each in read_audit(LabDir(place.lab))]


def test_the_database_of_a_backup_is_no_newer_than_its_lab(
    place: HubPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that came in between would name a file that the backup does not have."""
    backup_lab = care.backup_lab

    def meanwhile(lab: LabDir, destination: Path) -> care.Backup:
        done = backup_lab(lab, destination)
        with HubDatabase(place) as database:
            database.tokens.create(role="viewer", person="late")
        return done

    monkeypatch.setattr(care, "backup_lab", meanwhile)
    backup_hub(place, tmp_path / "backups")
    with HubDatabase(restore_hub(tmp_path / "backups", tmp_path / "again")) as database:
        assert "late" not in {token.person for token in database.tokens.list()}


def test_a_damaged_backup_is_not_restored(place: HubPlace, tmp_path: Path) -> None:
    """A byte that is not what was copied: refused, and nothing is left behind."""
    done = backup_hub(place, tmp_path / "backups")
    (done.path / "ca.key").write_text("another key")
    with pytest.raises(DamagedBackupError, match=r"ca\.key"):
        restore_hub(tmp_path / "backups", tmp_path / "again")
    (done.path / "backup.json").write_text("{}")
    with pytest.raises(DamagedBackupError, match=r"backup\.json"):
        restore_hub(tmp_path / "backups", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    with pytest.raises(BackupError):
        restore_hub(tmp_path / "nothing", tmp_path / "again")
    with pytest.raises(BackupError):
        restore_hub(tmp_path / "backups", tmp_path / "again", snapshot="never")
    with pytest.raises(HubStateError):
        restore_hub(tmp_path / "backups", place.path)


def test_a_backup_of_another_hub_is_not_mixed_in(place: HubPlace, tmp_path: Path) -> None:
    """Each hub has backups of its own."""
    backup_hub(place, tmp_path / "backups")
    other = prepare_hub(tmp_path / "other", hosts=["hub.test"]).place
    with pytest.raises(BackupError, match="another hub"):
        backup_hub(other, tmp_path / "backups")


def test_the_status_counts(place: HubPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes, enrolments and tokens are counted; what needs attention is said."""
    told = status_of(place)
    assert (told.num_enrolled, told.num_tokens, told.is_active) == (0, 1, False)
    assert told.warnings == ()
    later_s = clock.now_s() + timedelta(days=380).total_seconds()
    monkeypatch.setattr("flip_lab.hub.status.now_s", lambda: later_s)
    assert "certificate ends" in status_of(place).warnings[0]


def test_the_unit_ends_the_hub_and_no_run(place: HubPlace) -> None:
    """Detached runs are in the service's group: an update of the hub must spare them."""
    result = CliRunner().invoke(app, ["hub", "unit", str(place.path), "--user", "ward"])
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]  # documented so
    unit.read_string(result.stdout)
    service = unit["Service"]
    assert service["ExecStart"].endswith(f"flip-lab hub up {place.path}")
    assert (service["User"], service["ReadWritePaths"]) == ("ward", str(place.path))
    assert service["KillMode"] == "process"
    assert "PrivateTmp" not in service  # it goes with the service, and runs still use it
    assert "AmbientCapabilities" not in service
    place.write_settings(replace(place.settings(), port=443))
    assert "CAP_NET_BIND_SERVICE" in unit_of_hub(place)


def test_the_commands_work_at_the_hubs_directory(tmp_path: Path) -> None:
    """From init to revoke, with JSON for programs; only ``create`` shows a token."""
    made = json.loads(run("hub", "init", tmp_path / "h", "--host", "hub.test", "--json"))
    here = ("--directory", tmp_path / "h", "--json")
    created = json.loads(run("hub", "token", "create", "Ada", "--role", "viewer", *here))
    shown = json.loads(run("hub", "token", "list", *here))["tokens"]
    assert [each["role"] for each in shown] == ["admin", "viewer"]
    assert all("token" not in each for each in shown)
    run("hub", "token", "revoke", created["id"], *here)
    run("hub", "kit", "st-mary", "--to", tmp_path / "k", "--tags", "eu,gpu", *here)
    rows = json.loads(run("hub", "enrolments", *here))["enrolments"]
    assert [(row["name"], row["state"], row["tags"]) for row in rows] == [
        ("st-mary", "open", ["eu", "gpu"])
    ]
    run("hub", "enrolments", "--withdraw", rows[0]["id"], *here)
    again = (
        "hub",
        "enrol-token",
        "st-mary",
        "--expires",
        "30m",
        "--config",
        "partition-id=3",
    )
    assert json.loads(run(*again, *here))["config"] == {"partition-id": 3}
    assert json.loads(run("hub", "node", "list", *here))["nodes"] == []
    told = json.loads(run("hub", "status", tmp_path / "h", "--json"))
    assert (told["num_tokens"], told["num_open_enrolments"]) == (1, 1)
    assert made["token"] not in run("hub", "token", "list", *here[:2])


def test_a_token_can_go_to_a_file(place: HubPlace, tmp_path: Path) -> None:
    """``--to`` writes it for its owner alone, prints it nowhere, writes nothing over."""
    words = ("hub", "token", "create", "Ada", "-d", place.path, "--to", tmp_path / "t")
    assert "flip_" not in run(*words)
    assert stat.S_IMODE((tmp_path / "t").stat().st_mode) == 0o600
    before = (tmp_path / "t").read_text()
    run(*words, code=1)
    assert (tmp_path / "t").read_text() == before
    with HubDatabase(place) as database:
        assert len(database.tokens.list()) == 2  # none was made for a file that is taken


@pytest.mark.parametrize(
    "words",
    [
        ["hub", "token", "create", "Ada", "--role", "king"],
        ["hub", "token", "create", "A" * 300],
        ["hub", "token", "create", "Ada", "--expires", "soon"],
        ["hub", "token", "revoke", "nobody"],
        ["hub", "node", "tag", "nobody", "eu"],
        ["hub", "node", "revoke", "nobody"],
        ["hub", "enrol-token", "Nobody"],
        ["hub", "enrol-token", "st-mary", "--config", "nonsense"],
        ["hub", "enrol-token", "st-mary", "--config", "a=[1]"],
        ["hub", "enrol-token", "st-mary", "--expires", "never"],
        ["hub", "node", "list", "--token-file", "x"],
        ["hub", "node", "list", "--hub", "hub.test:8443"],
    ],
)
def test_wrong_words_are_answered(
    place: HubPlace, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Each mistake ends with an exit status and words, never with a traceback."""
    monkeypatch.delenv("FLIP_LAB_TOKEN", raising=False)
    monkeypatch.chdir(place.path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code in {1, 2}
    assert isinstance(result.exception, SystemExit)
    with HubDatabase(place) as database:
        assert len(database.tokens.list()) == 1
        assert database.enrolments.list() == []


def test_a_place_that_is_no_hub_is_told(tmp_path: Path) -> None:
    """Every command that needs a hub says that this is none."""
    (tmp_path / "x").mkdir()
    for words in (["status"], ["rotate-certs"], ["up"], ["backup"]):
        more = [tmp_path / "b"] if words == ["backup"] else []
        result = CliRunner().invoke(
            app, ["hub", *words, str(tmp_path / "x"), *map(str, more)]
        )
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)


def test_an_enrolment_error_is_coded_in_json(place: HubPlace) -> None:
    """For programs: the code, what happened and what to do."""
    here = ("-d", place.path, "--json")
    run("hub", "enrol-token", "st-mary", *here)
    error = json.loads(run("hub", "enrol-token", "st-mary", *here, code=1))["error"]
    assert error["code"] == EnrolmentError.code
    assert "--replace" in error["fix"]
    run("hub", "enrol-token", "st-mary", "--replace", *here)
