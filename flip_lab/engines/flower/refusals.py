"""What goes wrong between us and a SuperLink or hub, as one coded error.

Flower's own clients end or interrupt the process when they are refused (a rejected version
exits, a rejected token raises SIGINT); ours raise.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import httpx
from flwr.supercore.error import FlowerError

from flip_lab.core.errors import FederationUnreachableError

_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_FIXES = {
    "token": "Ask who runs the hub for a token with the role researcher, and put it into "
    "the file that token names in flip-lab.toml.",
    "secret": "Let superexec-secret name a copy of the very file the SuperLink was given.",
    "other": "Look into the SuperLink's log; its Flower version must be ours, up to the "
    "patch.",
}


class Verdict(Enum):
    """What a failed call means for those who would go on."""

    AWAY = "nobody answers, for now"
    OUSTED = "somebody answers, but no longer takes orders for this run"
    FINAL = "no waiting will help"


def verdict_on(error: BaseException | None) -> Verdict:
    """Judge what a call failed of.

    Args:
        error: What httpx raised, or the coded error that was made of it.
    """
    if isinstance(error, FederationUnreachableError):
        error = error.__cause__
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if error.response.is_server_error or status in _LATER:
            return Verdict.AWAY
        return Verdict.OUSTED if status in _REFUSALS else Verdict.FINAL
    is_network = isinstance(error, httpx.TransportError)
    is_trusted = "certificate" not in str(error).lower()
    return Verdict.AWAY if is_network and is_trusted else Verdict.FINAL


@contextmanager
def coded_errors(address: str) -> Generator[None]:
    """Turn what goes wrong between us and a SuperLink into one coded error.

    Raises:
        FederationUnreachableError: It does not answer, is not the one we trust, or refuses.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        what, fix = _refused(address, error)
        raise FederationUnreachableError(what, fix=fix) from error
    except (httpx.TransportError, ssl.SSLError) as error:
        what, fix = _unreachable(address, error)
        raise FederationUnreachableError(what, fix=fix) from error


def _unreachable(address: str, error: Exception) -> tuple[str, str]:
    """Say what happened and what to do."""
    if isinstance(error, ssl.SSLError):
        return (
            f"The root certificates for {address} cannot be read ({error}).",
            "Let root-certificates name a PEM file with the authority's certificate.",
        )
    if "certificate" in str(error).lower():
        return (
            f"The certificate of the SuperLink at {address} is not trusted ({error}).",
            "Let root-certificates name its authority, and use an address that it names.",
        )
    return (
        f"The SuperLink at {address} does not answer ({type(error).__name__}: {error}).",
        "Check that it runs, that host:port is right, and that no firewall is between.",
    )


def _refused(address: str, error: httpx.HTTPStatusError) -> tuple[str, str]:
    """Say what happened and what to do."""
    response, path = error.response, error.request.url.path
    reason, fix = _said(response)
    if not fix:
        is_proved = "authorization" in error.request.headers
        if is_proved and response.status_code in _REFUSALS:
            fix = _FIXES["token"]
        else:
            fix = _FIXES["secret" if path.endswith("/acquire-task") else "other"]
    status = response.status_code
    return f"The SuperLink at {address} refused {path} (HTTP {status}: {reason}).", fix


def _said(response: httpx.Response) -> tuple[str, str]:
    """Give what an answer says of itself: a reason, and a fix where a hub names one."""
    said = FlowerError.from_json(response.text)
    if said:
        return said.message, ""
    try:
        body = json.loads(response.text)
    except ValueError:
        return response.reason_phrase, ""
    problem = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    reason = problem.get("detail")
    fix = problem.get("fix")
    return (
        reason.rstrip(".") if isinstance(reason, str) else response.reason_phrase,
        fix if isinstance(fix, str) else "",
    )
