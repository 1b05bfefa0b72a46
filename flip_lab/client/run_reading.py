"""What is known of a remote run: where it stands, its events, its log."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flip_lab.client.answers import Checkpoint, Events, WholeRun
from flip_lab.client.events import event_of
from flip_lab.client.feed import Feed
from flip_lab.client.wire import MOST_ITEMS, Wire
from flip_lab.core.edits import Value, policy_told
from flip_lab.core.errors import FlipLabError, NoResultError
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.outcome import error_in
from flip_lab.core.state import RunState

if TYPE_CHECKING:
    from flip_lab.client.live import LiveEvents
    from flip_lab.core.policy import RoundPolicy
    from flip_lab.core.scenario import Scenario

MOST_LINES = 100_000
"""Lines of a log that the API gives."""


class RunReading:
    """Reads one run of a remote lab, as ``Run`` reads a local one.

    Args:
        wire: Whom to ask.
        spec: The run, as it was told last.
    """

    def __init__(self, wire: Wire, spec: WholeRun) -> None:
        """Ask nothing yet."""
        self._wire = wire
        self._spec = spec
        self._place = f"/runs/{quote(spec.run_id, safe='')}"
        self._reading = Lock()  # a widget's thread asks while a cell does
        self._last: int | None = None
        self._feed: Feed | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._spec.run_id

    @property
    def wire(self) -> Wire:
        """Whom it asks."""
        return self._wire

    @property
    def name(self) -> str:
        """The scenario's or the app's name."""
        return self._spec.name

    @property
    def spec(self) -> WholeRun:
        """The run as it was told last: what was asked for, and where it stood then."""
        return self._spec

    def refresh(self) -> WholeRun:
        """Ask for the run anew: its state, its newest numbers, its labels."""
        before, self._spec = self._spec, self._wire.get(self._place, WholeRun)
        if self._spec.state is not before.state:
            self._look_anew()
        return self._spec

    @property
    def state(self) -> RunState:
        """Where the run stands now."""
        return self.refresh().state

    @property
    def error(self) -> FlipLabError | None:
        """Why the run failed; ``None`` unless it did."""
        if self.state is not RunState.FAILED:
            return None
        return error_in(self._events(-1, EventKind.STATE)[-1].body)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The rounds that the run can be taken up or forked from, oldest first."""
        return self.refresh().checkpoints

    @property
    def settings(self) -> dict[str, Value]:
        """The settings in force, by name; empty before the first round."""
        found: dict[str, Any] = {}
        for event in in_force(self._events(-1, EventKind.STATE, EventKind.SETTINGS)):
            if event.kind is EventKind.SETTINGS:
                found = dict(event.body)
        scopes = ("strategy", "run", "evaluate", "train")
        return {name: v for scope in scopes for name, v in found.get(scope, {}).items()}

    @property
    def policy(self) -> RoundPolicy | None:
        """When rounds close, with all that was set; ``None`` before the first of a run."""
        kinds = EventKind.STATE, EventKind.SETTINGS, EventKind.CONTROL
        return policy_told(self._events(-1, *kinds))

    @property
    def scenario(self) -> Scenario:
        """The scenario as it was run, overrides included.

        Raises:
            NoResultError: If the run was launched from an app, not a scenario.
        """
        from flip_lab.fl.scenarios import scenario_from_dict  # loads Flower and torch

        if self._spec.scenario is None:
            raise NoResultError(
                f"Run {self.run_id} was launched from the app {self.name!r}.",
                fix="Only runs of a scenario have one; see run.spec.run_config.",
            )
        return scenario_from_dict(self._spec.scenario)

    # --- events and log ----------------------------------------------------------------

    def events(self, *, after: int = -1) -> list[RunEvent]:
        """Give the events whose sequence is above ``after``, in order, without a gap.

        Asked again for what follows its last answer, it lets events come by WebSocket
        from then on, so that asking often costs the lab nothing.
        """
        with self._reading:
            last, feed = self._last, self._feed
            self._last = self._feed = None  # one that fails is not asked again
            if feed is not None and not feed.is_over and feed.reached == after:
                found = feed.take()
            else:
                found, feed = self._events(after), None
            self._last = found[-1].sequence if found else after
            if feed is None and last == after:
                feed = Feed(self._live(self._last).with_beats(), after=self._last)
            self._feed = feed
            return found

    def _look_anew(self) -> None:
        """Ask the lab itself for what follows: the caller knows of something new."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()

    def follow(self, *, after: int = -1) -> Iterator[RunEvent]:
        """Give the events as they happen, until the run has ended.

        Each comes once and in order, also when the connection breaks in between or the
        server is started anew.

        Args:
            after: Leave out events up to this sequence.

        Raises:
            LabUnreachableError: If the lab is away for longer than a request may take.
        """
        return iter(self._live(after))

    def _live(self, after: int) -> LiveEvents:
        from flip_lab.client.live import LiveEvents

        return LiveEvents(
            self._wire,
            self.run_id,
            place=f"{self._place}/live",
            after=after,
            read=self._events,
        )

    def _events(self, after: int, *kinds: EventKind) -> list[RunEvent]:
        found: list[RunEvent] = []
        is_more = True
        while is_more:
            part = self._wire.get(
                f"{self._place}/events",
                Events,
                after=after,
                limit=MOST_ITEMS,
                kind=[kind.value for kind in kinds] or None,
            )
            found += [event_of(self.run_id, told) for told in part.items]
            after, is_more = part.reached, part.is_more
        return found

    def logs(self, *, tail: int | None = None) -> str:
        """Give what the run's processes printed.

        Args:
            tail: Only that many last lines, 0 to 100,000, which ``None`` stands for.
        """
        most = MOST_LINES if tail is None else tail
        return self._wire.ask("GET", f"{self._place}/log", tail=most).text
