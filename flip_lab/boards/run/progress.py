"""How far a run is, folded from its events; knows nothing of widgets or terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from flip_lab.boards.run.facts import RunFacts
from flip_lab.boards.run.fold import after
from flip_lab.boards.run.series import Series
from flip_lab.boards.run.snapshot import Failure, Snapshot, bytes_text, counted, shortened
from flip_lab.boards.run.text import text_of
from flip_lab.core.events import RunEvent
from flip_lab.core.state import RunState

_MOST_TILES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress(RunFacts):
    """How far a run is: its facts, and all that a face shows of them.

    The same events give the same progress, in whatever pieces they arrive; events that
    were applied before are skipped.
    """

    def apply(self, events: Iterable[RunEvent]) -> RunProgress:
        """Add events.

        Args:
            events: Events of this run in order; known ones are skipped.

        Returns:
            The progress after all of them.
        """
        return after(self, unseen(events, self.last_sequence))

    @property
    def fraction(self) -> float | None:
        """Share of the run's work that is done, 0 to 1; ``None`` while unknown."""
        if self.state is RunState.COMPLETED:
            return 1.0
        if not self.num_rounds:
            return None
        under_way = self.round_share if self.server_round > self.rounds_done else 0.0
        return min(1.0, (self.rounds_done + under_way) / self.num_rounds)

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first event to the newest one."""
        if self.started_s is None or self.updated_s is None:
            return 0.0
        return max(0.0, self.updated_s - self.started_s)

    @property
    def eta_s(self) -> float | None:
        """Seconds left, by the median of the recent rounds; ``None`` while no telling."""
        if self.state.is_final or not self.num_rounds or not self.recent_s:
            return None
        usual_s = median(self.recent_s)
        left = max(0, self.num_rounds - self.rounds_done)
        spent_s = 0.0
        if self.server_round > self.rounds_done and self.round_started_s is not None:
            spent_s = (self.updated_s or 0.0) - self.round_started_s
        return left * usual_s - min(max(spent_s, 0.0), usual_s if left else 0.0)

    def snapshot(
        self, *, watch_error: Failure | None = None, state_words: str = ""
    ) -> Snapshot:
        """Give the progress as every face draws it.

        Args:
            watch_error: Why the caller cannot follow the run, if so.
            state_words: Who paused the run and why; empty where nobody did.

        Returns:
            A JSON-ready dictionary of at most 20 KB, with at most 8 metrics of 41 points
            and 200 squares, whatever the size of the run.
        """
        eta_s = self.eta_s
        fraction = self.fraction
        tiles = self.curves()
        return Snapshot(
            run_id=self.run_id,
            name=shortened(self.name, 80),
            state=self.state.value,
            state_words=state_words,
            is_final=self.state.is_final,
            server_round=self.server_round,
            num_rounds=self.num_rounds,
            fraction=None if fraction is None else round(fraction, 4),
            started_s=self.started_s,
            elapsed_s=round(self.elapsed_s, 1),
            eta_s=None if eta_s is None else round(eta_s, 1),
            round_words=self._round_words(),
            cohort=None if self.cohort is None else self.cohort.strip(),
            tiles=[series.tile() for series in tiles[:_MOST_TILES]],
            hidden_tiles=max(0, len(tiles) - _MOST_TILES),
            totals=self._totals(),
            error=self.error or self.client_error,
            warnings=list(self.warnings),
            num_warnings=self.num_warnings,
            watch_error=watch_error,
            hint=f'lab.run("{self.run_id}")',
        )

    def curves(self) -> list[Series]:
        """Give the metrics in the order in which every face shows them."""
        return sorted(self.series.values(), key=_evaluation_first)

    @property
    def next_round(self) -> int:
        """The round that an edit made now takes effect in."""
        return max(self.rounds_done, self.server_round) + 1

    def _round_words(self) -> str:
        if self.last_sequence < 0:
            return "not started yet"
        if not self.server_round:
            return "before the first round"
        of = f" / {self.num_rounds}" if self.num_rounds else ""
        return f"round {self.server_round}{of}"

    def _totals(self) -> str:
        if not self.replies and not self.failures:
            return ""
        parts = [counted(self.replies, "reply", "replies")]
        if self.failures:
            parts.append(counted(self.failures, "failure", "failures"))
        parts += [f"{bytes_text(self.bytes_down)} down", f"{bytes_text(self.bytes_up)} up"]
        return ", ".join(parts)

    def text(self, *, width: int = 80) -> str:
        """Draw the progress as plain text of several lines.

        Args:
            width: Columns of the terminal, at least 40.

        Returns:
            Text without a line break at its end; the same progress gives the same text.
        """
        return text_of(self.snapshot(), width=width)


def unseen(events: Iterable[RunEvent], last_sequence: int) -> Iterator[RunEvent]:
    """Give each event above a sequence once, whatever is sent twice."""
    for event in events:
        if event.sequence > last_sequence:
            last_sequence = event.sequence
            yield event


def _evaluation_first(series: Series) -> tuple[bool, bool, str, bool]:
    central = series.scope == "central"
    return series.phase == "train", series.name.endswith("loss"), series.name, central
