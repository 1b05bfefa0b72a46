"""Steer a running run: pause, look, change, go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from flip_lab.core.clock import tick_s
from flip_lab.core.condition import Condition
from flip_lab.core.edits import Value, policy_told
from flip_lab.core.errors import CommandRefusedError, RunTimeoutError
from flip_lab.core.events import EventKind, Json, in_force
from flip_lab.core.outcome import error_in
from flip_lab.core.policy import policy_changes
from flip_lab.core.scenario import TrainSpec
from flip_lab.core.state import RunState
from flip_lab.core.stopping import StopRule
from flip_lab.core.taken import Taken
from flip_lab.runs.commands import await_answer, send_command
from flip_lab.runs.edits import Break, break_body
from flip_lab.runs.run_life import LivingRun
from flip_lab.store.audit_writer import append_audit

if TYPE_CHECKING:
    from flip_lab.core.goals import Goal
    from flip_lab.core.policy import RoundPolicy
    from flip_lab.runs.inspection import Inspection

_POLL_S = 0.02
_PATIENCE_S = 2.0  # with a run that is starting
_MOST_PATIENCE_S = 30.0  # with one under way: its process may wait for its turn


class SteeredRun(LivingRun):
    """Sends commands to the run's process, from any kernel.

    Each command is an event of the run with its author and time. A method returns when the
    run has put it on record, which takes a moment even while clients are at work, and
    raises what the run has against it.
    """

    def pause(self) -> Taken:
        """Let no further client start; those at work finish. ``resume`` goes on.

        Raises:
            CommandRefusedError: If the run has ended.
        """
        return self._command("pause")

    def resume(self) -> Taken:
        """Go on with a paused run.

        A run that has ended goes on with ``resume_from_checkpoint``.

        Raises:
            CommandRefusedError: If the run has ended.
        """
        return self._command("resume")

    def step(self, num_rounds: int = 1) -> Taken:
        """Go on, and pause again when some rounds are done.

        Args:
            num_rounds: How many, 1 or more; a round under way is the first of them.

        Raises:
            CommandRefusedError: If the run has ended, or the number will not do.
        """
        return self._command("step", num_rounds=num_rounds)

    def stop(self) -> None:
        """Ask the run to end after the message under way; what it has is kept.

        Does nothing when the run has already ended.
        """
        if not self.state.is_final:
            send_command(self._dir, "stop")
            append_audit(self._lab, "stop", run_ids=[self.run_id])

    def set(self, values: Mapping[str, Value] | None = None, /, **more: Value) -> Taken:
        """Change settings from the next round on, such as ``learning_rate=0.01``.

        A setting is what travels to the clients in a message's configuration, what stands
        in Flower's run configuration, or a public attribute of the strategy; ``settings``
        lists them. In the app's own objects nothing changes.

        Args:
            values: New values by name; ``"strategy.fraction_train"`` means the strategy's
                only.
            more: The same, for names that are Python names.

        Raises:
            CommandRefusedError: If the run knows no such setting, the value has another
                type, or the run has ended.
            InvalidValueError: If a scenario does not allow the value.
        """
        wanted: dict[str, Json] = {**(values or {}), **more}
        self._check_range(wanted)
        return self._command("set", values=wanted)

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
            CommandRefusedError: If nothing is changed, or the run has ended.
        """
        return self._command("set_policy", changes=policy_changes(policy, changes))

    @property
    def policy(self) -> RoundPolicy | None:
        """When rounds close, with all that was set; ``None``: when every reply is in."""
        return policy_told(self.events()) or self._spec.policy

    def _check_range(self, values: Mapping[str, Any]) -> None:
        """Refuse what a scenario would refuse at a launch.

        Raises:
            InvalidValueError: If a value lies outside its range.
        """
        if self._spec.scenario is None:
            return
        from flip_lab.fl.scenarios import scenario_from_dict

        known = {f"train.{item.name}" for item in fields(TrainSpec)}
        named = {f"train.{name.removeprefix('train.')}": v for name, v in values.items()}
        changes = {name: value for name, value in named.items() if name in known}
        scenario_from_dict(asdict(self.scenario.override(changes)))

    def exclude(self, *nodes: int) -> Taken:
        """Leave nodes out of all cohorts from the next round on.

        At a break of a round, their replies of that round are left out, too.

        Args:
            nodes: Node ids, or partitions.

        Raises:
            CommandRefusedError: If there is no such node, too few would be left, or the
                run has ended.
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
        """End the run when something is so, at the end of a round; it has completed then.

        Of several things given, and of several calls, the first one to happen counts.

        Args:
            condition: Such as ``"eval_accuracy >= 0.95"``.
            patience: Rounds without a better value of ``metric``, 1 or more.
            metric: What ``patience`` looks at.
            goal: ``"min"`` or ``"max"``; default: by the metric's name.
            budget_s: Seconds of rounds, pauses not counted, above 0.
            budget_bytes: Bytes that messages carried, both ways, above 0.
            epsilon: Privacy budget: ends before the round that would exceed it.

        Raises:
            ConditionError: If the rule asks for nothing, or cannot be understood.
            CommandRefusedError: If the run has ended.
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
        return self._command("stop_when", rule=rule.to_json())

    def break_when(self, condition: Break) -> Taken:
        """Pause before a round's replies are aggregated, when a condition is met.

        ``inspect`` shows the replies then; ``exclude`` leaves some of them out, ``resume``
        goes on.

        Args:
            condition: Such as ``"loss is nan"``, ``"client drift > 2"`` or ``"always"``;
                or a function that is given a ``RoundReplies`` and returns whether to
                pause (a text says why).

        Raises:
            ConditionError: If the condition cannot be understood.
            CommandRefusedError: If the run has ended.
        """
        return self._command("break_when", **break_body(condition))

    def clear(self, *commands: str | Taken) -> Taken:
        """Take conditions back.

        Args:
            commands: What ``stop_when`` or ``break_when`` returned, or ids; none: all.
        """
        named = [each.id if isinstance(each, Taken) else each for each in commands]
        return self._command("clear", ids=[*(named or self._armed())])

    def _armed(self) -> list[str]:
        rules = {"stop_when", "break_when"}
        controls = [e.body for e in self.events() if e.kind is EventKind.CONTROL]
        return [str(body["id"]) for body in controls if body.get("command") in rules]

    def wait_until_paused(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run is paused, or has ended.

        Args:
            timeout_s: How long, in s; ``None`` waits as long as it takes.

        Raises:
            RunTimeoutError: If neither is so by then.
        """
        end_s = None if timeout_s is None else tick_s() + timeout_s
        while not (state := self.state).is_final and state is not RunState.PAUSED:
            if end_s is not None and tick_s() > end_s:
                raise RunTimeoutError(
                    f"Run {self.run_id} is still {state} after {timeout_s} s.",
                    fix="Wait longer, or pause it with run.pause().",
                )
            time.sleep(_POLL_S)
        return state

    @property
    def settings(self) -> dict[str, Value]:
        """The settings in force, by name; empty before the first round."""
        found: dict[str, Any] = {}
        for event in in_force(self.events()):
            if event.kind is EventKind.SETTINGS:
                found = dict(event.body)
        scopes = ("strategy", "run", "evaluate", "train")
        return {name: v for scope in scopes for name, v in found.get(scope, {}).items()}

    def inspect(self) -> Inspection:
        """Look at the replies of the round that the run is stopped at, or was last.

        Raises:
            NothingToInspectError: If no replies are kept.
        """
        from flip_lab.runs.inspection import read_inspection

        return read_inspection(self._dir)

    def _command(self, command: str, **arguments: Json) -> Taken:
        if self.state.is_final:
            raise CommandRefusedError(
                f"Run {self.run_id} is {self.state}; it cannot {command} any more.",
                fix="Fork it: run.fork(at_round=…), or go on with a stopped or failed run: "
                "run.resume_from_checkpoint().",
            )
        key = send_command(self._dir, command, **arguments)
        said = self._answer_to(key, command)
        if said is None:
            return Taken(id=key, command=command, is_taken=False)
        if "refused" in said:
            raise error_in(said["refused"])
        append_audit(
            self._lab, command, run_ids=[self.run_id], body=_without_code(arguments)
        )
        return Taken(id=key, command=command, from_round=said.get("from_round"))

    def _answer_to(self, key: str, command: str) -> Mapping[str, Any] | None:
        """Wait until a command is taken; not for long while nobody could take it."""
        end_s = tick_s() + _MOST_PATIENCE_S
        while True:
            said = await_answer(self._dir, key, timeout_s=_PATIENCE_S)
            if said is not None or not self._can_take(command) or tick_s() > end_s:
                return said

    def _can_take(self, command: str) -> bool:
        """Whether the run's process is so far that it takes a command within a moment."""
        if self.state not in {RunState.RUNNING, RunState.PAUSED}:
            return False
        return command != "set" or bool(self.settings)  # they are known with a round


def _without_code(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Leave out what only a machine can read."""
    return {name: value for name, value in arguments.items() if name != "function"}
