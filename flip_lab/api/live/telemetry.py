"""What the server counts about itself, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from flip_lab.api.live.hub import Hub
from flip_lab.api.live.roster import Roster
from flip_lab.core.clock import now_s
from flip_lab.core.state import RunState

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0)
_AGES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 30.0)


class _Now(Collector):
    """What is read off when somebody asks."""

    def __init__(self, roster: Roster, hub: Hub) -> None:
        self._roster, self._hub = roster, hub

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = self._roster.states
        runs = GaugeMetricFamily("flip_runs", "Runs of the lab.", labels=["state"])
        for state in RunState:
            runs.add_metric([state.value], states.get(state.value, 0))
        yield runs
        active = sum(states.get(state, 0) for state in RunState if not state.is_final)
        yield GaugeMetricFamily("flip_active_runs", "Runs under way.", active)
        yield GaugeMetricFamily(
            "flip_roster_rows", "Rows of the list of runs.", sum(states.values())
        )
        yield GaugeMetricFamily(
            "flip_subscribers", "WebSockets that follow.", self._hub.num_subscribers
        )
        yield GaugeMetricFamily(
            "flip_watched_runs", "Runs that are followed.", self._hub.num_watched
        )


class Telemetry:
    """Counters of one app, in a registry of its own.

    Args:
        roster: The list of runs.
        hub: Those who look on.

    Attributes:
        requests: Requests by route template, method and status, with their duration.
        events: Events and rows sent to subscribers.
        dropped: Subscribers that took nothing for too long.
        ages: How old an event was when it was sent.
        received: Bytes of bodies that came.
    """

    def __init__(self, roster: Roster, hub: Hub) -> None:
        """Count from zero."""
        self._registry = CollectorRegistry(auto_describe=True)
        self._registry.register(_Now(roster, hub))
        self.requests = Histogram(
            "flip_request_duration_seconds",
            "Duration of a request, from its first byte to the last of its answer.",
            ("method", "route", "status"),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self.events = Counter(
            "flip_events_sent",
            "Events and rows of the list sent to subscribers.",
            registry=self._registry,
        )
        self.dropped = Counter(
            "flip_subscribers_dropped",
            "Subscribers that took nothing for too long.",
            registry=self._registry,
        )
        self.ages = Histogram(
            "flip_event_age_seconds",
            "Age of the newest event of a message when it was sent, of runs under way.",
            registry=self._registry,
            buckets=_AGES,
        )
        self.received = Counter(
            "flip_received_bytes",
            "Bytes of bodies of requests, uploads most of all.",
            registry=self._registry,
        )

    def sent(self, count: int, newest_s: float | None) -> None:
        """Count a message.

        Args:
            count: Events or rows in it.
            newest_s: When its newest event happened, seconds since the Unix epoch.
        """
        self.events.inc(count)
        if newest_s is not None:
            self.ages.observe(max(0.0, now_s() - newest_s))

    def text(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self._registry)
