"""What the buttons do: a message of the page becomes a call of the run's handle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from flip_lab.core.edits import Value
from flip_lab.core.errors import InvalidValueError
from flip_lab.core.events import Json
from flip_lab.core.policy import policy_value

_OF_POLICY = "policy."


@runtime_checkable
class Steerable(Protocol):
    """All that steering needs of a run; ``flip_lab.Run`` is one.

    Each method returns once the run has the command on record, and raises its refusal.
    """

    def pause(self) -> object:
        """Let no client start from now on."""
        ...

    def resume(self) -> object:
        """Go on."""
        ...

    def step(self, num_rounds: int = 1) -> object:
        """Go on for so many rounds, and pause again."""
        ...

    def stop(self) -> object:
        """End the run; what it has is kept."""
        ...

    def set(self, **values: Value) -> object:
        """Change settings from the next round on."""
        ...

    def set_policy(self, **changes: float | str | None) -> object:
        """Change when rounds close, from the next one on."""
        ...

    def exclude(self, *nodes: int) -> object:
        """Leave nodes out, by partition id or node id."""
        ...

    def include(self, *nodes: int) -> object:
        """Take nodes in again."""
        ...

    def break_when(self, condition: str) -> object:
        """Pause before a round is aggregated that meets the condition."""
        ...

    def clear(self, *ids: str) -> object:
        """Forget conditions."""
        ...

    def fork(
        self,
        at_round: int | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        **changes: Value,
    ) -> Any:  # noqa: ANN401  # a handle
        """Launch a new run from a checkpoint; gives its handle."""
        ...


def carry_out(
    run: Steerable, asked: Mapping[str, Any], *, nodes: Sequence[int]
) -> dict[str, Json]:
    """Do what a message asks for.

    Args:
        run: The run.
        asked: ``command``, one of the methods of ``Steerable``, and what belongs to it:
            ``num_rounds``, ``values``, ``condition``, ``ids``, ``at_round``.
        nodes: The nodes that it is about, by partition id or node id.

    Returns:
        ``is_taken``: whether the command is on record; of a fork, its ``run_id``.

    Raises:
        InvalidValueError: If there is no such command.
        FlipLabError: If the run refuses.
    """
    command = asked.get("command")
    values = cast("Mapping[str, Value]", asked.get("values") or {})
    if command == "fork":
        by_key = {name: value for name, value in values.items() if not name.isidentifier()}
        named = {name: value for name, value in values.items() if name.isidentifier()}
        fork = run.fork(asked.get("at_round"), overrides=by_key, **named)
        return {"run_id": str(fork.run_id)}
    calls: Mapping[str, Callable[[], object]] = {
        "pause": run.pause,
        "resume": run.resume,
        "step": lambda: run.step(int(asked.get("num_rounds", 1))),
        "stop": run.stop,
        "set": lambda: _set(run, values),
        "exclude": lambda: run.exclude(*nodes),
        "include": lambda: run.include(*nodes),
        "break_when": lambda: run.break_when(str(asked.get("condition", ""))),
        "clear": lambda: run.clear(*map(str, asked.get("ids", ()))),
    }
    call = calls.get(str(command))
    if call is None:
        raise InvalidValueError(
            f"There is no command {command!r}.",
            fix=f"Take one of {', '.join(calls)}, fork.",
        )
    # A run that is starting takes commands once it has started.
    return {"is_taken": bool(getattr(call(), "is_taken", True))}


def _set(run: Steerable, values: Mapping[str, Value]) -> object:
    """Set settings and parts of the rounds' policy, which a form shows side by side."""
    policy = {
        name.removeprefix(_OF_POLICY): policy_value(
            name.removeprefix(_OF_POLICY), str(text)
        )
        for name, text in values.items()
        if name.startswith(_OF_POLICY)
    }
    rest = {name: v for name, v in values.items() if not name.startswith(_OF_POLICY)}
    taken = run.set(**rest) if rest or not policy else None
    return run.set_policy(**policy) if policy else taken
