"""A researcher's line to a hub, for models: small questions, and files in pieces.

Files go by the tus protocol, version 1.0 (https://tus.io/protocols), which the API of the
hub's lab speaks: what breaks off goes on where it stopped.
"""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from pathlib import Path
from typing import Any, Self, cast

import httpx

from flip_lab.core.errors import (
    DeliveryError,
    FederationUnreachableError,
    FlipLabError,
    RunError,
)
from flip_lab.core.outcome import error_in
from flip_lab.engines.federations import FederationConfig, load_federation

_PATIENCE_S = 60.0
_PIECE_BYTES = 2**23
_MOST_TRIES = 6
_TUS = {"Tus-Resumable": "1.0.0"}


class ModelLine:
    """Asks a hub for what belongs to models.

    Args:
        federation: A federation of ``flip-lab.toml`` that has a hub.

    Raises:
        UnknownFederationError: If no file names it.
        DeliveryError: If it has no hub, or its token cannot be read.
    """

    def __init__(self, federation: str) -> None:
        """Connect to nothing yet."""
        self._config = load_federation(federation, Path.cwd())
        self._client = httpx.Client(
            base_url=f"https://{self._config.address}/flip/v1/",
            headers={"Authorization": f"Bearer {_token(self._config)}"},
            verify=_context(self._config),
            timeout=_PATIENCE_S,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connection."""
        self._client.close()

    def ask(self, method: str, place: str, told: Any = None) -> dict[str, Any]:  # noqa: ANN401  # JSON
        """Send JSON, give back JSON.

        Raises:
            FederationUnreachableError: If the hub does not answer.
            FlipLabError: What it has against it.
        """
        body = {} if told is None else {"json": told}
        return cast("dict[str, Any]", self._send(method, place, **body).json())

    def upload(self, path: Path, name: str, sha256: str) -> str:
        """Send a file, on from where it stopped if the line breaks.

        Args:
            path: The file.
            name: What to call it.
            sha256: Its hash; the hub compares.

        Returns:
            The upload's id.

        Raises:
            FederationUnreachableError: If the hub goes away for good.
            FlipLabError: What it has against the file.
        """
        size_bytes = path.stat().st_size
        told = {"filename": name, "kind": "model", "sha256": sha256}
        pairs = (f"{key} {b64encode(v.encode()).decode()}" for key, v in told.items())
        headers = {
            **_TUS,
            "Upload-Length": str(size_bytes),
            "Upload-Metadata": ",".join(pairs),
        }
        begun = self._send("POST", "uploads", headers=headers)
        upload = str(begun.headers["location"]).rpartition("/")[2]
        offset, tries = 0, 0
        while offset < size_bytes:
            try:
                offset = self._piece(path, upload, offset)
                tries = 0
            except FederationUnreachableError:
                tries += 1
                if tries == _MOST_TRIES:
                    raise
                time.sleep(2**tries / 4)
                offset = self._offset(upload, offset)
        return upload

    def _piece(self, path: Path, upload: str, offset: int) -> int:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(_PIECE_BYTES)
        headers = {
            **_TUS,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        self._send("PATCH", f"uploads/{upload}", headers=headers, content=content)
        return offset + len(content)

    def _offset(self, upload: str, before: int) -> int:
        """Ask how much has arrived; while nobody answers, what is known counts."""
        try:
            told = self._send("HEAD", f"uploads/{upload}", headers=_TUS)
        except FederationUnreachableError:
            return before
        return int(told.headers["upload-offset"])

    def _send(self, method: str, place: str, **more: Any) -> httpx.Response:  # noqa: ANN401  # as httpx
        try:
            answer = self._client.request(method, place, **more)
        except httpx.HTTPError as error:
            raise FederationUnreachableError(
                f"The hub of {self._config.name!r} at {self._config.address} does not "
                f"answer ({error or type(error).__name__}).",
                fix="Check address and root-certificates in flip-lab.toml, and that the "
                "hub runs.",
            ) from error
        if answer.is_success:
            return answer
        raise _refusal(self._config, answer)


def _refusal(config: FederationConfig, answer: httpx.Response) -> FlipLabError:
    """Give what a hub has against something, of the class with its code."""
    try:
        told = cast("dict[str, Any]", answer.json())
        body = {"code": told["code"], "what": told["detail"], "fix": told["fix"]}
    except (ValueError, KeyError, TypeError):
        return DeliveryError(
            f"What answers for {config.name!r} said HTTP {answer.status_code}, and not as "
            "a hub does.",
            fix="Check address in flip-lab.toml.",
        )
    error = error_in(body)
    # A code that only a newer hub knows.
    return DeliveryError(error.what, fix=error.fix) if type(error) is RunError else error


def _token(config: FederationConfig) -> str:
    """Read the token of a federation that has a hub.

    Raises:
        DeliveryError: If it has none, or the file cannot be read.
    """
    path = config.token
    if path is None:
        raise DeliveryError(
            f"{config.name!r} is a SuperLink of Flower's: it delivers no models.",
            fix="Give a federation that has a hub of ours: one with a token.",
        )
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeliveryError(
            f"The token of {config.name!r} in {path} cannot be read ({error}).",
            fix="Correct token in flip-lab.toml; the hub's admin makes tokens.",
        ) from error


def _context(config: FederationConfig) -> ssl.SSLContext:
    """Give what a connection is made with: TLS 1.2 or newer, names checked.

    Raises:
        DeliveryError: If the authorities cannot be read.
    """
    roots = config.root_certificates
    try:
        context = ssl.create_default_context(cafile=None if roots is None else str(roots))
    except (OSError, ssl.SSLError) as error:
        raise DeliveryError(
            f"The authorities in {roots} cannot be read ({error}).",
            fix="Correct root-certificates in flip-lab.toml.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
