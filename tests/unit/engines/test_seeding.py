"""Global generators: set from a stream, and put back whatever happens in between."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
import torch

from flip_lab.core.seeds import Stream
from flip_lab.engines.seeding import kept_generators, seed_globals


def draws() -> tuple[float, float, float]:
    """Draw from all three."""
    return random.random(), float(np.random.random()), float(torch.rand(1))  # noqa: NPY002, S311  # the global generators are what is looked at


def test_a_stream_decides_what_apps_draw() -> None:
    """The same stream the same numbers; another stream others, in each generator."""
    seed_globals(Stream(seed=1, phase="train"))
    first = draws()
    seed_globals(Stream(seed=1, phase="train"))
    assert draws() == first
    seed_globals(Stream(seed=1, phase="evaluate"))
    assert set(draws()).isdisjoint(first)


@pytest.mark.parametrize("fails", [False, True])
def test_the_generators_are_put_back(*, fails: bool) -> None:
    """Also when the client raises: the server goes on where it was."""
    seed_globals(Stream(seed=2))
    expected = [draws(), draws()]
    seed_globals(Stream(seed=2))
    found = [draws()]
    inside: list[tuple[float, float, float]] = []
    with contextlib.suppress(RuntimeError), kept_generators():
        seed_globals(Stream(seed=3))
        inside.append(draws())
        if fails:
            raise RuntimeError
    found.append(draws())
    assert found == expected
    assert inside[0] not in expected
