"""Questions to a hub, and what it has against them as the errors that it raised."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from flip_lab.core.errors import (
    DeviceError,
    FederationUnreachableError,
    FlipLabError,
    RunError,
)
from flip_lab.core.outcome import error_in

Shape = TypeVar("Shape", bound=BaseModel)

_PATIENCE_S = 30.0
_LARGEST_BYTES = 2**24
_PIECE_BYTES = 2**16

PLAIN = {"accept-encoding": "identity"}
"""Sent with questions: what is counted as it comes must not grow once it is here."""


class HubLine:
    """A connection to a hub that is trusted, or not yet.

    Args:
        hub: ``host:port``.
        context: Whom to trust.
        headers: Sent with every question.
    """

    def __init__(
        self, hub: str, context: ssl.SSLContext, headers: Mapping[str, str] | None = None
    ) -> None:
        """Connect to nothing yet."""
        self.hub = hub
        try:
            self._client = httpx.Client(
                base_url=f"https://{hub}",
                verify=context,
                timeout=_PATIENCE_S,
                headers=headers,
                follow_redirects=False,
            )
        except httpx.InvalidURL as error:
            raise FederationUnreachableError(
                f"{hub!r:.200} is no address ({error}).",
                fix="Write it as host:port, without https://.",
            ) from error

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the connection."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        shape: type[Shape],
        sent: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Shape:
        """Ask something and read the answer.

        Args:
            method: Such as ``"GET"``.
            path: Where.
            shape: What the answer looks like.
            sent: Becomes JSON, as ``model_dump_json`` writes it.
            headers: What else to say, such as a signature.

        Raises:
            FederationUnreachableError: If the hub does not answer, or is another.
            FlipLabError: What it has against it.
            DeviceError: If it answers as no hub does.
        """
        content = self.content(method, path, sent, headers=headers)
        try:
            return shape.model_validate_json(content)
        except ValidationError as error:
            raise DeviceError(
                f"What {self.hub} answers to {path} means nothing to this version "
                f"({error.error_count()} errors).",
                fix="Install the same version of FLIP Lab here and at the hub.",
            ) from error

    def content(
        self,
        method: str,
        path: str,
        sent: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Ask something and give the answer as it is; errors as of ``ask``."""
        body = None if sent is None else sent.model_dump_json().encode()
        kind = {"content-type": "application/json"} if body else {}
        every = {**PLAIN, **kind, **(headers or {})}
        try:
            with self._client.stream(method, path, content=body, headers=every) as answer:
                return whole(answer, hub=self.hub, most_bytes=_LARGEST_BYTES)
        except httpx.HTTPError as error:
            raise unreachable(error, hub=self.hub) from error


def whole(answer: httpx.Response, *, hub: str, most_bytes: int) -> bytes:
    """Read all of an answer; it may come from anybody, as long as it likes.

    Args:
        answer: The answer to a question that was sent with ``PLAIN``; nothing of it is read
            yet.
        hub: ``host:port``.
        most_bytes: The largest that is taken.

    Raises:
        DeviceError: If it is larger.
        FlipLabError: What it says, if it is no success.
    """
    content = bytearray()
    for piece in answer.iter_raw(_PIECE_BYTES):
        content += piece
        if len(content) > most_bytes:
            raise DeviceError(
                f"{hub} answers with more than {most_bytes:,} bytes, as no hub does.",
                fix="Check the address, and that nothing between answers in its place.",
            )
    if not answer.is_success:
        error = _refusal(answer.status_code, bytes(content), hub=hub)
        raise error
    return bytes(content)


def _refusal(status: int, content: bytes, *, hub: str) -> FlipLabError:
    """Give what an answer says that is no success, of the class with its code."""
    try:
        told = cast("dict[str, Any]", json.loads(content))
        body = {"code": told["code"], "what": told["detail"], "fix": told["fix"]}
    except (ValueError, TypeError, KeyError):
        return DeviceError(
            f"{hub} answered HTTP {status}, and not as a hub does.",
            fix="Check the address; if a proxy is between, let it hand requests on as they "
            "are.",
        )
    error = error_in(body)
    # A code that only a newer hub knows.
    return DeviceError(error.what, fix=error.fix) if type(error) is RunError else error


def unreachable(error: httpx.HTTPError, *, hub: str) -> FlipLabError:
    """Say why a hub cannot be reached.

    Args:
        error: What the connection said.
        hub: ``host:port``.
    """
    said = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return FederationUnreachableError(
            f"The certificate that {hub} shows is not the hub's, or does not name it "
            f"({said.partition('CERTIFICATE_VERIFY_FAILED] ')[2] or said}).",
            fix="Use a name or address that the hub was made with (flip-lab hub status "
            "lists them); check this device's clock; and if the hub has a new authority, "
            "fetch its ca.crt anew.",
        )
    if "WRONG_VERSION_NUMBER" in said:
        return FederationUnreachableError(
            f"{hub} does not speak TLS.", fix="Check the port; a hub's is 8443 as a rule."
        )
    return FederationUnreachableError(
        f"The hub at {hub} does not answer ({said}).",
        fix="Check that it is up, that host:port is right, and that the firewall lets this "
        "device call it.",
    )
