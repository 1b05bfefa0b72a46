"""Bodies of answers: JSON with every number, and a tag to ask again cheaply by."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from fastapi import Request, Response

from flip_lab.api.etags import is_known, tag_of

JSON = "application/json"
_LARGEST = 2**64 - 1
_SMALLEST = -(2**63)


def plain(value: Any) -> Any:  # noqa: ANN401  # any JSON-like value
    """Give a value as JSON can hold it.

    Args:
        value: Scalars, and lists and mappings of them.

    Returns:
        The same, with the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` for numbers
        that are not finite, and text for whole numbers beyond 64 bits.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else number_text(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, Any]", value)
        return {str(key): plain(item) for key, item in pairs.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return str(value)
    return value


def number_text(value: float) -> str:
    """Name a number that is not finite, as JavaScript does."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def to_json(value: object) -> bytes:
    """Give a value as JSON; times in UTC end in ``Z``."""
    return orjson.dumps(plain(value), option=orjson.OPT_UTC_Z, default=_default)


def _default(value: object) -> object:
    if isinstance(value, bytes):
        return {"$base64": b64encode(value).decode("ascii")}
    return str(value)


def reply(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    content = to_json(value)
    return Response(content, status, headers=dict(headers or {}), media_type=JSON)


def state(
    request: Request, value: object, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a state and its tag; who knows it already is told just that (304).

    Args:
        request: What was asked.
        value: The state, ready for JSON.
        headers: More headers.
    """
    return tagged(request, to_json(value), media_type=JSON, headers=headers)


def tagged(
    request: Request,
    content: bytes,
    *,
    media_type: str,
    tag: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with some content and its tag; who knows it already is told just that.

    Args:
        request: What was asked.
        content: The body.
        media_type: What kind of content it is.
        tag: Its entity tag; ``None`` makes one from the content.
        headers: More headers.
    """
    tag = tag or tag_of(content)
    told = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    if is_known(request, tag):
        return Response(status_code=304, headers=told)
    return Response(content, headers=told, media_type=media_type)
