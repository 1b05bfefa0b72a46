"""Questions to the API of a lab, and its answers as models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from flip_lab.client.answers import About, Page
from flip_lab.client.line import Line
from flip_lab.client.plain import plain
from flip_lab.client.problems import PROBLEM, no_api, no_lab, other_version, refusal
from flip_lab.client.seen import Seen

Answer = TypeVar("Answer", bound=BaseModel)

MOST_ITEMS = 1000
"""Items of a list that the API gives at once."""

_HELLO_S = 2.0  # whoever mistyped a port shall not wait long


class Wire:
    """Asks one API; any number of threads may share it.

    Args:
        line: Carries the requests.

    Attributes:
        line: The same.
        path: The path before all others, such as ``/user/x/flip/v1``.
        about: What is served there.

    Raises:
        LabUnreachableError: If nothing answers, or nothing like a lab.
        NotAuthenticatedError: If it does not know the token.
        RemoteVersionError: If it speaks another version.
    """

    def __init__(self, line: Line) -> None:
        """Find the API, and ask what it serves."""
        self.line = line
        self._seen = Seen()
        self._theirs = ""
        self.path, self.about = self._found()
        self._theirs = self.about.version

    def get(self, place: str, shape: type[Answer], **query: object) -> Answer:
        """Ask for something; what has not changed since is not sent again.

        Args:
            place: The path after ``/v1``.
            shape: What the answer looks like.
            **query: Filters; those that are ``None`` are left out.

        Raises:
            FlipLabError: What the lab has against it.
            LabUnreachableError: If it does not answer in time.
            RemoteVersionError: If the answer means nothing to this version.
        """
        return self.get_tagged(place, shape, **query)[0]

    def get_tagged(
        self, place: str, shape: type[Answer], **query: object
    ) -> tuple[Answer, str]:
        """Ask for something and its entity tag; the tag is empty where there is none."""
        url = self.url(place, query)
        tag, body = self._seen.get(url)
        response = self.line.good("GET", url, headers=_if_new(tag))
        if response.status_code == httpx.codes.OK.value:
            body = response.content
            tag = str(response.headers.get("etag", ""))
            self._seen.put(url, tag, body)
        return self._read(shape, body), tag

    def send(
        self,
        method: str,
        place: str,
        shape: type[Answer],
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        is_safe: bool = False,
    ) -> Answer:
        """Send something as JSON, and read the answer.

        Args:
            method: Such as ``"POST"``.
            place: The path after ``/v1``.
            shape: What the answer looks like.
            body: Becomes JSON.
            headers: What else to say.
            is_safe: Whether it may reach the server twice.

        Raises:
            FlipLabError: As ``get``.
        """
        response = self.ask(method, place, body, headers=headers, is_safe=is_safe)
        return self._read(shape, response.content)

    def ask(
        self,
        method: str,
        place: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        is_safe: bool = False,
        **query: object,
    ) -> httpx.Response:
        """Send something as JSON, and give the answer as it is; errors as ``get``."""
        return self.line.good(
            method,
            self.url(place, query),
            headers={"Content-Type": "application/json", **(headers or {})},
            content=None if body is None else json.dumps(plain(body)).encode(),
            is_safe=is_safe,
        )

    def pages(
        self,
        place: str,
        shape: type[Page[Answer]],
        *,
        limit: int | None = None,
        **query: object,
    ) -> Iterator[Answer]:
        """Give the items of a list, page by page.

        Args:
            place: The path after ``/v1``.
            shape: What a page looks like.
            limit: At most so many; ``None`` gives all.
            **query: Filters.
        """
        cursor: str | None = None
        while limit is None or limit > 0:
            size = MOST_ITEMS if limit is None else min(limit, MOST_ITEMS)
            page = self.get(place, shape, limit=size, cursor=cursor, **query)
            yield from page.items
            limit = None if limit is None else limit - len(page.items)
            if (cursor := page.next_cursor) is None:
                return

    def url(self, place: str, query: Mapping[str, object] | None = None) -> str:
        """Write a path after ``/v1``, whole, with its filters."""
        given = {
            name: str(value).lower() if isinstance(value, bool) else plain(value)
            for name, value in (query or {}).items()
            if value is not None
        }
        path = self.path + place
        return f"{path}?{httpx.QueryParams(given)}" if given else path

    def _read(self, shape: type[Answer], content: bytes) -> Answer:
        """Read an answer; one that means nothing comes from another version."""
        try:
            return shape.model_validate_json(content)
        except ValidationError as error:
            raise other_version(self.line.address.url, self._theirs, error) from error

    def _found(self) -> tuple[str, About]:
        """Find under which path the API is."""
        address = self.line.address
        responses: list[httpx.Response] = []
        for base in address.bases:
            response = self.line.any("GET", f"{base}/v1/about", most_s=_HELLO_S)
            if response.is_success:
                return f"{base}/v1", self._read(About, response.content)
            if response.status_code != httpx.codes.NOT_FOUND.value:
                raise refusal(response, url=address.url)
            responses.append(response)
        told = [str(each.headers.get("content-type", "")) for each in responses]
        if any(each.startswith(PROBLEM) for each in told):
            raise no_api(address.url)
        raise no_lab(address.url, responses[0])


def _if_new(tag: str) -> dict[str, str]:
    return {"If-None-Match": tag} if tag else {}
