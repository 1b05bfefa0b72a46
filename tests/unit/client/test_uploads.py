"""Files and apps on their way to a lab: packed alike, sent in pieces, gone on with."""

from __future__ import annotations

import hashlib
import io
import zipfile
from base64 import b64decode
from pathlib import Path

import httpx
import pytest

from flip_lab.client import uploads
from flip_lab.client.packing import pack_app
from flip_lab.client.remote_lab import RemoteLab
from flip_lab.core import errors
from flip_lab.testing.desk import Desk, problem

CONTENT = bytes(range(251)) * 1000


class Tus:
    """The other side of an upload; can lose the answer to some pieces, or half of them."""

    def __init__(self, desk: Desk) -> None:
        """Take uploads at the desk."""
        self.arrived = bytearray()
        self.told: dict[str, str] = {}
        self.lost: list[str] = []
        self.pieces: list[int] = []
        desk.tell("POST", "/uploads", self._begin)
        desk.tell("PATCH", "/uploads/u1", self._take)
        desk.tell("HEAD", "/uploads/u1", self._offset)
        desk.tell("GET", "/uploads/u1", self._shown)

    def _begin(self, request: httpx.Request) -> httpx.Response:
        for part in request.headers["upload-metadata"].split(","):
            name, value = part.split(" ")
            self.told[name] = b64decode(value).decode()
        self.told["length"] = request.headers["upload-length"]
        return httpx.Response(201, headers={"Location": "uploads/u1"})

    def _take(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/offset+octet-stream"
        if int(request.headers["upload-offset"]) != len(self.arrived):
            return problem("FLIP-710", 409)
        self.pieces.append(len(request.content))
        how = self.lost.pop(0) if self.lost else "nothing"
        half = len(request.content) // 2
        self.arrived += request.content[:half] if how == "half" else request.content
        if how != "nothing":
            raise httpx.ReadError("gone")
        return httpx.Response(204, headers={"Upload-Offset": str(len(self.arrived))})

    def _offset(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Upload-Offset": str(len(self.arrived))})

    def _shown(self, _: httpx.Request) -> httpx.Response:
        body = {
            "id": "u1",
            "name": "x",
            "kind": "model",
            "size_bytes": len(self.arrived),
            "offset": len(self.arrived),
            "is_whole": True,
            "sha256": None,
        }
        return httpx.Response(200, json=body)


@pytest.fixture
def tus(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Tus:
    """Give the other side; pieces are small."""
    monkeypatch.setattr(uploads, "_LARGEST_PIECE_BYTES", 100_000)
    monkeypatch.setattr(uploads, "_SMALLEST_PIECE_BYTES", 20_000)
    return Tus(desk)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file to send, with a name that needs care."""
    path = tmp_path / "größe, 1.safetensors"
    path.write_bytes(CONTENT)
    return path


def test_a_file_arrives_with_its_hash(tus: Tus, lab: RemoteLab, file: Path) -> None:
    """The lab is told name, length and hash before the first byte."""
    assert lab.upload(file) == "u1"
    assert bytes(tus.arrived) == CONTENT
    assert tus.told == {
        "filename": file.name,
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "length": str(len(CONTENT)),
    }


def test_what_breaks_off_goes_on_where_it_stopped(
    tus: Tus, lab: RemoteLab, file: Path
) -> None:
    """Pieces whose answer got lost are not sent again; they get smaller on a bad line."""
    tus.lost = ["half", "answer", "nothing", "half"]
    lab.upload(file)
    assert bytes(tus.arrived) == CONTENT
    assert tus.pieces[0] == 100_000
    assert max(tus.pieces[4:]) < 100_000


def test_what_is_refused_is_not_tried_again(
    desk: Desk, tus: Tus, lab: RemoteLab, file: Path
) -> None:
    """A file of the wrong kind stays one."""
    desk.tell("PATCH", "/uploads/u1", problem("FLIP-711", 415))
    with pytest.raises(errors.UploadTypeError):
        lab.upload(file)
    assert not tus.arrived


@pytest.mark.usefixtures("hurrying_clock")
def test_a_lab_that_stays_away_is_told_of(
    desk: Desk, tus: Tus, lab: RemoteLab, file: Path
) -> None:
    """After the time that a request may take it is given up."""
    desk.tell("PATCH", "/uploads/u1", httpx.ReadError("gone"))
    with pytest.raises(errors.LabUnreachableError):
        lab.upload(file)
    assert not tus.arrived


def test_a_file_that_is_not_there_is_told_of(lab: RemoteLab, tmp_path: Path) -> None:
    """Before anything is asked of the lab."""
    with pytest.raises(errors.StoreError, match="nowhere"):
        lab.upload(tmp_path / "nowhere.csv")


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """Give a Flower App with things that are no part of it."""
    root = tmp_path / "my app"
    for name in (
        "pyproject.toml",
        "a/code.py",
        "a/__pycache__/code.pyc",
        ".git/x",
        "venv/y",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "away").symlink_to(tmp_path)
    return root


def test_an_app_is_packed_alike_each_time(app_dir: Path) -> None:
    """Neither times nor owners make a difference: the hash tells apps apart."""
    packed: list[bytes] = []
    for _ in range(2):
        into = io.BytesIO()
        pack_app(app_dir, into)
        packed.append(into.getvalue())
        (app_dir / "a" / "code.py").touch()
    assert packed[0] == packed[1]


def test_only_an_apps_files_are_packed(tus: Tus, lab: RemoteLab, app_dir: Path) -> None:
    """Hidden files, caches and what links lead to stay here."""
    lab.upload(app_dir)
    assert (tus.told["filename"], tus.told["kind"]) == ("my app.zip", "app")
    with zipfile.ZipFile(io.BytesIO(bytes(tus.arrived))) as archive:
        assert archive.namelist() == ["a/code.py", "pyproject.toml"]


def test_a_directory_without_an_app_is_refused(lab: RemoteLab, tmp_path: Path) -> None:
    """The message says what is missing."""
    with pytest.raises(errors.AppPartMissingError, match=r"pyproject\.toml"):
        lab.upload(tmp_path)
