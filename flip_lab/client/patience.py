"""When a request is worth a second try, and how long to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import tenacity

_BUSY = frozenset(
    {
        httpx.codes.TOO_MANY_REQUESTS,
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.GATEWAY_TIMEOUT,
    }
)
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0

_growing = tenacity.wait_random_exponential(_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S)


def patiently(
    ask: Callable[[], httpx.Response], *, is_safe: bool, most_s: float
) -> httpx.Response:
    """Ask, and again with growing pauses while the server is away or busy.

    Args:
        ask: Sends the request.
        is_safe: Whether it may reach the server twice. One that may not is sent again only
            if it was not sent at all.
        most_s: How long to go on, seconds.

    Returns:
        The last answer, whatever it says.

    Raises:
        TransportError: If there was none.
    """
    unheard = tenacity.retry_if_exception_type(httpx.TransportError if is_safe else _UNSENT)
    busy = tenacity.retry_if_result(_is_busy)
    return tenacity.Retrying(
        retry=unheard | busy if is_safe else unheard,
        stop=tenacity.stop_before_delay(most_s),
        wait=_wait,
        retry_error_callback=_last_word,
    )(ask)


def pause_s(attempt: int) -> float:
    """Give how long to wait before attempt 1, 2 and so on at something else, seconds."""
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempt, 10))


def _is_busy(response: httpx.Response) -> bool:
    return response.status_code in _BUSY


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait a little longer each time, or as long as the server asks for."""
    outcome = state.outcome
    if outcome is not None and not outcome.failed:
        asked = str(outcome.result().headers.get("retry-after", ""))
        if asked.isdigit():
            return float(asked)
    return _growing(state)


def _last_word(state: tenacity.RetryCallState) -> Any:  # noqa: ANN401  # a response
    """Give the last answer, or raise why there is none."""
    assert state.outcome is not None  # noqa: S101  # it was tried at least once
    return state.outcome.result()
