"""Flower's older server loop: who waits for clients there can be stopped."""

from __future__ import annotations

from typing import Any

import pytest
from flwr.server.client_manager import SimpleClientManager

from flip_lab.engines.flower.legacy_loop import hooked_legacy_server
from flip_lab.engines.run_grid import StopRun


def test_a_wish_to_stop_is_heard_by_a_strategy_that_waits_for_clients() -> None:
    """Flower waits a day for clients that there are not; with the hooks, half a second."""
    looks: list[None] = []

    def check_stop() -> None:
        looks.append(None)
        if len(looks) == 2:
            raise StopRun

    nothing: Any = None
    before = SimpleClientManager.wait_for
    with hooked_legacy_server(nothing, check_stop):
        with pytest.raises(StopRun):
            SimpleClientManager().sample(1, 99)
        assert not SimpleClientManager().wait_for(1, timeout=0)
        assert SimpleClientManager().wait_for(0)
    assert SimpleClientManager.wait_for is before
