"""A signed line from a node to its hub: small questions, and files part by part.

It trusts whom ``ca.crt`` names at that moment: the node writes that file anew when its hub
gets another authority, and goes on without a restart.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self

import httpx

from flip_lab.core.errors import (
    DeliveryError,
    DeviceError,
    FlipLabError,
    HubStateError,
)
from flip_lab.node.config import NodeConfig
from flip_lab.node.hub_line import PLAIN, unreachable, whole
from flip_lab.node.identity import load_identity
from flip_lab.node.trust import AUTHORITY_FILE, context_for

_PATIENCE_S = 30.0
_KEEP_S = 60.0  # longer than from one look to the next, shorter than the hub keeps it
_PART_BYTES = 2**20
_LARGEST_BYTES = 2**25  # of an answer that is no file


class SignedLine:
    """Asks the hub in the node's name.

    Args:
        config: The node's settings.

    Raises:
        HubStateError: If the node has no key, or no authority to trust.
    """

    def __init__(self, config: NodeConfig) -> None:
        """Connect to nothing yet."""
        self._config = config
        self._identity = load_identity(config.directory)
        self._trusted = self._authorities()
        self._client = self._new_client()

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the connection."""
        self._client.close()

    def ask(self, method: str, target: str, told: Any = None) -> Any:  # noqa: ANN401  # JSON
        """Send JSON, give back JSON.

        Args:
            method: Such as ``"GET"``.
            target: The path with its query.
            told: What to send; ``None`` for nothing.

        Raises:
            FederationUnreachableError: If the hub is away.
            DeviceError: If it does not answer JSON.
            FlipLabError: What it has against it.
        """
        body = b"" if told is None else json.dumps(told).encode()
        kind = {"content-type": "application/json"} if body else {}
        client, hub = self._trusting(), self._config.hub
        headers = {**self._identity.headers(method, target, body), **PLAIN, **kind}
        try:
            with client.stream(method, target, content=body, headers=headers) as answer:
                content = whole(answer, hub=hub, most_bytes=_LARGEST_BYTES)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        try:
            return json.loads(content or b"null")
        except ValueError as error:
            raise DeviceError(
                f"{target} was answered with something else than JSON.",
                fix="Check that node.toml names a hub of FLIP Lab.",
            ) from error

    @contextmanager
    def parts(self, target: str, *, after_bytes: int) -> Generator[Iterator[bytes]]:
        """Give a file part by part.

        Args:
            target: Its path.
            after_bytes: How much of it is here already.

        Raises:
            FederationUnreachableError: If the hub is away, or goes away meanwhile.
            FlipLabError: What it has against it.
            DeliveryError: If it sends another part than was asked for.
        """
        client, hub = self._trusting(), self._config.hub
        headers = {**self._identity.headers("GET", target), **PLAIN}
        if after_bytes:
            headers["range"] = f"bytes={after_bytes}-"
        try:
            with client.stream("GET", target, headers=headers) as answer:
                if not answer.is_success:
                    whole(answer, hub=hub, most_bytes=_LARGEST_BYTES)
                if bool(after_bytes) != (answer.status_code == HTTPStatus.PARTIAL_CONTENT):
                    raise DeliveryError(
                        f"{target} was answered with another part of the file.",
                        fix="Let nothing between node and hub change requests.",
                    )
                yield answer.iter_raw(_PART_BYTES)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.HTTPError) -> FlipLabError:
        return unreachable(error, hub=self._config.hub)

    def _trusting(self) -> httpx.Client:
        """Give the connection; another one once ``ca.crt`` names other authorities."""
        trusted = self._authorities()
        if trusted != self._trusted:
            before, self._client = self._client, self._new_client()
            self._trusted = trusted
            before.close()
        return self._client

    def _new_client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://{self._config.hub}",
            verify=context_for(self._config.directory / AUTHORITY_FILE),
            timeout=_PATIENCE_S,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_S),
            trust_env=False,
        )

    def _authorities(self) -> bytes:
        """Read whom the node trusts now.

        Raises:
            HubStateError: If nobody says.
        """
        path = self._config.directory / AUTHORITY_FILE
        try:
            return path.read_bytes()
        except OSError as error:
            raise HubStateError(
                f"{path} cannot be read ({error.strerror}): nobody says who the hub is.",
                fix="Enroll the node: it gets its hub's authority then.",
            ) from error
