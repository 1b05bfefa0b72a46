"""Files come whole, compared with their hashes, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import safetensors.numpy

from flip_lab.client.remote_run import RemoteRun
from flip_lab.core import errors
from flip_lab.testing.desk import Desk

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = "/runs/one/artifacts/model"


class _Breaking(httpx.SyncByteStream):
    """Half of what there is, then nothing more."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: len(self._content) // 2]
        raise httpx.ReadError("gone")


def _whole(content: bytes = CONTENT, sha256: str = SHA256) -> httpx.Response:
    return httpx.Response(200, content=content, headers={"ETag": f'"{sha256}"'})


def _half(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=_Breaking(CONTENT), headers={"ETag": f'"{SHA256}"'})


def _rest(request: httpx.Request) -> httpx.Response:
    assert request.headers["if-range"] == f'"{SHA256}"'
    start = int(request.headers["range"].removeprefix("bytes=").removesuffix("-"))
    return httpx.Response(206, content=CONTENT[start:], headers={"ETag": f'"{SHA256}"'})


def test_a_file_takes_the_place_of_an_old_one(
    desk: Desk, run: RemoteRun, tmp_path: Path
) -> None:
    """It appears under its name once it is whole; nothing else is left."""
    desk.tell("GET", PLACE, _whole())
    old = tmp_path / "m"
    old.write_text("old")
    assert run.download("model", old) == old
    assert old.read_bytes() == CONTENT
    assert [*tmp_path.iterdir()] == [old]


def test_what_broke_off_goes_on(desk: Desk, run: RemoteRun, tmp_path: Path) -> None:
    """Only the rest is asked for, if it still is the same file."""
    desk.tell("GET", PLACE, _half, _rest)
    assert run.download("model", tmp_path).read_bytes() == CONTENT
    assert len(desk.asked) == 2


def test_a_file_that_changed_meanwhile_begins_anew(
    desk: Desk, run: RemoteRun, tmp_path: Path
) -> None:
    """The server gives all of the new one, and its hash counts."""
    new = b"new" * 1000
    desk.tell("GET", PLACE, _half, _whole(new, hashlib.sha256(new).hexdigest()))
    assert run.download("model", tmp_path).read_bytes() == new


def test_a_file_that_does_not_match_is_refused(
    desk: Desk, run: RemoteRun, tmp_path: Path
) -> None:
    """The old file stays, and nothing else is left."""
    desk.tell("GET", PLACE, _whole(b"x" + CONTENT[1:]))
    old = tmp_path / "model"
    old.write_text("old")
    with pytest.raises(errors.CorruptArtifactError):
        run.download("model", old)
    with pytest.raises(errors.CorruptArtifactError):
        run.artifact("model")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.usefixtures("hurrying_clock")
def test_a_line_that_stays_broken_leaves_nothing(
    desk: Desk, run: RemoteRun, tmp_path: Path
) -> None:
    """After the time that a request may take it is given up."""
    desk.tell("GET", PLACE, httpx.ConnectError("refused"))
    with pytest.raises(errors.LabUnreachableError):
        run.download("model", tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_place_that_cannot_be_written_is_told(
    desk: Desk, run: RemoteRun, tmp_path: Path
) -> None:
    """It is an error of this machine, not of the lab."""
    desk.tell("GET", PLACE, _whole())
    with pytest.raises(errors.StoreNotWritableError, match="nowhere"):
        run.download("model", tmp_path / "nowhere" / "m")


def test_names_travel_whole(desk: Desk, run: RemoteRun, tmp_path: Path) -> None:
    """A name with slashes is one name, and cannot lead out of a directory."""
    desk.tell("GET", "/runs/one/artifacts/a/../ü b", _whole())
    assert run.download("a/../ü b", tmp_path) == tmp_path / "ü b"
    assert desk.asked[0].url.raw_path.endswith(b"/artifacts/a%2F..%2F%C3%BC%20b")


def test_arrays_are_read_by_name(desk: Desk, run: RemoteRun) -> None:
    """They are what was kept, bit for bit; other files are refused."""
    arrays = {"w": np.array([[1.5, np.nan]], dtype=np.float32)}
    content = safetensors.numpy.save(arrays)
    desk.tell("GET", PLACE, _whole(content, hashlib.sha256(content).hexdigest()), _whole())
    np.testing.assert_array_equal(run.arrays()["w"], arrays["w"])
    with pytest.raises(errors.NoResultError, match="no arrays"):
        run.arrays()


def test_a_report_is_a_page(desk: Desk, run: RemoteRun, tmp_path: Path) -> None:
    """Other kinds are refused before anything is asked."""
    desk.tell("GET", "/runs/one/report", httpx.Response(200, text="<html>"))
    assert run.report(tmp_path / "r.html", theme="dark").read_text() == "<html>"
    assert desk.asked[0].url.params["theme"] == "dark"
    with pytest.raises(errors.InvalidValueError, match=r"r\.pdf"):
        run.report(tmp_path / "r.pdf")
