"""Our engines against the contract that third parties run too."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flip_lab.engines.base import Engine
from flip_lab.engines.catalogue import ENGINES
from flip_lab.engines.flower.fab import build_fab
from flip_lab.testing.engine_contract import EngineContract
from flip_lab.testing.probe_app import ProbeApp


class TestInProcess(EngineContract):
    """Clients one after another in this very process."""

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("in_process")()


class TestProcesses(EngineContract):
    """Clients side by side in two local worker processes."""

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("processes")()


class TestVectorised(EngineContract):
    """Workers that train declared clients together serve all others one after another."""

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("vectorised")()


class TestAuto(EngineContract):
    """In process first, then side by side: the move comes between two of these tests."""

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("auto")()


@pytest.fixture(scope="module")
def quiet_ray() -> Iterator[None]:
    """Put the environment back that Ray changes in its host."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.ray
@pytest.mark.usefixtures("quiet_ray")
# Ray leaves sockets and files of its helper processes to the garbage collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestRay(EngineContract):
    """Clients side by side in two actors; one Ray session serves all tests."""

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test."""
        return ENGINES.get("ray")()


def test_the_probe_can_be_sent_to_real_nodes() -> None:
    """Flower accepts the probe as an app, so engines with devices can take the suite."""
    assert build_fab(ProbeApp().fab_files(), {"rounds": 1}).content
