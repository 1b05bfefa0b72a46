"""A desk that answers as the API does: for tests of what asks a remote lab.

lab = RemoteLab(Wire(Line(read_address(), timeout_s=1.0, transport=Desk())))
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import httpx

V1 = "/flip/v1"
"""What paths begin with."""

ABOUT: Mapping[str, Any] = MappingProxyType(
    {
        "version": "0.1.0",
        "api": "v1",
        "lab": "/labs/mine",
        "person": "ada",
        "scopes": ["read", "write"],
    }
)
"""What is served."""

RUN: Mapping[str, Any] = MappingProxyType(
    {
        "run_id": "one",
        "name": "hospitals",
        "kind": "scenario",
        "experiment": "hospitals",
        "sweep": None,
        "tags": ["old"],
        "note": "",
        "is_archived": False,
        "state": "running",
        "engine": "auto",
        "federation": None,
        "seed": 0,
        "num_rounds": 2,
        "rounds_done": 1,
        "num_nodes": 3,
        "workers": 1,
        "created_at": "2026-11-22T09:15:00.000001Z",
        "started_at": None,
        "ended_at": None,
        "scenario": None,
        "model_sha256": None,
        "parent_run_id": None,
        "forked_at_round": None,
        "error_code": None,
        "error": None,
        "metrics": {"train_loss": "NaN"},
        "run_config": {},
        "checkpoints": [],
        "forks": [],
    }
)
"""A run under way."""

Answer: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
"""What is answered; an exception is raised in place of an answer."""


def problem(code: str, status: int, **more: str) -> httpx.Response:
    """Give an answer that is a problem.

    Args:
        code: Its code, such as ``"FLIP-301"``.
        status: The HTTP status.
        **more: Its ``detail``, ``fix`` and ``evidence``.
    """
    body = {"code": code, "detail": "what", "fix": "how", "evidence": "", **more}
    headers = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, content=json.dumps(body), headers=headers)


class Desk(httpx.BaseTransport):
    """Answers requests from what it was told, and remembers them.

    Attributes:
        asked: The requests, without those for ``/about``.
    """

    def __init__(self) -> None:
        """Know only what is served."""
        self.asked: list[httpx.Request] = []
        self._answers: dict[tuple[str, str], deque[Answer]] = {}
        self.tell("GET", "/about", httpx.Response(200, json=dict(ABOUT)))

    def tell(self, method: str, place: str, *answers: Answer) -> None:
        """Say what is answered.

        Args:
            method: Such as ``"GET"``.
            place: The path after ``/v1``.
            *answers: The answers, in turn; the last one stays.
        """
        self._answers[method, place] = deque(answers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or raise what was told in place of an answer."""
        place = request.url.path.removeprefix(V1)
        if place != "/about":
            request.read()
            self.asked.append(request)
        known = self._answers.get((request.method, place))
        if known is None:
            return problem("FLIP-709", 404)
        return _given(known.popleft() if len(known) > 1 else known[0], request)

    @property
    def body(self) -> Any:  # noqa: ANN401  # JSON
        """The last request's body."""
        return json.loads(self.asked[-1].content)


def _given(answer: Answer, request: httpx.Request) -> httpx.Response:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, httpx.Response):  # a fresh one: each is read once
        headers = answer.headers
        return httpx.Response(answer.status_code, headers=headers, content=answer.content)
    return answer(request)
