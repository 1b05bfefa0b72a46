"""Errors as problem details (RFC 9457) that carry our codes."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from flip_lab.api.sockets import close_with
from flip_lab.core import errors
from flip_lab.core.errors import FlipLabError

MEDIA_TYPE = "application/problem+json"

_STATUSES: Mapping[type[FlipLabError], HTTPStatus] = MappingProxyType(
    {
        errors.NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
        errors.NotAllowedError: HTTPStatus.FORBIDDEN,
        errors.NoSuchPlaceError: HTTPStatus.NOT_FOUND,
        errors.RunNotFoundError: HTTPStatus.NOT_FOUND,
        errors.ModelNotFoundError: HTTPStatus.NOT_FOUND,
        errors.NoResultError: HTTPStatus.NOT_FOUND,
        errors.NothingToInspectError: HTTPStatus.NOT_FOUND,
        errors.CursorError: HTTPStatus.BAD_REQUEST,
        errors.StaleError: HTTPStatus.PRECONDITION_FAILED,
        errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        errors.TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
        errors.UploadTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        errors.TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
        errors.IllegalTransitionError: HTTPStatus.CONFLICT,
        errors.CommandRefusedError: HTTPStatus.CONFLICT,
        errors.NoCheckpointError: HTTPStatus.CONFLICT,
        errors.ModelStageError: HTTPStatus.CONFLICT,
        errors.IdempotencyError: HTTPStatus.CONFLICT,
        errors.UploadError: HTTPStatus.CONFLICT,
        errors.StoreBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.StoreNotWritableError: HTTPStatus.INSUFFICIENT_STORAGE,
        errors.EnrolmentError: HTTPStatus.CONFLICT,
        errors.NodeRevokedError: HTTPStatus.UNAUTHORIZED,
        errors.ClockSkewError: HTTPStatus.UNAUTHORIZED,
        errors.VersionMismatchError: HTTPStatus.UPGRADE_REQUIRED,
        errors.AppNotAllowedError: HTTPStatus.FORBIDDEN,
        errors.HubBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.DeliveryError: HTTPStatus.CONFLICT,
        errors.FederationUnreachableError: HTTPStatus.BAD_GATEWAY,
        errors.MissingExtraError: HTTPStatus.NOT_IMPLEMENTED,
    }
)
"""The nearest class of an error counts; all that are not here are unusable requests."""


def status_of(error: FlipLabError) -> HTTPStatus:
    """Give the HTTP status that tells of an error."""
    known = (_STATUSES[cls] for cls in type(error).__mro__ if cls in _STATUSES)
    return next(known, HTTPStatus.UNPROCESSABLE_ENTITY)


def problem_of(error: FlipLabError) -> dict[str, Any]:
    """Give an error as the members of a problem: also for WebSocket messages."""
    status = status_of(error)
    return {
        "type": f"urn:flip-lab:error:{error.code}",
        "title": type(error).__doc__ or status.phrase,
        "status": int(status),
        "code": error.code,
        "detail": _whole(error.what),
        "fix": _whole(error.fix),
        "evidence": _whole(error.detail),
    }


def _whole(text: str) -> str:
    """Give a text that UTF-8 has a form for: requests may hold half a character."""
    return text.encode(errors="replace").decode()


def tell_problems(app: FastAPI) -> None:
    """Let an app answer every error as a problem; a WebSocket is told it, and closed."""

    async def ours(asked: Request | WebSocket, error: Exception) -> JSONResponse | None:
        """Tell an error of ours."""
        assert isinstance(error, FlipLabError)  # noqa: S101  # it is registered for these
        if isinstance(asked, WebSocket):
            return await close_with(asked, problem_of(error))
        return problem_response(error)

    async def unusable(_request: Request, error: Exception) -> JSONResponse:
        """Tell that a request is not as it should be."""
        assert isinstance(error, RequestValidationError)  # noqa: S101  # as above
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem_response(
            errors.RequestError(
                f"{where}: {first['msg']} (got {first.get('input')!r:.200}).",
                fix="The reference of the API says what is expected: openapi.json.",
            )
        )

    async def plain(request: Request, error: Exception) -> JSONResponse:
        """Tell what the framework has to say."""
        assert isinstance(error, HTTPException)  # noqa: S101  # as above
        known = {404: errors.NoSuchPlaceError, 400: errors.RequestError}
        cls = known.get(error.status_code, errors.ApiError)
        told = cls(
            f"{request.method} {request.url.path}: {error.detail}.",
            fix="openapi.json lists every path and method.",
        )
        return problem_response(told, status=error.status_code, headers=error.headers)

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        """Tell that something went wrong here."""
        return problem_response(
            errors.ApiError(
                f"{request.method} {request.url.path} met a {type(error).__name__}.",
                fix="This is a fault of FLIP Lab: the server's log says where; report it.",
            ),
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
        )

    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(FlipLabError, ours)  # pyright: ignore[reportArgumentType]  # it is called for both kinds; its type knows one
    app.add_exception_handler(RequestValidationError, unusable)
    app.add_exception_handler(HTTPException, plain)


def problem_response(
    error: FlipLabError,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Give an error as an answer.

    Args:
        error: The error.
        status: Its HTTP status; ``None``: that of its class.
        headers: More headers.
    """
    content = problem_of(error)
    content["status"] = status or content["status"]
    return JSONResponse(
        content, content["status"], headers=dict(headers or {}), media_type=MEDIA_TYPE
    )
