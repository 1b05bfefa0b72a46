"""Files of a remote lab: brought whole, compared with their hashes, or not at all."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import httpx

from flip_lab.client.patience import pause_s
from flip_lab.client.wire import Wire
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    LabUnreachableError,
    MissingExtraError,
    NoResultError,
    StoreNotWritableError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays: TypeAlias = Mapping[str, NDArray[np.generic]]


def read_file(wire: Wire, place: str) -> bytes:
    """Give a file of the lab, once it was compared with its hash.

    Raises:
        CorruptArtifactError: If what came does not match it.
        FlipLabError: What the lab has against it.
    """
    response = wire.ask("GET", place)
    content = response.content
    _compare(hashlib.sha256(content).hexdigest(), response, place)
    return content


def download(wire: Wire, place: str, path: str | Path, *, name: str) -> Path:
    """Bring a file here, see ``RemoteRun.download``.

    Args:
        wire: Whom to ask.
        place: Where it is: the path after ``/v1``.
        path: Where it shall be.
        name: What to call it in a directory.

    Raises:
        CorruptArtifactError: If what came does not match its hash.
        StoreNotWritableError: If it cannot be written.
        FlipLabError: What the lab has against it.
    """
    target = Path(path).expanduser().absolute()
    if target.is_dir():
        target /= Path(name).name
    with _whole(target) as file:
        _Fetching(wire, place, file).fetch()
    return target


def fetch_part(wire: Wire, place: str, target: Path, *, sha256: str) -> None:
    """Bring a file here, going on where an earlier process left off.

    Args:
        wire: Whom to ask.
        place: Where it is: the path after ``/v1``.
        target: Where it shall be; what is there already is as it should be.
        sha256: Its hash.

    Raises:
        CorruptArtifactError: If what came does not match it; it is asked for anew then.
        OSError: If it cannot be written.
        FlipLabError: What the lab has against it.
    """
    if target.is_file():
        return
    part = target.with_name(f"{PART}{target.name}")
    part.touch()
    with part.open("r+b") as file:
        try:
            _Fetching(wire, place, file, tag=f'"{sha256}"').fetch()
        except CorruptArtifactError:
            file.truncate(0)
            raise
    part.replace(target)


def write_whole(target: Path, content: bytes) -> Path:
    """Write a file: it appears whole or not at all.

    Raises:
        StoreNotWritableError: If it cannot be written.
    """
    with _whole(target) as file:
        file.write(content)
    return target


@contextmanager
def _whole(target: Path) -> Generator[BinaryIO]:
    """Give a file under another name, which becomes the target once all went well."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("w+b") as file:
            yield file
        part.replace(target)
    except OSError as error:
        raise StoreNotWritableError(
            f"{target} cannot be written: {error.strerror}.",
            fix="Choose a directory that is there, may be written to and has room.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def arrays_in(content: bytes, *, what: str) -> Arrays:
    """Read arrays by name from safetensors.

    Raises:
        NoResultError: If it holds no arrays.
        MissingExtraError: If safetensors is not installed.
    """
    try:
        safetensors: Any = import_module("safetensors")
        numpy: Any = import_module("safetensors.numpy")
    except ImportError as error:
        raise MissingExtraError(
            "Arrays need safetensors, which is not installed.",
            fix='Install it with: pip install "flip-lab[client]"',
        ) from error
    try:
        return numpy.load(content)
    except safetensors.SafetensorError as error:
        raise NoResultError(
            f"{what} holds no arrays ({error}).",
            fix="Give its bytes to whatever reads such files: run.artifact(…).",
        ) from error


_PIECE_BYTES = 2**20
PART = ".part."
"""What the name of a file begins with that has not arrived whole."""


class _Fetching:
    """One file on its way; what breaks off goes on where it stopped."""

    def __init__(self, wire: Wire, place: str, file: BinaryIO, *, tag: str = "") -> None:
        """Take over what is in the file already, which must be of what has this tag."""
        self._wire = wire
        self._place = place
        self._file = file
        self._digest = hashlib.sha256()
        self._tag = tag
        while piece := file.read(_PIECE_BYTES):
            self._digest.update(piece)
        self._attempt = 0
        self._heard_s = tick_s()

    def fetch(self) -> None:
        """Write all of it, and compare it with its hash."""
        line, url = self._wire.line, self._wire.url(self._place)
        while True:
            try:
                if self._tag == f'"{self._digest.hexdigest()}"':
                    return None  # it was all here
                with line.stream(url, headers=self._rest()) as response:
                    self._take(response)
                return _compare(self._digest.hexdigest(), response, self._place)
            except LabUnreachableError:
                self._attempt += 1
                if tick_s() - self._heard_s > line.timeout_s:
                    raise
            time.sleep(pause_s(self._attempt))

    def _rest(self) -> dict[str, str]:
        """Ask for what is missing, if it still is the same file."""
        start, as_it_is = self._file.tell(), {"Accept-Encoding": "identity"}
        if not start or not self._tag:
            return as_it_is
        return {**as_it_is, "Range": f"bytes={start}-", "If-Range": self._tag}

    def _take(self, response: httpx.Response) -> None:
        self._tag = str(response.headers.get("etag", ""))
        if response.status_code != httpx.codes.PARTIAL_CONTENT.value:
            self._digest = hashlib.sha256()
            self._file.seek(0)
            self._file.truncate()
        for piece in response.iter_bytes():
            self._digest.update(piece)
            self._file.write(piece)
            self._attempt, self._heard_s = 0, tick_s()


def _compare(sha256: str, response: httpx.Response, place: str) -> None:
    """Compare with the entity tag, which is the hash."""
    told = str(response.headers.get("etag", "")).removeprefix("W/").strip('"')
    if told != sha256:
        raise CorruptArtifactError(
            f"What came of {place} has the hash {sha256}, not {told}.",
            fix="Ask again; if it stays so, the lab there is damaged: flip-lab doctor.",
        )
