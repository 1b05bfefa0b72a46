"""Steer a remote run: pause, look, change, go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flip_lab.client.answers import CommandTaken
from flip_lab.client.run_tables import RunTables
from flip_lab.core.clock import tick_s
from flip_lab.core.condition import Condition
from flip_lab.core.edits import Value
from flip_lab.core.errors import ConditionError, RunTimeoutError
from flip_lab.core.policy import policy_changes
from flip_lab.core.state import RunState
from flip_lab.core.stopping import StopRule
from flip_lab.core.taken import Taken

if TYPE_CHECKING:
    from flip_lab.core.goals import Goal
    from flip_lab.core.policy import RoundPolicy

_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0


class RunSteering(RunTables):
    """Sends commands to a run's process; each is on record with whom the lab knows us as.

    A method returns when the run has put its command on record, and raises what the run
    has against it: ``CommandRefusedError`` also when the run has ended.
    """

    def pause(self) -> Taken:
        """Let no further client start; those at work finish. ``resume`` goes on."""
        return self._command("pause")

    def resume(self) -> Taken:
        """Go on with a paused run; an ended one goes on with ``resume_from_checkpoint``."""
        return self._command("resume")

    def step(self, num_rounds: int = 1) -> Taken:
        """Go on, and pause again when some rounds are done.

        Args:
            num_rounds: How many, 1 or more; a round under way is the first of them.
        """
        return self._command("step", num_rounds=num_rounds)

    def stop(self) -> None:
        """Ask the run to end after the message under way; what it has is kept.

        Does nothing when the run has already ended.
        """
        self._command("stop")

    def set(self, values: Mapping[str, Value] | None = None, /, **more: Value) -> Taken:
        """Change settings from the next round on, such as ``learning_rate=0.01``.

        Args:
            values: New values by name; ``"strategy.fraction_train"`` means the strategy's
                only.
            more: The same, for names that are Python names.

        Raises:
            InvalidValueError: If a scenario does not allow the value.
        """
        return self._command("set", values={**(values or {}), **more})

    def set_policy(
        self, policy: RoundPolicy | None = None, /, **changes: float | str | None
    ) -> Taken:
        """Change when rounds close, from the next round on; see ``RoundPolicy``.

        Args:
            policy: The new policy, whole.
            changes: Or only what changes, such as ``deadline_s=20`` or ``quorum=None``.

        Raises:
            UnknownKeyError: If a policy has no such part.
            InvalidValueError: If a value is out of its range.
        """
        return self._command("set_policy", changes=policy_changes(policy, changes))

    def exclude(self, *nodes: int) -> Taken:
        """Leave nodes out of all cohorts from the next round on.

        Args:
            nodes: Node ids, or partitions.
        """
        return self._command("exclude", nodes=list(nodes))

    def include(self, *nodes: int) -> Taken:
        """Take nodes in again from the next round on; see ``exclude``."""
        return self._command("include", nodes=list(nodes))

    def stop_when(  # noqa: PLR0913  # one parameter for each kind of rule
        self,
        condition: str | None = None,
        *,
        patience: int | None = None,
        metric: str | None = None,
        goal: Goal | None = None,
        budget_s: float | None = None,
        budget_bytes: float | None = None,
        epsilon: float | None = None,
    ) -> Taken:
        """End the run when something is so, at the end of a round; see ``Run.stop_when``.

        Raises:
            ConditionError: If the rule asks for nothing, or cannot be understood.
        """
        rule = StopRule(
            condition=None if condition is None else Condition.parse(condition),
            patience=patience,
            metric=metric,
            goal=goal,
            budget_s=budget_s,
            budget_bytes=budget_bytes,
            epsilon=epsilon,
        )
        return self._command("stop_when", **rule.to_json())

    def break_when(self, condition: str) -> Taken:
        """Pause before a round's replies are aggregated, when a condition is met.

        Args:
            condition: Such as ``"loss is nan"``, ``"client drift > 2"`` or ``"always"``.
                A function cannot travel to another machine.

        Raises:
            ConditionError: If the condition cannot be understood.
        """
        return self._command("break_when", condition=words_of(condition))

    def clear(self, *commands: str | Taken) -> Taken:
        """Take conditions back.

        Args:
            commands: What ``stop_when`` or ``break_when`` returned, or ids; none: all.
        """
        named = [each.id if isinstance(each, Taken) else each for each in commands]
        return self._command("clear", ids=named)

    def wait(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run has ended; an interrupt leaves the run going.

        Args:
            timeout_s: How long to wait, seconds; ``None`` waits as long as it takes.

        Returns:
            The final state.

        Raises:
            RunTimeoutError: If the run has not ended by then.
        """
        return self._wait(timeout_s, paused=False)

    def wait_until_paused(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run is paused, or has ended.

        Args:
            timeout_s: How long, in s; ``None`` waits as long as it takes.

        Raises:
            RunTimeoutError: If neither is so by then.
        """
        return self._wait(timeout_s, paused=True)

    def _wait(self, timeout_s: float | None, *, paused: bool) -> RunState:
        begun_s, pause_s = tick_s(), _FIRST_LOOK_S
        while not (state := self.state).is_final:
            if paused and state is RunState.PAUSED:
                break
            left_s = float("inf") if timeout_s is None else begun_s + timeout_s - tick_s()
            if left_s < 0:
                raise RunTimeoutError(
                    f"Run {self.run_id} is still {state} after {timeout_s} s.",
                    fix="Wait longer, or ask it to end with run.stop().",
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(_LONGEST_LOOK_S, 1.5 * pause_s)
        return state

    def _command(self, command: str, **arguments: object) -> Taken:
        wish = {"command": command, **arguments}
        told = self._wire.send("POST", f"{self._place}/commands", CommandTaken, wish)
        self._look_anew()
        return Taken(
            id=told.id or "",
            command=told.command,
            from_round=told.from_round,
            is_taken=told.is_taken,
        )


def words_of(condition: object) -> str:
    """Read a condition to break on.

    Raises:
        ConditionError: If it cannot be understood, or is a function.
    """
    if isinstance(condition, str):
        return str(Condition.parse(condition))
    raise ConditionError(
        f"{condition!r} cannot travel to another machine.",
        fix='Give a condition in words, such as "loss is nan"; or launch in a local lab.',
    )
