"""An app over a lab with ended runs, and somebody who asks it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from flip_lab.api.access import Person, Scope
from flip_lab.api.app import create_app
from flip_lab.runs.lab import Lab
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

V1 = "/flip/v1"


class Staff:
    """Knows two people by their tokens: ada may do all, guest may look."""

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give whose token it is."""
        scopes: dict[str, frozenset[Scope]] = {
            "ada": frozenset({"read", "write"}),
            "guest": frozenset({"read"}),
        }
        name = headers.get("authorization", "").removeprefix("Bearer ")
        return Person(name=name, scopes=scopes[name]) if name in scopes else None

    known = who


@pytest.fixture
def app(lab_dir: LabDir) -> FastAPI:
    """Give the app of the lab that ``make_run`` fills."""
    return create_app(Lab(lab_dir.root), Staff())


@pytest.fixture
def ask(app: FastAPI) -> Iterator[Callable[..., TestClient]]:
    """Give what asks the app, or another one, as somebody: ``ask("guest").get(…)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another httpx
        from starlette.testclient import TestClient

    opened: list[TestClient] = []

    def as_somebody(name: str | None = "ada", served: FastAPI = app) -> TestClient:
        headers = {} if name is None else {"Authorization": f"Bearer {name}"}
        client = TestClient(
            served,
            base_url=f"http://localhost{V1}",
            headers=headers,
            raise_server_exceptions=False,
        )
        client.__enter__()
        opened.append(client)
        return client

    yield as_somebody
    for client in opened:
        client.__exit__()


@pytest.fixture
def client(ask: Callable[..., TestClient]) -> TestClient:
    """Give a client of somebody who may do all."""
    return ask()
