"""A site with models, and somebody who asks its endpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.app import create_app
from flip_lab.node.serving.guard import ServingLimits
from flip_lab.node.serving.served import ServedModels
from flip_lab.testing.serving_site import ServingSite

if TYPE_CHECKING:
    from starlette.testclient import TestClient

TOKEN = "a-token-of-one-test"  # noqa: S105  # opens nothing


@pytest.fixture
def site(tmp_path: Path) -> ServingSite:
    """Give a site that holds partition 0, with no model yet."""
    config = {"partition-id": 0, "num-partitions": 4}
    return ServingSite(
        config=NodeConfig(name="north", hub="hub:8443", directory=tmp_path, config=config)
    )


@pytest.fixture
def ask(site: ServingSite) -> Iterator[Callable[..., TestClient]]:
    """Give what opens the site's endpoint: ``ask().post("/predict", …)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another httpx
        from starlette.testclient import TestClient

    opened: list[TestClient] = []

    def begin(
        limits: ServingLimits | None = None, *, token: str | None = TOKEN
    ) -> TestClient:
        app = create_app(ServedModels(site.config, site.shelf), token=TOKEN, limits=limits)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = TestClient(app, headers=headers, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return client

    yield begin
    for client in opened:
        client.__exit__()
