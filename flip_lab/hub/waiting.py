"""What both doors of Flower's calls look at first, and how long a request may be held."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from starlette.types import Scope

from flip_lab.core.errors import NoSuchPlaceError, RequestError, UploadTypeError
from flip_lab.hub.bells import LONGEST_WAIT_S
from flip_lab.hub.bodies import PROTOBUF

_WAIT = "x-flip-wait"
SEEN = "x-flip-seen"
"""The news that the other side has already: a request is held until there is more."""


def see_that_it_is_a_call(
    scope: Scope, headers: Mapping[str, str], paths: Collection[str]
) -> str:
    """Give the path of the call that a request makes.

    Args:
        scope: The request.
        headers: Its headers, names in lower case.
        paths: Those of all calls that there are.

    Raises:
        NoSuchPlaceError: If there is none.
        UploadTypeError: If its body is no protobuf.
    """
    path = str(scope["path"])
    if scope["method"] != "POST" or path not in paths:
        raise NoSuchPlaceError(
            f"{scope['method']} {scope['path']!r:.100}: there is nothing here.",
            fix="A hub serves what nodes and drivers of runs need, and /flip/v1.",
        )
    told = headers.get("content-type", "").partition(";")[0].strip().lower()
    if told != PROTOBUF:
        raise UploadTypeError(
            f"Content-Type is {told!r:.100}.", fix=f"Send {PROTOBUF}, as Flower does."
        )
    return path


def patience_s(headers: Mapping[str, str]) -> float:
    """Say how long a request may be held, seconds; 0: not at all.

    Raises:
        RequestError: If the header is no number.
    """
    told = headers.get(_WAIT)
    if told is None:
        return 0.0
    try:
        wait_s = float(told)
    except ValueError:
        wait_s = math.nan
    if not wait_s >= 0:
        raise RequestError(
            f"{_WAIT} is {told!r:.60}.",
            fix=f"Send a number of seconds, at most {LONGEST_WAIT_S:.0f}.",
        )
    return min(wait_s, LONGEST_WAIT_S)
