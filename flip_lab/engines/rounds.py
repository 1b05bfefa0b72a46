"""What a run's Grid remembers of a round: under way, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Round:
    """The round under way and how its training went so far.

    Attributes:
        number: The round, 1-based; 0 between rounds.
        started_s: When it began, by the clock of the time worked.
        trained: Clients that trained well.
        num_bytes: Bytes that its messages carried so far, both ways.
        failures: Those that did not, with their errors.
        late: Those that were asked to train, one by one, and were not back in time.
    """

    number: int = 0
    started_s: float = 0.0
    trained: int = 0
    num_bytes: int = 0
    failures: list[str] = field(default_factory=list[str])
    late: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class RoundDone:
    """A round that has ended.

    Attributes:
        duration_s: Seconds that it took; pauses do not count.
        num_bytes: Bytes that its messages carried, both ways.
        failures: Clients that failed to train.
    """

    duration_s: float = 0.0
    num_bytes: int = 0
    failures: int = 0
