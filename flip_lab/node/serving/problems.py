"""Errors of the endpoint as problem details (RFC 9457) that carry our codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from flip_lab.core import errors
from flip_lab.core.errors import FlipLabError
from flip_lab.node.serving.served import NotReadyError

MEDIA_TYPE = "application/problem+json"

_STATUSES: Mapping[type[FlipLabError], HTTPStatus] = MappingProxyType(
    {
        errors.NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
        errors.NoSuchPlaceError: HTTPStatus.NOT_FOUND,
        errors.ModelNotFoundError: HTTPStatus.NOT_FOUND,
        errors.TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
        errors.TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
        errors.DeliveryError: HTTPStatus.CONFLICT,
        NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


def problem_response(error: FlipLabError, *, status: int | None = None) -> Response:
    """Give an error as an answer.

    Args:
        error: The error.
        status: Its HTTP status; ``None``: that of its class, or 422.
    """
    known = _STATUSES.get(type(error), HTTPStatus.UNPROCESSABLE_ENTITY)
    code = int(status or known)
    told = {
        "type": f"urn:flip-lab:error:{error.code}",
        "title": type(error).__doc__,
        "status": code,
        "code": error.code,
        "detail": error.what,
        "fix": error.fix,
    }
    return Response(json.dumps(told), code, headers=_headers(code), media_type=MEDIA_TYPE)


def _headers(status: int) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return {"Retry-After": "1"}
    return {}


async def tell_ours(_: Request, error: Exception) -> Response:
    """Tell an error of ours."""
    assert isinstance(error, FlipLabError)  # noqa: S101  # it is registered for these
    return problem_response(error)


async def tell_unforeseen(request: Request, error: Exception) -> Response:
    """Tell that something went wrong here."""
    told = errors.DeviceError(
        f"{request.method} {request.url.path} met a {type(error).__name__}.",
        fix="This is a fault of FLIP Lab: the endpoint's log says where; report it.",
    )
    return problem_response(told, status=HTTPStatus.INTERNAL_SERVER_ERROR)
