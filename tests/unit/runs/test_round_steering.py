"""Which of several conditions a run breaks on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flip_lab.core.edits import Edit, InForce
from flip_lab.runs.round_steering import RoundSteering


class Room:
    """Has conditions in force, and notes what the run was stopped for."""

    def __init__(self, conditions: list[str]) -> None:
        self.stopped: list[str] = []
        self._armed = {
            f"id {number}": Edit(
                id=f"id {number}",
                command="break_when",
                author="somebody",
                from_round=1,
                arguments={"condition": condition},
            )
            for number, condition in enumerate(conditions)
        }

    def in_force(self) -> InForce:
        """Give the conditions."""
        return InForce(armed=self._armed)

    def dropped(self, server_round: int) -> dict[int, int]:
        """Leave nobody out."""
        del server_round
        return {}

    def break_in(self, server_round: int, because: str) -> dict[int, int]:
        """Stop here, for a moment."""
        del server_round
        self.stopped.append(because)
        return {}


def test_of_several_conditions_the_oldest_counts(tmp_path: Path) -> None:
    """Always the same one, in whatever order a set of their names would be."""
    room: Any = Room([f"failures >= {-number}" for number in range(1, 51)])
    grid: Any = SimpleNamespace(
        sent_arrays=None,
        partition_of=lambda node_id: node_id,
        training_durations_s={},
        found=dict,
        check_stop=lambda: None,
    )
    recorder: Any = SimpleNamespace(emit=lambda *_, **__: None)
    steering = RoundSteering(tmp_path, room, grid, recorder)
    assert steering.replied(1, []) == []
    assert room.stopped == ["failures 0 >= -1: round 1"]
