"""Entity tags (RFC 9110, section 8.8.3): is it still what I have, and still what I saw?"""

from __future__ import annotations

import re

import xxhash
from fastapi import Request

from flip_lab.core.errors import RequestError, StaleError

_TAG = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


def tag_of(content: bytes) -> str:
    """Give the entity tag of a content: equal for equal bytes."""
    return f'"{xxhash.xxh3_128_hexdigest(content)}"'


def is_known(request: Request, tag: str) -> bool:
    """Say whether whoever asks has this content already (``If-None-Match``)."""
    told = request.headers.get("if-none-match", "").strip()
    return told == "*" or tag in {each.removeprefix("W/") for each in _TAG.findall(told)}


def require_fresh(request: Request, tag: str) -> None:
    """Refuse a change of something that is not as it was seen (``If-Match``).

    Args:
        request: What was asked; without the header it counts as it is.
        tag: The entity tag of the state as it is now.

    Raises:
        StaleError: If it has changed since.
        RequestError: If the header holds no entity tag.
    """
    told = request.headers.get("if-match")
    if told is None or told.strip() == "*":
        return
    known = _TAG.findall(told)
    if not known:
        raise RequestError(
            f"If-Match is {told!r:.100}.", fix="Send the ETag of the answer that you saw."
        )
    if tag not in known:  # a weak tag says nothing about bytes: it never matches here
        raise StaleError(
            f"It is {tag} now, and If-Match says {told:.200}.",
            fix="Read it again, look at what changed, and ask again with its new ETag.",
        )
