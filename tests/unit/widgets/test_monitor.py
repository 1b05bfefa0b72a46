"""Watching a run: ends when the run ends, shows its own troubles, works anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flip_lab.core.errors import InvalidValueError, StoreFormatError
from flip_lab.core.events import RunEvent
from flip_lab.core.state import RunState
from flip_lab.widgets.follow import Follower
from flip_lab.widgets.monitor import RunMonitor, watch

Story = Callable[..., list[RunEvent]]


class Told:
    """A run whose events a test hands out."""

    run_id = "261121-194512-q7xd"
    name = "Hearts"

    def __init__(self, events: list[RunEvent], *, state: RunState) -> None:
        """Start with these events."""
        self.told = events
        self.state = state
        self.asked: list[int] = []
        self.trouble: Exception | None = None
        self.was_asked = threading.Event()

    def events(self, *, after: int) -> list[RunEvent]:
        """Give what is new, or the trouble."""
        self.asked.append(after)
        self.was_asked.set()
        if self.trouble is not None:
            raise self.trouble
        return [event for event in self.told if event.sequence > after]


def watchers() -> list[threading.Thread]:
    """Give the threads that watch a run now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("watch-")]


@pytest.fixture(autouse=True)
def _nobody_watches_yet() -> None:
    """Let the watchers of earlier tests end; closing one does not wait for its thread."""
    for thread in watchers():
        thread.join(timeout=30)


def test_a_run_that_has_ended_is_shown_at_once_without_a_thread(story: Story) -> None:
    """The final picture needs no second look."""
    run = Told(story(end={"state": "completed"}), state=RunState.COMPLETED)
    monitor = watch(run)
    assert monitor.snapshot["state"] == "completed"
    assert monitor.snapshot["fraction"] == 1.0
    assert run.asked == [-1]
    assert not watchers()
    monitor.close()


def test_the_thread_follows_to_the_end_and_stops(story: Story) -> None:
    """Only new events are asked for; after the last one the thread is gone."""
    events = story(end={"state": "completed"})
    run = Told(events[:5], state=RunState.RUNNING)
    monitor = watch(run)
    (thread,) = watchers()
    assert thread.daemon
    run.told, run.state = events, RunState.COMPLETED
    thread.join()
    assert monitor.snapshot["state"] == "completed"
    assert run.asked[0] == -1
    assert set(run.asked[1:]) <= {4, events[-1].sequence}
    monitor.close()


def test_closing_ends_the_thread(story: Story) -> None:
    """Nothing is left behind on a run that goes on."""
    monitor = watch(Told(story(), state=RunState.RUNNING))
    (thread,) = watchers()
    monitor.close()
    thread.join()
    assert not watchers()


def test_unchanged_snapshots_are_not_sent(story: Story) -> None:
    """Polling a run that stands still costs no traffic."""
    run = Told(story(), state=RunState.RUNNING)
    monitor = watch(run)
    sent: list[object] = []
    monitor.observe(sent.append, "snapshot")
    run.was_asked.clear()
    run.was_asked.wait()
    run.was_asked.clear()
    run.was_asked.wait()
    monitor.close()
    assert sent == []


def test_trouble_is_shown_and_tried_again(story: Story) -> None:
    """The reader's error replaces nothing, waits longer each time, and goes when it can."""
    run = Told(story(rounds=1), state=RunState.RUNNING)
    follower = Follower(run, interval_s=0.25)
    follower.poll()
    run.trouble = StoreFormatError("Format 9.", fix="Update FLIP Lab.")
    shown = follower.poll()
    assert shown["watch_error"] == {
        "code": "FLIP-404",
        "what": "This view cannot follow the run: Format 9.",
        "fix": "Update FLIP Lab.",
        "detail": "",
    }
    assert shown["server_round"] == 1
    pauses = [follower.pause_s]
    run.trouble = OSError("disk gone")
    for _ in range(10):
        error = follower.poll()["watch_error"]
        assert error is not None
        assert error["what"] == "This view cannot follow the run: OSError: disk gone"
        pauses.append(follower.pause_s)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, 10.0)
    run.trouble = None
    assert follower.poll()["watch_error"] is None
    assert follower.pause_s == 0.25


def test_a_lost_run_is_final_and_says_so(story: Story) -> None:
    """The process is gone, its events do not say how: the handle's state decides."""
    follower = Follower(Told(story(), state=RunState.FAILED), interval_s=1.0)
    snapshot = follower.poll()
    assert follower.is_done
    assert (snapshot["state"], snapshot["is_final"]) == ("failed", True)
    assert snapshot["error"] is not None
    assert snapshot["error"]["code"] == "FLIP-305"


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.STARTING, RunState.STOPPED])
def test_before_the_first_event_the_handle_knows_the_state(state: RunState) -> None:
    """A run that is being started is not called pending."""
    follower = Follower(Told([], state=state), interval_s=1.0)
    assert follower.poll()["state"] == state.value
    assert follower.is_done == state.is_final


def test_the_events_win_over_a_handle_that_lags(story: Story) -> None:
    """Once the stream says how it ended, nothing else counts."""
    run = Told(story(end={"state": "stopped"}), state=RunState.RUNNING)
    assert Follower(run, interval_s=1.0).poll()["state"] == "stopped"


def test_every_page_gets_something_it_can_show(story: Story) -> None:
    """Widget, card and text in one bundle; the text is what ``print`` gives."""
    monitor = watch(Told(story(end={"state": "completed"}), state=RunState.COMPLETED))
    data, _ = monitor._repr_mimebundle_()
    assert set(data) == {
        "application/vnd.jupyter.widget-view+json",
        "text/html",
        "text/plain",
    }
    assert data["text/plain"] == repr(monitor) == str(monitor)
    assert repr(monitor).startswith("Hearts · 261121-194512-q7xd · completed\n")
    assert data["text/html"].startswith("<style>")
    assert "@import" not in data["text/html"]
    monitor.close()


def test_a_display_shows_what_is_true_then(story: Story) -> None:
    """A notebook that ran unattended keeps the picture of its display."""
    events = story(end={"state": "completed"})
    run = Told(events[:3], state=RunState.RUNNING)
    monitor = watch(run, refresh_hz=0.001)
    run.told, run.state = events, RunState.COMPLETED
    data, _ = monitor._repr_mimebundle_()
    assert "· completed" in data["text/plain"]
    monitor.close()


@pytest.mark.parametrize("refresh_hz", [0, -1, 4.5, float("nan")])
def test_the_refresh_rate_has_bounds(refresh_hz: float) -> None:
    """Jupyter drops messages of a kernel that talks too much."""
    with pytest.raises(InvalidValueError, match="not above 0 and at most 4") as caught:
        watch(Told([], state=RunState.PENDING), refresh_hz=refresh_hz)
    assert caught.value.code == "FLIP-103"
    assert not watchers()


def test_the_front_end_is_small_and_fetches_nothing() -> None:
    """The module and its style travel with each widget: under 60 KB, no other host."""
    sources = f"{RunMonitor._esm}{RunMonitor._css}"
    assert len(sources.encode()) < 60_000
    hosts = sources.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in hosts
    assert "innerHTML" not in sources
