"""A signed line from a node to its hub: small questions, and files part by part."""

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
from flip_lab.node.hub_line import refusal, unreachable
from flip_lab.node.identity import load_identity
from flip_lab.node.trust import context_for

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
        authorities = config.root_certificates
        if authorities is None:
            raise HubStateError(
                f"{config.directory} has no ca.crt: nobody says who the hub is.",
                fix="Enroll the node: it gets its hub's authority then.",
            )
        self._client = httpx.Client(
            base_url=f"https://{config.hub}",
            verify=context_for(authorities),
            timeout=_PATIENCE_S,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_S),
            trust_env=False,
        )

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
        headers = {**self._identity.headers(method, target, body), **kind}
        try:
            answer = self._client.request(method, target, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        self._require_good(answer)
        try:
            return json.loads(answer.content[:_LARGEST_BYTES] or b"null")
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
        headers = self._identity.headers("GET", target)
        if after_bytes:
            headers["range"] = f"bytes={after_bytes}-"
        try:
            with self._client.stream("GET", target, headers=headers) as answer:
                if answer.is_error:
                    answer.read()
                self._require_good(answer)
                if bool(after_bytes) != (answer.status_code == HTTPStatus.PARTIAL_CONTENT):
                    raise DeliveryError(
                        f"{target} was answered with another part of the file.",
                        fix="Let nothing between node and hub change requests.",
                    )
                yield answer.iter_bytes(_PART_BYTES)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _require_good(self, answer: httpx.Response) -> None:
        """Check that the hub did what it was asked for; else raise what it says."""
        if answer.is_success:
            return
        raise refusal(answer, hub=self._config.hub)

    def _away(self, error: httpx.HTTPError) -> FlipLabError:
        return unreachable(error, hub=self._config.hub)
