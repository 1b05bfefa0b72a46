"""What the relay itself has to tell, in the words of the API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError

from flip_lab.core.errors import ApiError, FlipLabError

MEDIA_TYPE = "application/problem+json"


class ProblemError(HTTPError):
    """The API cannot answer.

    Args:
        members: What the answer says: the members of RFC 9457 and ours.
    """

    def __init__(self, members: dict[str, Any]) -> None:
        """Keep the answer."""
        super().__init__(int(members["status"]), "%s", members["detail"])
        self.members = members


def problem(error: FlipLabError, status: HTTPStatus) -> ProblemError:
    """Make an error what the API would answer.

    The API's own words for it (``api.problems``) import a web framework, which Jupyter's
    process has no use for.
    """
    return ProblemError(
        {
            "type": f"urn:flip-lab:error:{error.code}",
            "title": type(error).__doc__ or status.phrase,
            "status": int(status),
            "code": error.code,
            "detail": error.what,
            "fix": error.fix,
            "evidence": error.detail,
        }
    )


def cannot_start(why: str) -> ProblemError:
    """Say that the API's process does not start."""
    error = ApiError(
        f"The process that serves the lab does not start. {why}",
        fix="Jupyter's log says why.",
    )
    return problem(error, HTTPStatus.SERVICE_UNAVAILABLE)


def died() -> ProblemError:
    """Say that the API's process ended before it answered."""
    error = ApiError(
        "The process that serves the lab ended before it answered.",
        fix="Look whether what you asked for has happened, then ask again.",
    )
    return problem(error, HTTPStatus.BAD_GATEWAY)
