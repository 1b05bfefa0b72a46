"""A run as other tools know it: settings, curves, labels, a few files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDS = ("completed", "failed", "stopped")
"""How a run can have ended; only ended runs travel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric's curve; the three lists have the same length, in recorded order.

    Attributes:
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        scope: ``"federated"``, ``"central"`` or ``"server"``.
        name: The metric's name; any text.
        rounds: Round of each point, or the other tool's step.
        times_s: When each was recorded, seconds since the Unix epoch.
        values: The values; NaN and the infinities are values like others.
    """

    phase: str
    scope: str
    name: str
    rounds: list[int] = field(default_factory=list[int])
    times_s: list[float] = field(default_factory=list[float])
    values: list[float] = field(default_factory=list[float])

    @property
    def identity(self) -> tuple[str, str, str]:
        """Phase, scope and name: what tells it from the run's other series."""
        return self.phase, self.scope, self.name

    def add(self, server_round: int, time_s: float, value: float) -> None:
        """Add one point at the end."""
        self.rounds.append(server_round)
        self.times_s.append(time_s)
        self.values.append(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpan:
    """When one round of a run was.

    Attributes:
        server_round: The round, from 1.
        started_s: When it began, seconds since the Unix epoch.
        ended_s: When it ended, likewise.
        duration_s: How long it took, seconds.
    """

    server_round: int
    started_s: float
    ended_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """One file that a run kept.

    Attributes:
        name: What the run calls it, such as ``model``; any text.
        path: Where its bytes are now.
        media_type: What kind of file it is; ``None`` when nobody said.
        server_round: The round that it is from; 0 for the run as a whole.
    """

    name: str
    path: Path
    media_type: str | None = None
    server_round: int = 0


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One ended run on its way from one tool to another.

    Attributes:
        run_id: The run's id in FLIP Lab; empty when the run was never there.
        source: What the other tool calls it; never changes, so that importing it again
            finds the run it became.
        name: Its name.
        experiment: What it belongs to; empty when it belongs to nothing.
        state: How it ended, one of ``ENDS``.
        created_s: When it was launched, seconds since the Unix epoch.
        started_s: When its process began; ``None`` when it never did.
        ended_s: When it ended.
        sweep: The sweep that it was launched in; ``None`` for others.
        parent_run_id: The run that it was forked from; ``None`` for others.
        forked_at_round: The parent's round that it went on from.
        parameters: What was configured, as text, by dotted name.
        lineage: Hashes of the data and of who holds which of them, as recorded.
        tags: Its tags.
        note: What somebody noted about it.
        author: Who launched it; empty when nobody knows.
        error: ``code``, ``what``, ``fix`` and ``detail`` of a failed run's error.
        rounds: Its rounds; empty when the other tool knows none.
        series: Its metrics.
        files: What it kept.
        spec: Its ``run.json``; ``None`` when it was never in FLIP Lab.
    """

    run_id: str
    source: str
    name: str
    experiment: str
    state: str
    created_s: float
    started_s: float | None
    ended_s: float
    sweep: str | None = None
    parent_run_id: str | None = None
    forked_at_round: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    lineage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: tuple[str, ...] = ()
    note: str = ""
    author: str = ""
    error: Mapping[str, str] = field(default_factory=dict[str, str])
    rounds: tuple[RoundSpan, ...] = ()
    series: tuple[Series, ...] = ()
    files: tuple[KeptFile, ...] = ()
    spec: Mapping[str, Any] | None = None
