"""What the reference of the API says of each route besides its own answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias

from flip_lab.api.problems import MEDIA_TYPE
from flip_lab.api.schemas.base import Problem
from flip_lab.fl.docstrings import meanings_in

Responses: TypeAlias = dict[int | str, dict[str, Any]]

PROBLEM = "#/components/schemas/Problem"

_WORDS: Mapping[int, str] = MappingProxyType(
    {
        304: "It is what `If-None-Match` names: nothing new.",
        400: "Not as HTTP or a cursor must be (FLIP-704), or not readable.",
        401: "Nobody knows who asks (FLIP-701).",
        403: "Whoever asks may not do this (FLIP-702).",
        404: "There is no such thing.",
        408: "The body came too slowly (FLIP-708).",
        409: "What it is about does not allow it now; nothing was done.",
        412: "It changed since it was seen (FLIP-705).",
        413: "The body is too large (FLIP-707).",
        415: "Files of this kind are not taken (FLIP-711).",
        416: "There are no such bytes.",
        422: "The request is not as expected (FLIP-703), or asks for something that "
        "cannot be; the code says what.",
        429: "Too much at once (FLIP-712).",
        500: "A fault of FLIP Lab's own (FLIP-700).",
        501: "It needs a part of FLIP Lab that is not installed (FLIP-600).",
        502: "A federation does not answer.",
        503: "The store is busy: try again.",
        507: "The lab cannot be written.",
    }
)
_SECTION = re.compile(r"^(?:Args|Attributes|Returns|Raises):$", re.MULTILINE)
_EVERYWHERE = (400, 401, 403, 422, 500, 503)
_CHANGES = (408, 413, 507)


def told(*statuses: int, changes: bool = False) -> Responses:
    """Give what a route may answer besides its own success, for its ``responses``.

    Args:
        statuses: Statuses of its own, such as 404.
        changes: Whether it takes a body or writes.
    """
    every = {*_EVERYWHERE, *statuses, *(_CHANGES if changes else ())}
    return {status: _told(status) for status in sorted(every)}


def content(media_type: str, **schema: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON Schema
    """Give the description of an answer that is no JSON."""
    return {"content": {media_type: {"schema": schema or {"type": "string"}}}}


def _told(status: int) -> dict[str, Any]:
    description = _WORDS[status]
    if status == HTTPStatus.NOT_MODIFIED:
        return {"description": description}
    problem = {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}}}
    return {"description": description, "content": problem}


DESCRIPTION = """\
Everything is JSON in UTF-8 unless a route says otherwise; times are ISO 8601 in UTC.
A number that is not finite is the text `NaN`, `Infinity` or `-Infinity`.

**Who asks** is told by `Authorization: Bearer <token>`; inside Jupyter, by Jupyter.
**Lists** come in pages: `limit` and `cursor`, answered with `next_cursor`.
**States** carry an `ETag`: `If-None-Match` is answered with 304, and `If-Match` keeps a
change from undoing somebody else's. **Launches** honour `Idempotency-Key`. **Errors** are
problems (RFC 9457) with FLIP Lab's own code and a fix.
"""


def finish(make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Complete the reference that FastAPI makes of an app.

    Adds the schema of problems and how to log in, and lets what docstrings say of fields
    speak where it belongs.

    Args:
        make: Makes it; FastAPI keeps what it made.
    """

    def finished() -> dict[str, Any]:
        document = make()
        parts: dict[str, Any] = document.setdefault("components", {})
        if "securitySchemes" in parts:
            return document
        schemas = parts.setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for schema in schemas.values():
            _tell_fields(schema)
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["description"] = operation.get("description", "").strip()
                for parameter in operation.get("parameters", ()):
                    parameter["schema"].pop("title", None)
        return document

    return finished


def _tell_fields(schema: dict[str, Any]) -> None:
    said = _taken_apart(schema)
    for name, field in schema.get("properties", {}).items():
        if name in said:
            field.setdefault("description", said[name])
        field.pop("title", None)


def _taken_apart(described: dict[str, Any]) -> Mapping[str, str]:
    """Leave of a docstring what stands above its sections; give what they say."""
    text = described.get("description", "")
    head = _SECTION.split(text, maxsplit=1)[0].strip()
    if head:
        described["description"] = " ".join(head.split()) if "\n\n" not in head else head
    return meanings_in(text)
