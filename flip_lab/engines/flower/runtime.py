"""The connection of a ServerApp to its SuperLink, calm where Flower's ends the process."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor
from flwr.supercore.protobuf.client import (
    ProtobufCall,
    ProtobufClientInterceptor,
    ProtobufRequestContext,
)
from flwr.supercore.retry import RetryInvoker, exponential
from flwr.supercore.runtime import RuntimeHttpClient

from flip_lab.engines.flower.control import SuperLink, introduced, limit_waits
from flip_lab.engines.flower.refusals import Verdict, verdict_on

_MOST_WAIT_S = 5.0  # a hub would hold it for 25; we would not see a stop meanwhile
_QUICK_TRIES = 3
_HEADERS = "x-flip-wait", "x-flip-seen", "x-flip-news"


def retries(*, max_tries: int = _QUICK_TRIES) -> RetryInvoker:
    """Repeat calls that met a fault of the moment: a stale connection, an HTTP 500.

    Flower's own repeats for ever, never repeats HTTP 500, and answers a refused token by
    interrupting the process. A longer outage is for those who can tell the user of it.
    """
    return RetryInvoker(
        lambda: exponential(base_delay=0.1, max_delay=1),
        (httpx.TransportError, httpx.HTTPStatusError),
        max_tries=max_tries,
        max_time=5.0,
        should_giveup=_is_no_hiccup,
    )


def _is_no_hiccup(error: Exception) -> bool:
    """Whether trying again at once would not help."""
    is_slow = isinstance(error, httpx.TimeoutException | httpx.ConnectError)
    return is_slow or verdict_on(error) is not Verdict.AWAY


def runtime_client(
    superlink: SuperLink,
    interceptors: Sequence[ProtobufClientInterceptor],
    *,
    retry_invoker: RetryInvoker | None = None,
) -> RuntimeHttpClient:
    """Connect to a SuperLink's Runtime API."""
    client = RuntimeHttpClient.from_server_address(
        server_address=superlink.address,
        insecure=False,
        root_certificates=superlink.root_certificates,
        interceptors=interceptors,
        retry_invoker=retry_invoker,
    )
    limit_waits(client)
    return client


class LongPoll:
    """Asks a hub to hold a request for replies until there may be some.

    A stock SuperLink ignores that, and answers at once.

    Attributes:
        is_heard: Whether the last answer came from a hub that held the request.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.is_heard = False
        self._wait_s = 0.0
        self._seen = ""

    def pull(
        self, client: RuntimeHttpClient, request: PullAppMessagesRequest, wait_s: float
    ) -> PullAppMessagesResponse:
        """Ask for replies; one thread at a time.

        Args:
            client: A connection that this is an interceptor of.
            request: Which.
            wait_s: How long a hub may hold the request, seconds.
        """
        self._wait_s = min(wait_s, _MOST_WAIT_S)
        return client.PullMessages(request)

    def intercept(
        self, context: ProtobufRequestContext, call_next: ProtobufCall
    ) -> httpx.Response:
        """Add what we have seen, and note what is new."""
        if not isinstance(context.message, PullAppMessagesRequest):
            return call_next(context)
        wait, seen, news = _HEADERS
        headers = context.request.headers
        headers[wait] = f"{self._wait_s:.3f}"
        if self._seen:
            headers[seen] = self._seen
        answer = call_next(context)
        self._seen = answer.headers.get(news, "")
        self.is_heard = bool(self._seen)
        return answer


def server_app_client(
    superlink: SuperLink, token: str, long_poll: LongPoll | None = None
) -> RuntimeHttpClient:
    """Connect as the ServerApp that a token stands for.

    Args:
        superlink: Where, and who we are.
        token: Flower's token of the task.
        long_poll: Holds requests for replies. Such a connection repeats what failed for a
            moment; one without is for heartbeats, which come again by themselves.
    """
    interceptors = [
        *introduced(superlink, "flwr-serverapp"),
        RuntimeTokenHttpInterceptor(token),
        *([long_poll] if long_poll else []),
    ]
    invoker = retries() if long_poll else None
    return runtime_client(superlink, interceptors, retry_invoker=invoker)
