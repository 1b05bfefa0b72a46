"""The seams between the rooms that know no framework.

The other seam, where a run happens, is Flower's own ``Grid`` (``flip_lab.engines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from flip_lab.core.edits import InForce
from flip_lab.core.events import EventKind, Json, MetricSeries, RunEvent


class Emit(Protocol):
    """Tell the run what happened; the run gives it a sequence and a time."""

    def __call__(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Record one fact; never blocks on a reader."""
        ...


class EventSink(Protocol):
    """Where events go to be kept; one writer per run.

    A sink keeps what ``append`` returned for, even if the process is killed right after.
    """

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep the events, all or none, in order.

        Raises:
            StoreError: If they cannot be kept; they may be appended again.
        """
        ...

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Keep many metrics of one moment, all or none.

        Raises:
            StoreError: If they cannot be kept; they may be appended again.
        """
        ...

    def close(self) -> None:
        """Let go of the journal; the run has ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A kept file, known by its content.

    Attributes:
        sha256: Hash of the content, 64 hexadecimal digits.
        size_bytes: Length of the content.
    """

    sha256: str
    size_bytes: int


class ArtifactStore(Protocol):
    """Files kept by content: the same bytes are kept once."""

    def put(self, content: bytes) -> Artifact:
        """Keep the bytes, whole or not at all.

        Raises:
            StoreNotWritableError: If they cannot be kept.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """Give the bytes back, checked against their hash.

        Raises:
            CorruptArtifactError: If they are gone, or no longer match their hash.
        """
        ...


class Control(Protocol):
    """What the user wants of a running run; asked between rounds and messages.

    The methods with a body are those of a run that nobody steers.
    """

    def stop_requested(self) -> bool:
        """Whether the run should end now and keep what it has."""
        ...

    def hold(self) -> None:
        """Wait while the run is paused; a wish to stop ends the wait."""

    def paused_s(self) -> float:
        """Give the seconds that the run has spent paused so far."""
        return 0.0

    def begin_round(self, server_round: int) -> InForce:
        """Wait while the run is paused, then begin a round.

        Args:
            server_round: The round, 1-based.

        Returns:
            What the user's edits come to in this round.
        """
        del server_round
        return InForce()

    def end_round(self) -> None:
        """Take note that a round is over."""
