"""The line to a server: pooled connections, a token, and patience; knows no API."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import httpx

from flip_lab.client.address import Address
from flip_lab.client.patience import patiently
from flip_lab.client.problems import reaching, refusal
from flip_lab.core.errors import InvalidValueError

Trust: TypeAlias = str | Path | ssl.SSLContext | None
"""A file with certificates of authorities, a context, or the machine's own."""

_CONNECT_S = 10.0
_IDLE_S = 4.0  # uvicorn closes idle connections after 5 s; we do it first
_MOST_CONNECTIONS = 32
_SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Line:
    """Sends requests to one server; any number of threads may share it.

    Args:
        address: Where to ask.
        timeout_s: How long a request may take, repetitions included, seconds.
        trust: Whom to trust over ``https``.
        transport: Carries requests; default: the network.

    Attributes:
        address: Where it asks.
        tls: What it trusts.
        timeout_s: How long a request may take, seconds.
        close: Closes all connections; again does nothing.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        trust: Trust = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Send nothing yet."""
        self.address = address
        self.timeout_s = timeout_s
        self.tls = _tls(trust)
        if transport is None and address.socket is not None:
            transport = httpx.HTTPTransport(uds=address.socket)
        self._client = httpx.Client(
            base_url=address.origin,
            transport=transport,
            verify=self.tls,
            headers=self.headers,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
            limits=httpx.Limits(
                max_connections=_MOST_CONNECTIONS, keepalive_expiry=_IDLE_S
            ),
            trust_env=not address.is_here,
        )
        # Whoever forgets to close it shall leave no connection open.
        self.close = weakref.finalize(self, self._client.close)

    @property
    def headers(self) -> dict[str, str]:
        """What says who asks."""
        from flip_lab import __version__

        agent = {"User-Agent": f"flip-lab/{__version__}"}
        token = self.address.token
        return {**agent, "Authorization": f"Bearer {token}"} if token else agent

    def good(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        is_safe: bool = False,
    ) -> httpx.Response:
        """Ask until there is an answer, and raise what one that is no success says.

        Args:
            method: Such as ``"POST"``.
            url: Path and query.
            headers: What to say besides who asks.
            content: The body.
            is_safe: Whether it may reach the server twice; GET, HEAD, PUT and DELETE may.

        Raises:
            FlipLabError: What the lab has against it.
            LabUnreachableError: If it does not answer in time.
        """
        response = self.any(method, url, headers=headers, content=content, is_safe=is_safe)
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED.value:
            return response
        error = refusal(response, url=self.address.url)
        raise error

    def any(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        is_safe: bool = False,
        most_s: float | None = None,
    ) -> httpx.Response:
        """Ask as ``good`` does, and give the answer whatever it says.

        Raises:
            LabUnreachableError: If there is none within ``most_s``, by default
                ``timeout_s``.
        """
        with reaching(self.address.url):
            return patiently(
                lambda: self._client.request(method, url, headers=headers, content=content),
                is_safe=is_safe or method in _SAFE,
                most_s=most_s or self.timeout_s,
            )

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None
    ) -> Generator[httpx.Response]:
        """Open an answer whose body is read piece by piece; errors as ``good``."""
        request = self._client.build_request("GET", url, headers=headers)
        with reaching(self.address.url):
            response = self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                    raise refusal(response, url=self.address.url)
                yield response
            finally:
                response.close()


def _tls(trust: Trust) -> ssl.SSLContext:
    if isinstance(trust, ssl.SSLContext):
        return trust
    try:
        return ssl.create_default_context(cafile=None if trust is None else str(trust))
    except OSError as error:  # of ssl, too
        raise InvalidValueError(
            f"{trust} holds no certificates that can be read ({error}).",
            fix="Give a file in PEM with the certificates of the authorities to trust.",
        ) from error
