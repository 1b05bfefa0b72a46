"""The life of a run as a pure state machine: no clock, no files, no processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from flip_lab.core.errors import IllegalTransitionError


class RunState(StrEnum):
    """Where a run stands; the last three are final, until somebody resumes the run."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the run any more by itself."""
        return self in _FINAL


_ENDS = frozenset({RunState.FAILED, RunState.STOPPED})
_FINAL = _ENDS | {RunState.COMPLETED}
_RESUMED = frozenset({RunState.PENDING})

STEPS = MappingProxyType(
    {
        RunState.PENDING: _ENDS | {RunState.STARTING},
        RunState.STARTING: _ENDS | {RunState.RUNNING},
        RunState.RUNNING: _ENDS | {RunState.PAUSED, RunState.COMPLETED},
        RunState.PAUSED: _ENDS | {RunState.RUNNING},
        RunState.COMPLETED: frozenset[RunState](),
        RunState.FAILED: _RESUMED,
        RunState.STOPPED: _RESUMED,
    }
)
"""Every legal step, by the state it starts from."""


@dataclass(frozen=True, slots=True)
class RunLife:
    """A run's states so far, oldest first; each step gives a new ``RunLife``."""

    story: tuple[RunState, ...] = (RunState.PENDING,)

    @property
    def state(self) -> RunState:
        """The state the run is in now."""
        return self.story[-1]

    def step(self, to: RunState) -> RunLife:
        """Take one step.

        Args:
            to: The state to go to.

        Returns:
            The life with that step added.

        Raises:
            IllegalTransitionError: If the run cannot go there from where it is; the
                message tells the run's story so far.
        """
        allowed = STEPS[self.state]
        if to in allowed:
            return RunLife((*self.story, to))
        story = " → ".join(self.story)
        legal = ", ".join(sorted(allowed)) or "nothing: the run has ended"
        raise IllegalTransitionError(
            f"A run cannot go from {self.state} to {to}; its story is {story}.",
            fix=f"From {self.state} it can go to {legal}.",
        )
