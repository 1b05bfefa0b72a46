"""Which data a run on devices learnt from: what its nodes say, once it is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from flip_lab.core.events import EventKind, Json
from flip_lab.core.holding import Holding
from flip_lab.fl.partition import holding_of
from flip_lab.fl.scenarios import load_scenario
from flip_lab.runs.data_lineage import HeldByNodes, record_simulated


class Told:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Json]] = []

    def __call__(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Keep a body."""
        assert (kind, server_round) == (EventKind.LINEAGE, 0)
        self.bodies.append(dict(body))


@pytest.fixture(scope="module")
def parts() -> list[Holding]:
    """Give what four hospitals hold."""
    return [holding_of(load_scenario("hospitals"), place) for place in range(4)]


def test_nodes_that_hold_all_of_it_give_the_record_of_a_simulation(
    parts: list[Holding],
) -> None:
    """In any order, said with each reply, and recorded once."""
    simulated, real = Told(), Told()
    record_simulated(load_scenario("hospitals"), simulated)
    held = HeldByNodes(4, real)
    for part in [*parts[:0:-1], *parts[1:]]:
        held.hear(part)
    assert not real.bodies, "Cleveland has not said anything"
    held.hear(parts[0])
    held.hear(parts[0])
    assert real.bodies == simulated.bodies


def test_another_part_is_another_record(parts: list[Holding]) -> None:
    """A node whose examples are others shows in the hash, also when it comes later."""
    told = Told()
    held = HeldByNodes(4, told)
    for part in (*parts, replace(parts[1], partition_sha256="a" * 64)):
        held.hear(part)
    first, second = told.bodies
    assert first["data_sha256"] == second["data_sha256"]
    assert first["partition_sha256"] != second["partition_sha256"]


def test_nothing_is_claimed_of_nodes_with_different_data(
    parts: list[Holding], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor of parts that nobody knows."""
    told = Told()
    held = HeldByNodes(4, told)
    for part in (*parts[:3], replace(parts[3], partition_id=4)):
        held.hear(part)
    held.hear(replace(parts[3], data_sha256="a" * 64))
    assert not told.bodies
    assert "different data" in caplog.text
