"""A hub's directory for a module, and a new key for each test."""

from __future__ import annotations

import pytest

from flip_lab.hub import active, waiting
from flip_lab.testing.hub_probe import ProbedHub, Signer


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> ProbedHub:
    """Give a hub's directory; making its keys takes a while."""
    return ProbedHub(tmp_path_factory.mktemp("hub") / "hub")


@pytest.fixture(autouse=True)
def _looked_after_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hub look after nodes and runs when a test says so, and not in between."""
    monkeypatch.setattr(active, "_TICK_S", 3600.0)


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the wait that a request may ask for, s: so long that only a bell ends it."""
    monkeypatch.setattr(waiting, "LONGEST_WAIT_S", 3600.0)
    return "3600"


@pytest.fixture
def signer() -> Signer:
    """Give a node's new key."""
    return Signer()
