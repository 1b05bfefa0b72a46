"""What a launch, a fork and a resumption ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from flip_lab.api.schemas.base import Asked, Values
from flip_lab.core.policy import RoundPolicy

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Note: TypeAlias = Annotated[str, Field(max_length=100_000)]
Words: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]
Workers: TypeAlias = Annotated[int, Field(ge=1, le=1024)]
Nodes: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]


class Grouped(Asked):
    """What a new run belongs to and is called.

    Attributes:
        experiment: What it belongs to; by default an experiment named like it, or its
            parent's.
        sweep: The sweep that it is a point of.
        tags: Its first tags.
        note: Its first note.
    """

    experiment: Name | None = None
    sweep: Name | None = None
    tags: list[Name] = Field(default=[], max_length=100)
    note: Note = ""


class Launch(Grouped):
    """A run to start. Exactly one of `scenario`, `toml` and `upload` says of what.

    Attributes:
        scenario: The name of one of the scenarios.
        toml: The text of a scenario's file.
        upload: The id of an upload: a zipped Flower App, or a scenario's file.
        on: `auto`, an engine, or a federation; `GET /federations` lists them.
        num_nodes: Number of nodes; by default what it says itself.
        workers: Processes that train side by side; by default one a processor.
        seed: The run's seed; by default what the scenario says, else 0.
        overrides: Values by dotted path, or keys of the app's run configuration.
        client_timeout_s: Longest time that one simulated client may take.
        checkpoint_every: Rounds from one checkpoint to the next; 0 writes none.
        experiment: What it belongs to; by default an experiment named like it.
        sweep: The sweep that it is a point of.
        tags: Its first tags.
        note: Its first note.
        stop_when: Ends it after a round in which this is so, such as
            `eval_accuracy >= 0.95`; or a rule with several parts.
        break_when: Pauses it before a round is aggregated in which one of these is so.
        record_updates: Whether to record how far each client moved the model.
        nodes: Which nodes take part: names and tags that a hub knows, such as
            `eu and not slow`, or partitions, such as `0-3, 7`; by default all.
        policy: When rounds close; by default when every reply is in.
        detach: `hub` if the run's process must live with the hub whose nodes it drives: it
            does on `hub` in a hub's own lab, and is refused anywhere else. By default it
            lives where the lab is served.
    """

    scenario: str | None = Field(default=None, max_length=200)
    toml: str | None = Field(default=None, max_length=500_000)
    upload: str | None = Field(default=None, max_length=200)
    on: Name = "auto"
    num_nodes: Nodes | None = None
    workers: Workers | None = None
    seed: Seed | None = None
    overrides: Values = Field(default_factory=dict)
    client_timeout_s: float | None = Field(default=None, gt=0)
    checkpoint_every: int = Field(default=1, ge=0, le=1_000_000)
    stop_when: Words | StopRuleAsked | None = None
    break_when: Words | list[Words] | None = None
    record_updates: bool = False
    nodes: Words | None = None
    policy: PolicyAsked | None = None
    detach: Name | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Launch:
        given = [self.scenario, self.toml, self.upload]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give exactly one of scenario, toml and upload")
        return self


class PolicyAsked(Asked):
    """When a run's rounds close, and whom they ask besides.

    Attributes:
        deadline_s: Seconds that a round waits for replies; null: as long as the strategy.
        quorum: How many good replies a round needs: a share of the cohort with a decimal
            point, up to `1.0`, or a number of nodes without one; null: one.
        over_selection: How many more nodes are asked to train, as a share of the cohort.
        late: What becomes of replies after the close; `drop`: they are on record only.
    """

    deadline_s: float | None = Field(default=None, gt=0)
    quorum: int | float | None = Field(default=None, gt=0)
    over_selection: float = Field(default=0.0, ge=0, le=10)
    late: Literal["drop"] = "drop"

    def policy(self) -> RoundPolicy:
        """Give what is asked for.

        Raises:
            InvalidValueError: If a share is above 1.
        """
        return RoundPolicy.from_json(self.model_dump())


class StopRuleAsked(Asked):
    """When to end a run by itself; of several parts the first to happen counts.

    Attributes:
        condition: Such as `eval_accuracy >= 0.95`.
        patience: Rounds without a better value of `metric`.
        metric: What `patience` looks at.
        goal: `min` or `max`; by default by the metric's name.
        budget_s: Seconds of rounds.
        budget_bytes: Bytes that messages carried, both ways.
        epsilon: Privacy budget: ends before the round that would exceed it.
    """

    condition: Words | None = None
    patience: int | None = Field(default=None, ge=1)
    metric: Name | None = None
    goal: str | None = Field(default=None, pattern="^(min|max)$")
    budget_s: float | None = Field(default=None, gt=0)
    budget_bytes: float | None = Field(default=None, gt=0)
    epsilon: float | None = Field(default=None, gt=0)

    def rule(self) -> dict[str, Any]:
        """Give what is asked for, as `StopRule.from_json` reads it."""
        return self.model_dump(exclude_none=True)


class ForkAsked(Grouped):
    """A new run that goes on from a checkpoint of another one.

    Attributes:
        at_round: The round to go on from; null takes the newest checkpoint.
        changes: Values by a short name, such as `learning_rate` or `strategy`.
        overrides: Values by whole path or key; they win.
        seed: Seed of the rounds that follow; null keeps the parent's.
        num_nodes: Number of nodes from now on; null keeps the parent's.
        on: Where it runs; null: where the parent did.
        workers: Processes that train side by side; null keeps their number.
        checkpoint_every: Rounds from one checkpoint to the next; null keeps it.
        experiment: What it belongs to; null: the parent's experiment.
        sweep: The sweep that it is a point of.
        tags: Its first tags.
        note: Its first note.
    """

    at_round: int | None = Field(default=None, ge=0, le=2**31 - 1)
    changes: Values = Field(default_factory=dict)
    overrides: Values = Field(default_factory=dict)
    seed: Seed | None = None
    num_nodes: Nodes | None = None
    on: Name | None = None
    workers: Workers | None = None
    checkpoint_every: int | None = Field(default=None, ge=0, le=1_000_000)


class Resumption(Asked):
    """How an ended run goes on from its newest checkpoint.

    Attributes:
        on: Where; null: where it was.
        workers: Processes that train side by side; null keeps their number.
    """

    on: Name | None = None
    workers: Workers | None = None
