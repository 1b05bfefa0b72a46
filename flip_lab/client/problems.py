"""What a remote lab has against a request, as the errors that a local one raises."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx

from flip_lab.core.errors import (
    ApiError,
    FlipLabError,
    LabUnreachableError,
    NotAuthenticatedError,
    RemoteVersionError,
)
from flip_lab.core.outcome import error_in

PROBLEM = "application/problem+json"

_STRANGERS = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_ABSENT = frozenset(
    {
        httpx.codes.BAD_GATEWAY,
        httpx.codes.SERVICE_UNAVAILABLE,
        httpx.codes.GATEWAY_TIMEOUT,
        httpx.codes.INTERNAL_SERVER_ERROR,  # a proxy's own trouble: ours is a problem
    }
)


def error_of(problem: Mapping[str, Any]) -> FlipLabError:
    """Give a problem as the error of the class with its code.

    Args:
        problem: The members of a problem, as the API sends them.
    """
    body = {
        "code": problem.get("code"),
        "what": problem.get("detail", ""),
        "fix": problem.get("fix", ""),
        "detail": problem.get("evidence", ""),
    }
    error = error_in(body)
    if error.code == body["code"]:
        return error
    # A code that only the other side knows.
    return ApiError(f"{body['code']}: {error.what}", fix=error.fix, detail=error.detail)


def refusal(response: httpx.Response, *, url: str) -> FlipLabError:
    """Give what a response that is no success says, as an error.

    Args:
        response: The response, with its body read.
        url: Where it came from, as people gave it.

    Returns:
        The error that the lab raised, of the class with its code; or what stands between
        us and the lab.
    """
    problem = _problem_in(response)
    if problem is not None:
        error = error_of(problem)  # the server does not know how we show a token
        return stranger(url) if isinstance(error, NotAuthenticatedError) else error
    status, where = response.status_code, response.headers.get("location", "")
    if status in _STRANGERS or (response.is_redirect and "login" in where):
        return stranger(url)
    if response.is_redirect:
        return LabUnreachableError(
            f"{url} sends us on to {where}.", fix="Connect to that address, if it is yours."
        )
    if status in _ABSENT:
        return LabUnreachableError(
            f"At {url} something answers in the lab's place: {status} "
            f"{response.reason_phrase}.",
            fix="Look whether the server is up: the log of flip-lab serve, or of Jupyter.",
            detail=response.text[:500],
        )
    return RemoteVersionError(
        f"{url} answers {status} {response.reason_phrase}, but not as the API of a lab of "
        "this version does.",
        fix="Check the address, and compare `flip-lab --version` on both machines.",
        detail=response.text[:500],
    )


def stranger(url: str) -> NotAuthenticatedError:
    """Give the error of somebody whom the server does not know."""
    return NotAuthenticatedError(
        f"{url} does not know who asks.",
        fix="Give the token: connect(url, token=…), --token or FLIP_LAB_TOKEN. "
        "flip-lab serve prints it when it starts; Jupyter's stands in its own URL.",
    )


def unreachable(error: Exception, *, url: str) -> LabUnreachableError:
    """Give the error of a lab that does not answer.

    Args:
        error: What HTTP or WebSocket said.
        url: Where we asked, as people gave it.
    """
    why = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in why:
        fix = (
            "If the certificate is of an authority of your own, name that: "
            "connect(url, trust='ca.crt'), or SSL_CERT_FILE."
        )
    else:
        fix = (
            "Check that `flip-lab serve` or Jupyter runs there, that host and port are "
            "right, and that a tunnel, if you need one, is open."
        )
    return LabUnreachableError(f"{url} does not answer ({why}).", fix=fix)


@contextmanager
def reaching(url: str) -> Generator[None]:
    """Turn a request that got no answer into an error of ours."""
    try:
        yield
    except httpx.TransportError as error:
        raise unreachable(error, url=url) from error


def no_api(url: str) -> RemoteVersionError:
    """Give the error of a lab that has not the version of the API that we speak."""
    return RemoteVersionError(
        f"{url} is a lab, but without version 1 of the API.",
        fix="Install the same version on both sides: pip install -U flip-lab.",
    )


def no_lab(url: str, response: httpx.Response) -> LabUnreachableError:
    """Give the error of a place where something else than a lab answers."""
    return LabUnreachableError(
        f"At {url} something answers, but no lab: {response.status_code} "
        f"for {response.url.path}.",
        fix="Check host and port. Of a Jupyter server, copy the URL from its page; FLIP "
        "Lab must be installed there.",
    )


def other_version(url: str, theirs: str, error: Exception) -> RemoteVersionError:
    """Give the error of an answer that means nothing to this version.

    Args:
        url: Where it came from.
        theirs: The version of FLIP Lab there; empty while it is not known.
        error: Why the answer means nothing.
    """
    from flip_lab import __version__

    there = f"version {theirs}" if theirs else "another version"
    return RemoteVersionError(
        f"{url} speaks {there} of FLIP Lab; here is {__version__}, which cannot read the "
        "answer.",
        fix="Install the same version on both sides: pip install -U flip-lab.",
        detail=str(error)[:1000],
    )


def _problem_in(response: httpx.Response) -> Mapping[str, Any] | None:
    if not response.headers.get("content-type", "").startswith(PROBLEM):
        return None
    try:
        found: object = json.loads(response.content)
    except ValueError:
        return None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else None
