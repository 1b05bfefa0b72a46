"""A hub's directory for a module, and a new key for each test."""

from __future__ import annotations

import pytest

from flip_lab.testing.hub_probe import ProbedHub, Signer


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> ProbedHub:
    """Give a hub's directory; making its keys takes a while."""
    return ProbedHub(tmp_path_factory.mktemp("hub") / "hub")


@pytest.fixture
def signer() -> Signer:
    """Give a node's new key."""
    return Signer()
