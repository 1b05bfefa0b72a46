"""What is known of a run so far: plain data, as its events fold into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flip_lab.boards.run.cohort import Cohort
from flip_lab.boards.run.series import Series
from flip_lab.boards.run.snapshot import Failure
from flip_lab.core.state import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run after some of its events, in bounded space.

    Attributes:
        run_id: The run's id.
        name: What its author calls it; may be empty.
        state: Where the run stands.
        server_round: The current round; 0 before the first one.
        rounds_done: Rounds that have ended.
        num_rounds: Rounds planned; ``None`` until the first one starts.
        round_share: Share of the current round that is done, 0 to 1; never goes back.
        last_sequence: Sequence of the newest event; -1 before the first.
        started_s: Time of the first event, seconds since the Unix epoch.
        updated_s: Time of the newest event.
        round_started_s: When the current round began.
        recent_s: Durations of the last rounds, in s, oldest first, at most 9.
        cohort: The clients of the newest phase.
        series: The metrics, by ``phase/scope/name``.
        replies: Clients' good replies so far, over all phases.
        failures: Clients' failures so far.
        bytes_down: Bytes sent to clients so far.
        bytes_up: Bytes received from them so far.
        error: Why the run failed; ``None`` while it has not.
        client_error: The newest failure of a client.
        warnings: The newest warnings, oldest first, at most 3.
        num_warnings: All warnings.
    """

    run_id: str
    name: str = ""
    state: RunState = RunState.PENDING
    server_round: int = 0
    rounds_done: int = 0
    num_rounds: int | None = None
    round_share: float = 0.0
    last_sequence: int = -1
    started_s: float | None = None
    updated_s: float | None = None
    round_started_s: float | None = None
    recent_s: tuple[float, ...] = ()
    cohort: Cohort | None = None
    series: Mapping[str, Series] = field(default_factory=dict[str, Series])
    replies: int = 0
    failures: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    error: Failure | None = None
    client_error: Failure | None = None
    warnings: tuple[str, ...] = ()
    num_warnings: int = 0
