"""What a running run can be asked to do."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from flip_lab.api.schemas.base import Asked, Values
from flip_lab.api.schemas.launches import Name, PolicyAsked, StopRuleAsked, Words


class Plain(Asked):
    """Pause (no further client starts), go on, or end; what the run has is kept.

    Attributes:
        command: What to do.
    """

    command: Literal["pause", "resume", "stop"]


class Step(Asked):
    """Go on, and pause again when some rounds are done.

    Attributes:
        command: `step`.
        num_rounds: How many; a round under way is the first of them.
    """

    command: Literal["step"]
    num_rounds: int = Field(default=1, ge=1, le=2**31 - 1)


class Set(Asked):
    """Change settings from the next round on.

    Attributes:
        command: `set`.
        values: New values by name, such as `learning_rate`.
    """

    command: Literal["set"]
    values: Values = Field(min_length=1, max_length=1000)


class SetPolicy(Asked):
    """Change when rounds close, from the next round on; what is not named stays.

    Attributes:
        command: `set_policy`.
        changes: What changes; null takes a limit away.
    """

    command: Literal["set_policy"]
    changes: PolicyAsked


class Choose(Asked):
    """Leave nodes out of all cohorts from the next round on, or take them in again.

    Attributes:
        command: `exclude` or `include`.
        nodes: Partitions, or node ids.
    """

    command: Literal["exclude", "include"]
    nodes: list[Annotated[int, Field(ge=0, lt=2**64)]] = Field(
        min_length=1, max_length=100_000
    )


class StopWhen(StopRuleAsked):
    """End the run after a round in which something is so.

    Attributes:
        command: `stop_when`.
        condition: Such as `eval_accuracy >= 0.95`.
        patience: Rounds without a better value of `metric`.
        metric: What `patience` looks at.
        goal: `min` or `max`; by default by the metric's name.
        budget_s: Seconds of rounds.
        budget_bytes: Bytes that messages carried, both ways.
        epsilon: Privacy budget: ends before the round that would exceed it.
    """

    command: Literal["stop_when"]


class BreakWhen(Asked):
    """Pause before a round's replies are aggregated, when something is so.

    Attributes:
        command: `break_when`.
        condition: Such as `loss is nan` or `always`.
    """

    command: Literal["break_when"]
    condition: Words


class Clear(Asked):
    """Take conditions back.

    Attributes:
        command: `clear`.
        ids: What `stop_when` and `break_when` were answered with; none: all.
    """

    command: Literal["clear"]
    ids: list[Name] = Field(default=[], max_length=1000)


CommandAsked: TypeAlias = Annotated[
    Plain | Step | Set | SetPolicy | Choose | StopWhen | BreakWhen | Clear,
    Field(discriminator="command"),
]
"""One wish; `command` says which."""


class CommandTaken(BaseModel):
    """What became of a command.

    Attributes:
        id: Names it among the run's commands; null where there was nothing to do.
        command: What was asked.
        is_taken: Whether it is on record; a run that is starting takes it later.
        from_round: The round that it takes effect in; null for what takes effect at once.
    """

    id: str | None
    command: str
    is_taken: bool
    from_round: int | None
