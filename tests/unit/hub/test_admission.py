"""Addresses that keep showing wrong keys and tokens."""

from __future__ import annotations

from contextlib import suppress

import pytest

from flip_lab.core.errors import TooManyError
from flip_lab.hub import admission as module
from flip_lab.hub.admission import Admission

HERE, THERE = {"client": ("192.0.2.1", 1)}, {"client": ("192.0.2.2", 1)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give a clock that stands still unless it is set."""
    time = [0.0]
    monkeypatch.setattr(module, "tick_s", lambda: time[0])
    return time


def test_an_address_must_wait_after_too_many(clock: list[float]) -> None:
    """Another one need not, and time forgives one by one."""
    admission = Admission(most=3, window_s=30.0)
    for _ in range(3):
        admission.see_that_it_may(HERE)
        admission.failed(HERE)
    with pytest.raises(TooManyError, match="10 s"):
        admission.see_that_it_may(HERE)
    admission.see_that_it_may(THERE)
    clock[0] = 10.1
    admission.see_that_it_may(HERE)
    admission.failed(HERE)
    with pytest.raises(TooManyError):
        admission.see_that_it_may(HERE)


def test_memory_is_bounded(clock: list[float]) -> None:
    """Nobody fills it with addresses."""
    del clock
    admission = Admission()
    for number in range(5000):
        with suppress(TooManyError):
            admission.failed({"client": (f"2001:db8::{number:x}", 1)})
    assert len(admission._failures) == 4096
