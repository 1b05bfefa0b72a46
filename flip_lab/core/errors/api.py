"""7xx: what the API cannot answer."""

from __future__ import annotations

from flip_lab.core.errors.base import FlipLabError


class ApiError(FlipLabError):
    """A request to the API cannot be answered."""

    code = "FLIP-700"


class NotAuthenticatedError(ApiError):
    """Nobody knows who asks."""

    code = "FLIP-701"


class NotAllowedError(ApiError):
    """Whoever asks may not do this."""

    code = "FLIP-702"


class RequestError(ApiError):
    """A request is not as the API expects it."""

    code = "FLIP-703"


class CursorError(ApiError):
    """A cursor was not made by this API, or for another question."""

    code = "FLIP-704"


class StaleError(ApiError):
    """Somebody changed it since it was read."""

    code = "FLIP-705"


class IdempotencyError(ApiError):
    """An idempotency key was used before, for another request."""

    code = "FLIP-706"


class TooLargeError(ApiError):
    """A body is larger than this API takes."""

    code = "FLIP-707"


class TooSlowError(ApiError):
    """A body came too slowly, or never to its end."""

    code = "FLIP-708"


class NoSuchPlaceError(ApiError):
    """The API has nothing at this path."""

    code = "FLIP-709"


class UploadError(ApiError):
    """An upload does not go on where it stopped, or does not match its hash."""

    code = "FLIP-710"


class UploadTypeError(ApiError):
    """A file of this kind is not taken, or is not what it says it is."""

    code = "FLIP-711"


class TooManyError(ApiError):
    """Too many requests, messages or subscribers at once."""

    code = "FLIP-712"


class LabUnreachableError(ApiError):
    """The API of a remote lab does not answer."""

    code = "FLIP-720"


class RemoteVersionError(ApiError):
    """The API of a remote lab speaks another version."""

    code = "FLIP-721"
