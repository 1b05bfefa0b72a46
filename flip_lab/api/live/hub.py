"""All who look at the lab live: how many they are, and what they share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from anyio import CapacityLimiter

from flip_lab.api.live.feed import RunFeed
from flip_lab.api.live.listing import ListFeed
from flip_lab.api.live.roster import Roster
from flip_lab.core.errors import TooManyError
from flip_lab.store.layout import LabDir

MOST_SUBSCRIBERS = 2_000
"""WebSockets of one server, at most; each costs some kilobytes."""

_MOST_THREADS = 2


class Hub:
    """Gives subscribers what they read; to be used from the event loop.

    Args:
        lab: The lab.
        roster: The list of its runs.
        most: Subscribers at a time.

    Attributes:
        num_subscribers: How many there are.
    """

    def __init__(
        self, lab: LabDir, roster: Roster, *, most: int = MOST_SUBSCRIBERS
    ) -> None:
        """Nobody looks."""
        self.num_subscribers = 0
        self._lab, self._roster, self._most = lab, roster, most
        self._threads = CapacityLimiter(_MOST_THREADS)
        self._runs: dict[str, RunFeed] = {}
        self._list: ListFeed | None = None

    @property
    def num_watched(self) -> int:
        """How many runs somebody watches."""
        return len(self._runs)

    @contextmanager
    def watching_run(self, run_id: str, after: int) -> Generator[RunFeed]:
        """Watch a run.

        Args:
            run_id: The run's whole id.
            after: Sequence that the subscriber has reached; -1 for nothing.

        Yields:
            What to read.

        Raises:
            TooManyError: If there are too many subscribers.
        """
        with self._counted():
            feed = self._runs.get(run_id)
            if feed is None or feed.is_over:
                feed = self._runs[run_id] = RunFeed(
                    self._lab,
                    run_id,
                    roster=self._roster,
                    threads=self._threads,
                    after=after,
                )
            feed.join()
            try:
                yield feed
            finally:
                feed.leave()
                if not feed.num_readers and self._runs.get(run_id) is feed:
                    del self._runs[run_id]

    @contextmanager
    def watching_list(self) -> Generator[ListFeed]:
        """Watch the list of runs.

        Yields:
            What to read.

        Raises:
            TooManyError: If there are too many subscribers.
        """
        with self._counted():
            feed = self._list
            if feed is None or feed.is_over:
                feed = self._list = ListFeed(self._roster)
            feed.join()
            try:
                yield feed
            finally:
                feed.leave()

    @contextmanager
    def _counted(self) -> Generator[None]:
        if self.num_subscribers >= self._most:
            raise TooManyError(
                f"{self.num_subscribers:,} pages look on already, as many as may.",
                fix="Close pages that nobody looks at, and open this one again.",
            )
        self.num_subscribers += 1
        try:
            yield
        finally:
            self.num_subscribers -= 1
