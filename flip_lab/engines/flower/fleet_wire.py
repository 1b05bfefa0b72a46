"""Signed requests of a node to the Fleet API: protobuf over HTTPS, each signature once."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLEET_HTTP_SIGNATURE_HEADER,
)
from flwr.supercore.error import FlowerError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto

from flip_lab.core.clock import at_utc, now_s

_CALL_S = 30.0
_FORBIDDEN = 403
_SESSION = secrets.token_hex(16)  # tells a restarted process from one that only reconnects
_Answer = TypeVar("_Answer", bound=Proto)


class RunOverError(Exception):
    """The run that a call was about does not run any more."""


def read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a node's private key, PEM or as OpenSSH writes it.

    Raises:
        ValueError: If it is no such key.
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    if b"OPENSSH" in content:
        key = serialization.load_ssh_private_key(content, password=None)
    else:
        key = serialization.load_pem_private_key(content, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind than nodes have")  # noqa: TRY004  # as documented
    return key


class FleetWire:
    """Sends one node's requests.

    Args:
        http: The client to send with; nodes of one process share one.
        address: ``host:port``.
        key: The node's private key.
    """

    def __init__(
        self, http: httpx.AsyncClient, address: str, key: ec.EllipticCurvePrivateKey
    ) -> None:
        """Nothing is sent yet."""
        self._http = http
        self._base = f"https://{address}"
        self._key = key
        self.public_key = public_key_to_bytes(key.public_key())
        versions = RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()
        self._headers = {
            **dict(versions),
            "content-type": PROTOBUF_MEDIA_TYPE,
            "accept": PROTOBUF_MEDIA_TYPE,
            "x-flip-session": _SESSION,
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(self.public_key).decode(),
        }

    def _signed(self) -> dict[str, str]:
        timestamp = at_utc(now_s()).isoformat()
        signature = sign_message(self._key, timestamp.encode())
        return {
            **self._headers,
            TIMESTAMP_HEADER: timestamp,
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(signature).decode(),
        }

    async def opened(
        self,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> httpx.Response:
        """Send one request; gives the head of its answer, ``rest_of`` waits for the rest.

        Args:
            path: Where to.
            body: What.
            headers: More headers than all requests have.
            wait_s: How long a hub of ours may hold the answer.

        Raises:
            RunOverError: If it was about a run that is over, or unknown by now.
            HTTPStatusError: If it is refused.
            TransportError: If there is no answer.
        """
        wait = {"x-flip-wait": f"{wait_s:.0f}"} if wait_s else {}
        request = self._http.build_request(
            "POST",
            self._base + path,
            content=body,
            headers={**self._signed(), **wait, **(headers or {})},
            timeout=_CALL_S + wait_s,
        )
        response = await self._http.send(request, stream=True)
        if response.is_success:
            return response
        await self.rest_of(response)
        # A 403 in Flower's own form is about the run. A hub that refuses the node itself
        # says so with a code of ours.
        if response.status_code == _FORBIDDEN and FlowerError.from_json(response.text):
            raise RunOverError
        response.raise_for_status()
        return response

    @staticmethod
    async def rest_of(response: httpx.Response) -> httpx.Response:
        """Read the rest of an answer.

        Raises:
            TransportError: If it does not come.
        """
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    async def call(
        self, name: str, request: Proto, answer: type[_Answer], *, wait_s: float = 0.0
    ) -> _Answer:
        """Make one of Flower's calls.

        Args:
            name: The last part of its path.
            request: What is asked.
            answer: What is answered.
            wait_s: How long a hub of ours may hold the answer.

        Raises:
            RunOverError: If it was about a run that is over, or unknown by now.
            HTTPStatusError: If it is refused.
            TransportError: If there is no answer.
        """
        body = request.SerializeToString(deterministic=True)
        response = await self.opened(f"/v1/fleet/{name}", body, wait_s=wait_s)
        return parsed(answer, (await self.rest_of(response)).content)


def parsed(kind: type[_Answer], body: bytes) -> _Answer:
    """Read an answer.

    Raises:
        RemoteProtocolError: If it is something else; whoever waits tries again.
    """
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise httpx.RemoteProtocolError(f"the answer is no {kind.__name__}") from error
