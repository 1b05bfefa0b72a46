"""What the fault tests share: patience."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

PATIENCE_S = 120.0


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """Give a way to wait for something; the test fails when patience ends."""

    def wait(is_so: Callable[[], bool]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end_s, f"not within {PATIENCE_S} s"
            time.sleep(0.05)

    return wait
