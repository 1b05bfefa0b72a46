"""Uploads: whole and what they say, or not at all; they go on where they stopped."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
import zipfile
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.api.app import create_app
from flip_lab.api.limits import Limits
from flip_lab.api.uploads import arriving, kept
from flip_lab.api.uploads.kept import Uploads
from flip_lab.api.uploads.record import LIFETIME_S, UPLOAD_ID
from flip_lab.api.uploads.use import app_of_upload, model_of_upload
from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    NoSuchPlaceError,
    StoreNotWritableError,
    TooManyError,
    UploadError,
)
from flip_lab.core.scenario import Scenario
from flip_lab.fl.scenarios import load_scenario, scenario_to_toml
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir, names_in, open_lab

if TYPE_CHECKING:
    from fastapi import FastAPI
    from httpx import Response
    from starlette.testclient import TestClient

APP = Path(__file__).parents[2] / "apps" / "numpy"
PIECE = "application/offset+octet-stream"
CSV = b"age,sex\n63,1\n\n41,0\n"
MODEL = safetensors.numpy.save({"w": np.arange(100.0)})


def zipped_app(prefix: str = "") -> bytes:
    """Pack the app of the tests."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(APP.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, f"{prefix}{path.relative_to(APP)}")
    return buffer.getvalue()


def parquet() -> bytes:
    """Give a table as Parquet."""
    buffer = io.BytesIO()
    pd.DataFrame({"age": [63, 41]}).to_parquet(buffer)
    return buffer.getvalue()


def metadata(**values: str) -> str:
    """Write ``Upload-Metadata``."""
    told = (f"{name} {b64encode(text.encode()).decode()}" for name, text in values.items())
    return ",".join(told)


def begin(
    client: TestClient, name: str, length: int, *, expect: int = 201, **more: str
) -> str:
    """Begin an upload; give where it is."""
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(length),
        "Upload-Metadata": metadata(filename=name, **more),
    }
    answer = client.post("uploads", headers=headers)
    assert answer.status_code == expect, answer.text
    return answer.headers.get("location", answer.text)


def send(
    client: TestClient, where: str, content: bytes, offset: int = 0, **more: str
) -> Response:
    """Send a piece."""
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": PIECE,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return client.patch(where, content=content, headers=headers)


def uploaded(client: TestClient, name: str, content: bytes, **more: str) -> str:
    """Upload a file in one piece; give its id."""
    where = begin(client, name, len(content), expect=201, **more)
    answer = send(client, where, content)
    assert answer.status_code == 204, answer.text
    return where.partition("/")[2]


def offset_of(client: TestClient, where: str) -> int:
    """Ask how much has arrived."""
    answer = client.head(where, headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def left(lab: LabDir) -> list[str]:
    """Give what lies in the directory of uploads."""
    return sorted(names_in(lab.root / "uploads"))


GOOD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "app": ("app.zip", zipped_app),
    "packed app": ("app.fab", zipped_app),
    "app one down": ("app.zip", lambda: zipped_app("numpy-main/")),
    "scenario": ("s.toml", lambda: scenario_to_toml(load_scenario("hospitals")).encode()),
    "model": ("m.safetensors", lambda: MODEL),
    "csv": ("d.csv", lambda: CSV),
    "csv of one column": ("d.CSV", lambda: b"age\n1\n2\n"),
    "csv with semicolons": ("d.csv", lambda: b"\xef\xbb\xbfa;b\n1;2\n"),
    "parquet": ("d.parquet", parquet),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_what_it_says_is_taken(client: TestClient, case: str) -> None:
    """With its hash, its length and when it goes."""
    name, content = GOOD[case][0], GOOD[case][1]()
    told = sha256(content).hexdigest()
    shown = client.get(f"uploads/{uploaded(client, name, content, sha256=told)}").json()
    assert (shown["name"], shown["is_whole"], shown["sha256"]) == (name, True, told)
    assert shown["size_bytes"] == shown["offset"] == len(content)
    assert shown["kind"] in {"app", "scenario", "model", "data"}
    assert shown["expires_at"] > shown["created_at"]


def with_project(project: bytes) -> bytes:
    """Pack a pyproject.toml and nothing else."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pyproject.toml", project)
    return buffer.getvalue()


BAD: dict[str, tuple[str, bytes, str]] = {
    "no TOML in an app": ("app.zip", with_project(b"x = "), "FLIP-201"),
    "deep TOML in an app": ("app.zip", with_project(b"x = " + b"[" * 9999), "FLIP-201"),
    "long TOML in an app": ("app.zip", with_project(b"#12\n" * 2**19), "FLIP-711"),
    "a program as an app": ("app.zip", b"\x7fELF" + b"\0" * 500, "FLIP-711"),
    "an archive without an app": ("app.zip", b"PK\x05\x06" + b"\0" * 18, "FLIP-201"),
    "a pickle as a model": ("m.safetensors", b"\x80\x04\x95", "FLIP-711"),
    "a short model": ("m.safetensors", MODEL[:-1], "FLIP-711"),
    "a picture as a table": ("d.csv", b"\x89PNG\r\n\x1a\n\0\0", "FLIP-711"),
    "text with zeros as a table": ("d.csv", b"a,b\n1,\0\n", "FLIP-711"),
    "a table in one line": ("d.csv", b"1," * 2**22, "FLIP-711"),
    "rows of several widths": ("d.csv", b"a,b\n1,2\n1,2,3\n", "FLIP-711"),
    "an empty table": ("d.csv", b"\n\n", "FLIP-711"),
    "Parquet's name only": ("d.parquet", b"PAR1 and nothing", "FLIP-711"),
    "no text as a scenario": ("s.toml", b"\xff\xfe", "FLIP-711"),
    "a long text as a scenario": ("s.toml", b"#" * (2**20 + 1), "FLIP-711"),
    "no TOML": ("s.toml", b"name = ", "FLIP-100"),
    "a scenario of nonsense": ("s.toml", b"name = 'x'\nnonsense = 1\n", "FLIP-1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_something_else_is_refused_and_removed(
    client: TestClient, lab_dir: LabDir, case: str
) -> None:
    """The answer to its last piece says why."""
    name, content, code = BAD[case]
    where = begin(client, name, len(content))
    answer = send(client, where, content)
    assert answer.json()["code"].startswith(code)
    assert answer.status_code in {415, 422}
    assert client.head(where).status_code == 404
    assert left(lab_dir) == []


@pytest.mark.parametrize(
    "name", ["x.exe", "noending", "../x.zip", "a/x.zip", "a\\x.zip", "x\n.zip", "", ".."]
)
def test_names_that_are_not_taken(client: TestClient, lab_dir: LabDir, name: str) -> None:
    """Before a byte is sent, and nothing is made."""
    assert "FLIP-711" in begin(client, name, 10, expect=415)
    assert not (lab_dir.root / "uploads").exists()


def test_the_kind_may_be_said(client: TestClient) -> None:
    """Then the ending does not count; one that does not exist is refused."""
    uploaded(client, "weights.bin", MODEL, kind="model")
    assert "Did you mean 'model'" in begin(client, "x", 1, kind="modle", expect=415)


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Upload-Length", "0", 422),
        ("Upload-Length", "-1", 422),
        ("Upload-Length", "many", 422),
        ("Upload-Length", str(2**31), 413),
        ("Upload-Metadata", "filename !", 422),
        ("Upload-Metadata", "filename //8=", 422),
        ("Upload-Metadata", metadata(filename="x.csv", sha256="short"), 409),
        ("Tus-Resumable", "0.2.2", 412),
    ],
)
def test_a_beginning_that_will_not_do(
    client: TestClient, header: str, value: str, status: int
) -> None:
    """Each with a problem, and nothing begun."""
    headers = {"Upload-Length": "5", "Upload-Metadata": metadata(filename="x.csv")}
    answer = client.post("uploads", headers={**headers, header: value})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert status != 412 or answer.headers["tus-version"] == "1.0.0"


def test_what_is_understood_is_told(client: TestClient) -> None:
    """Version, extensions and the largest file."""
    told = client.options("uploads").headers
    assert told["tus-version"] == "1.0.0"
    assert {*told["tus-extension"].split(",")} == {
        "creation",
        "checksum",
        "termination",
        "expiration",
    }
    assert int(told["tus-max-size"]) == 2**30


def test_the_largest_file_can_be_set(lab_dir: LabDir, ask: Any, app: FastAPI) -> None:  # noqa: ANN401  # a fixture
    """By whoever makes the app."""
    access = app.state.service.access
    small = create_app(Lab(lab_dir.root), access, limits=Limits(file_bytes=100))
    client = ask("ada", small)
    assert "FLIP-707" in begin(client, "x.csv", 101, expect=413)
    begin(client, "x.csv", 100)
    assert client.options("uploads").headers["tus-max-size"] == "100"


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("guest", 403)])
def test_who_may_upload(ask: Any, who: str | None, status: int) -> None:  # noqa: ANN401  # a fixture
    """Whoever may write; a stranger's bytes are not even looked at."""
    where = begin(ask(), "x.csv", len(CSV))
    other = ask(who)
    assert "FLIP-70" in begin(other, "x.csv", 5, expect=status)
    assert send(other, where, CSV).status_code == status
    assert other.delete(where).status_code == status
    assert offset_of(ask(), where) == 0


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 100), max_size=8))
def test_cut_anywhere_the_bytes_are_the_same(content: bytes, cuts: list[int]) -> None:
    """Whatever the pieces are, also when each is sent twice."""
    with TemporaryDirectory() as folder:
        uploads = Uploads(open_lab(folder))
        upload = uploads.create("x.csv", len(content))
        at = 0
        for cut in [*cuts, len(content)]:
            piece = content[at : at + cut]
            append(uploads, upload.id, at, piece)
            append(uploads, upload.id, at, piece)
            at += len(piece)
            assert uploads.find(upload.id).offset == at
        assert upload.data.read_bytes() == content


def append(uploads: Uploads, upload_id: str, at: int, content: bytes) -> None:
    """Append a piece if it belongs there."""
    with suppress(UploadError), uploads.appending(upload_id, at) as piece:
        piece.write(content)


def test_a_piece_at_another_place_is_refused(client: TestClient) -> None:
    """And the answer says where to go on."""
    where = begin(client, "d.csv", len(CSV))
    assert send(client, where, CSV[:5]).headers["upload-offset"] == "5"
    for offset in (0, 4, 6):
        answer = send(client, where, CSV[offset:], offset)
        assert (answer.status_code, answer.json()["code"]) == (409, "FLIP-710")
        assert "goes on at 5" in answer.json()["detail"]
    assert offset_of(client, where) == 5
    assert send(client, where, CSV[5:], 5).status_code == 204


def test_more_than_was_announced_is_refused(client: TestClient) -> None:
    """What came too much is not kept."""
    where = begin(client, "d.csv", 5)
    assert send(client, where, b"a,b\n1,2\n").status_code == 413
    assert offset_of(client, where) == 0


def test_a_piece_that_was_changed_on_the_way_is_not_kept(client: TestClient) -> None:
    """Status 460, as the protocol has it; sent again it counts."""
    where = begin(client, "d.csv", len(CSV))
    checksum = f"sha256 {b64encode(sha256(CSV).digest()).decode()}"
    answer = send(client, where, CSV[:-1] + b"x", upload_checksum=checksum)
    assert (answer.status_code, answer.json()["code"]) == (460, "FLIP-710")
    assert answer.json()["status"] == 460
    assert offset_of(client, where) == 0
    assert send(client, where, CSV, upload_checksum=checksum).status_code == 204
    assert client.get(where).json()["is_whole"]


@pytest.mark.parametrize("text", ["md5 aaaa", "sha256", "sha256 !", "sha256 YWJj", ""])
def test_a_checksum_that_is_none_is_refused(client: TestClient, text: str) -> None:
    """Rather than ignored."""
    where = begin(client, "d.csv", len(CSV))
    assert send(client, where, CSV, upload_checksum=text).status_code == 422
    assert offset_of(client, where) == 0


def test_only_bytes_are_appended(client: TestClient) -> None:
    """Another content type is refused, as the protocol has it."""
    where = begin(client, "d.csv", len(CSV))
    answer = client.patch(where, json={}, headers={"Upload-Offset": "0"})
    assert (answer.status_code, answer.json()["code"]) == (415, "FLIP-711")


def test_the_hash_counts_before_the_upload_does(
    client: TestClient, lab_dir: LabDir
) -> None:
    """A file of another hash is removed, however good it looks."""
    where = begin(client, "d.csv", len(CSV), sha256="0" * 64)
    answer = send(client, where, CSV)
    assert (answer.status_code, answer.json()["code"]) == (409, "FLIP-710")
    assert left(lab_dir) == []


def test_what_was_removed_is_gone(client: TestClient, lab_dir: LabDir) -> None:
    """At once, for everybody; again: there is none."""
    where = begin(client, "d.csv", len(CSV))
    assert client.delete(where).status_code == 204
    for answer in (client.delete(where), client.get(where), send(client, where, CSV)):
        assert (answer.status_code, answer.json()["code"]) == (404, "FLIP-709")
    assert left(lab_dir) == []


@pytest.mark.parametrize("upload_id", ["x", "..", "%2e%2e", "0" * 32, "A" * 32, "0" * 199])
def test_ids_that_are_none(client: TestClient, upload_id: str) -> None:
    """They lead nowhere."""
    assert client.get(f"uploads/{upload_id}").status_code == 404


def test_uploads_that_rest_for_a_day_are_swept(client: TestClient, lab_dir: LabDir) -> None:
    """And what kills left; one that goes on stays."""
    old, young = begin(client, "a.csv", 10), begin(client, "b.csv", 10)
    root = lab_dir.root / "uploads"
    for name in (".gone-1", ".draft-1", ".draft-2"):
        (root / name).mkdir()
    then = now_s() - LIFETIME_S - 5
    os.utime(root / old.partition("/")[2] / "data", (then, then))
    os.utime(root / ".draft-1", (then, then))
    assert client.head(old).status_code == 404
    assert send(client, old, b"x").status_code == 404
    Uploads(lab_dir).sweep()
    assert left(lab_dir) == sorted([".draft-2", young.partition("/")[2]])


def test_no_lab_keeps_more_uploads_than_it_should(
    lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until some were used or removed."""
    monkeypatch.setattr(kept, "MOST", 2)
    uploads = Uploads(lab_dir)
    first = uploads.create("a.csv", 1)
    uploads.create("b.csv", 1)
    with pytest.raises(TooManyError):
        uploads.create("c.csv", 1)
    uploads.remove(first.id)
    uploads.create("c.csv", 1)


def test_a_disk_without_room_is_told_at_the_beginning(
    client: TestClient, lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after half a gigabyte."""
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 9**7)
    )
    assert "FLIP-401" in begin(client, "a.csv", 9**7, expect=507)
    assert left(lab_dir) == []


def test_a_disk_that_fills_up_loses_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The piece is refused, its beginning may be kept, and the upload goes on."""
    plain = os.write

    def nearly_full(descriptor: int, content: memoryview) -> int:
        if len(content) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(descriptor, content[:-10])

    where = begin(client, "m.safetensors", len(MODEL))
    monkeypatch.setattr(arriving.os, "write", nearly_full)
    answer = send(client, where, MODEL)
    assert (answer.status_code, answer.json()["code"]) == (507, "FLIP-401")
    monkeypatch.undo()
    at = offset_of(client, where)
    assert at == len(MODEL) - 10
    assert send(client, where, MODEL[at:], at).status_code == 204
    assert client.get(where).json()["sha256"] == sha256(MODEL).hexdigest()


def test_a_disk_too_full_to_unpack_lets_it_be_tried_again(
    client: TestClient, lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive stays, nothing half-unpacked does, and an empty piece tries again."""
    content = zipped_app()
    where = begin(client, "app.zip", len(content))
    plain = Path.mkdir

    def full(path: Path, *more: Any, **options: Any) -> None:  # noqa: ANN401  # as it is
        if path.name == ".app":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(path, *more, **options)

    monkeypatch.setattr(Path, "mkdir", full)
    assert send(client, where, content).status_code == 507
    monkeypatch.undo()
    folder = lab_dir.root / where
    assert sorted(names_in(folder)) == ["data", "upload.json"]
    assert not client.get(where).json()["is_whole"]
    assert send(client, where, b"", len(content)).status_code == 204
    assert client.get(where).json()["is_whole"]


def test_one_at_a_time_appends(client: TestClient, lab_dir: LabDir) -> None:
    """The other one is told to wait, and nothing is mixed."""
    where = begin(client, "d.csv", len(CSV))
    with Uploads(lab_dir).appending(where.partition("/")[2], 0) as piece:
        answer = send(client, where, CSV)
        assert (answer.status_code, answer.json()["code"]) == (409, "FLIP-710")
        piece.write(CSV[:4])
    assert send(client, where, CSV[4:], 4).status_code == 204


def test_many_senders_of_one_file_make_one_file(lab_dir: LabDir) -> None:
    """Each asks where to go on and sends that; the bytes are right in the end."""
    content = os.urandom(40_000)
    uploads = Uploads(lab_dir)
    upload = uploads.create("x.csv", len(content))

    def send_on() -> None:
        while (at := uploads.find(upload.id).offset) < len(content):
            append(uploads, upload.id, at, content[at : at + 1000])

    threads = [threading.Thread(target=send_on) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upload.data.read_bytes() == content


def test_a_server_that_was_killed_before_the_check_checks_later(lab_dir: LabDir) -> None:
    """Whoever asks for the upload first has it checked; a leftover draft goes."""
    content = zipped_app()
    uploads = Uploads(lab_dir)
    upload = uploads.create("app.zip", len(content))
    with uploads.appending(upload.id, 0) as piece:
        piece.write(content)
    (upload.folder / ".app").mkdir()
    (upload.folder / ".app" / "half").touch()
    lab = Lab(lab_dir.root)
    found = app_of_upload(lab, upload.id)
    assert isinstance(found, Path)
    assert {path.name for path in found.iterdir()} >= {"pyproject.toml"}
    assert not (found / "half").exists()
    assert not (upload.folder / ".app").exists()
    assert app_of_upload(lab, upload.id) == found


def test_what_uploads_are_good_for(client: TestClient, lab_dir: LabDir) -> None:
    """An app and a scenario can be launched, a model registered; half of one nothing."""
    lab = Lab(lab_dir.root)
    text = scenario_to_toml(load_scenario("hospitals")).encode()
    scenario = app_of_upload(lab, uploaded(client, "s.toml", text))
    assert isinstance(scenario, Scenario)
    assert scenario == load_scenario("hospitals")
    below = app_of_upload(lab, uploaded(client, "a.zip", zipped_app("numpy-main/")))
    assert isinstance(below, Path)
    assert below.name == "numpy-main"
    model = uploaded(client, "m.safetensors", MODEL)
    path, name = model_of_upload(lab, model)
    assert (path.read_bytes(), name) == (MODEL, "m.safetensors")
    with pytest.raises(UploadError, match="cannot be launched"):
        app_of_upload(lab, model)
    with pytest.raises(UploadError, match="no model"):
        model_of_upload(lab, uploaded(client, "d.csv", CSV))
    half = begin(client, "m.safetensors", len(MODEL)).partition("/")[2]
    with pytest.raises(UploadError, match="0 of"):
        model_of_upload(lab, half)
    with pytest.raises(NoSuchPlaceError):
        app_of_upload(lab, "0" * 32)


def test_an_unreadable_upload_is_no_upload(client: TestClient, lab_dir: LabDir) -> None:
    """One whose record was damaged counts as gone, and goes in time."""
    where = begin(client, "d.csv", 5)
    folder = lab_dir.root / where
    (folder / "upload.json").write_text("{")
    assert client.get(where).status_code == 404
    then = now_s() - LIFETIME_S - 5
    os.utime(folder / "data", (then, then))
    Uploads(lab_dir).sweep()
    assert left(lab_dir) == []


def test_a_directory_that_cannot_be_written_is_told(lab_dir: LabDir) -> None:
    """With the store's own code."""
    (lab_dir.root / "uploads").touch()
    with pytest.raises(StoreNotWritableError):
        Uploads(lab_dir).create("d.csv", 5)


def test_ids_cannot_be_guessed(lab_dir: LabDir) -> None:
    """Each is of 128 random bits."""
    uploads = Uploads(lab_dir)
    ids = {uploads.create("d.csv", 5).id for _ in range(20)}
    assert len(ids) == 20
    assert all(UPLOAD_ID.fullmatch(each) for each in ids)


@pytest.fixture
def strange(client: TestClient) -> Callable[[bytes], Response]:
    """Give a way to upload an archive."""

    def upload(content: bytes) -> Response:
        return send(client, begin(client, "app.zip", len(content)), content)

    return upload


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a\\..\\evil"])
def test_an_archive_that_leads_elsewhere_leaves_nothing(
    strange: Callable[[bytes], Response], lab_dir: LabDir, name: str
) -> None:
    """Through the whole API: FLIP-711, and no file anywhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("pyproject.toml", "x")
        archive.writestr(name, "evil")
    answer = strange(buffer.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (415, "FLIP-711")
    assert left(lab_dir) == []
    assert not [path for path in lab_dir.root.rglob("*") if "evil" in path.name]
