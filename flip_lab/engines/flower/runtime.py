"""The connection of a ServerApp to its SuperLink, calm where Flower's ends the process."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.grid import HttpGrid

from flip_lab.engines.flower.control import SuperLink, VersionHeaders

_PATIENCE_S = 90.0  # the SuperLink gives a silent run up after 60 s


def retries(*, max_time_s: float = _PATIENCE_S) -> RetryInvoker:
    """Repeat calls that met a fault of the network or the server, up to a time limit.

    Flower's own repeats for ever, never repeats HTTP 500, and answers a refused token by
    interrupting the process.
    """
    return RetryInvoker(
        lambda: exponential(base_delay=0.2, max_delay=5),
        (httpx.TransportError, httpx.HTTPStatusError),
        max_tries=None,
        max_time=max_time_s,
        should_giveup=_is_final,
    )


def _is_final(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return not error.response.is_server_error
    return "certificate" in str(error).lower()


def runtime_client(
    superlink: SuperLink,
    interceptors: Sequence[ProtobufClientInterceptor],
    *,
    retry_invoker: RetryInvoker | None = None,
) -> RuntimeHttpClient:
    """Connect to a SuperLink's Runtime API."""
    return RuntimeHttpClient.from_server_address(
        server_address=superlink.address,
        insecure=False,
        root_certificates=superlink.root_certificates,
        interceptors=interceptors,
        retry_invoker=retry_invoker,
    )


class CalmGrid(HttpGrid):
    """Flower's Grid, made for a process that it must neither interrupt nor end."""

    def __init__(self, superlink: SuperLink, token: str) -> None:
        """Prepare the connection; it opens with the first call."""
        super().__init__(
            superlink.address,
            insecure=False,
            root_certificates=superlink.root_certificates,
            token=token,
        )
        self._superlink = superlink
        self._retry_invoker = retries()

    def _connect(self) -> None:
        self._client = runtime_client(
            self._superlink, self.credentials(), retry_invoker=self._retry_invoker
        )

    def credentials(self) -> list[ProtobufClientInterceptor]:
        """Give what each request must carry."""
        return [VersionHeaders("flwr-serverapp"), RuntimeTokenHttpInterceptor(self._token)]

    @property
    def client(self) -> RuntimeHttpClient:
        """The connection that repeats what failed for a moment."""
        return self._runtime_client

    def hurry(self) -> None:
        """Repeat little from now on: the run has ended."""
        self._retry_invoker.max_tries = 3
