"""Watching a run: ends when the run ends, shows its own troubles, works anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from comm import get_comm_manager

from flip_lab.boards.run.follow import Follower
from flip_lab.core.errors import CommandRefusedError, InvalidValueError, StoreFormatError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.state import RunState
from flip_lab.widgets.line import TARGET
from flip_lab.widgets.monitor import watch

Story = Callable[..., list[RunEvent]]
RUN = "261121-194512-q7xd"


class Told:
    """A run whose events a test hands out."""

    run_id = RUN
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

    def logs(self, *, tail: int | None = None) -> str:
        """Give what was printed."""
        del tail
        return "ready\n"


class Steered(Told):
    """A run that notes what it is told to do."""

    def __init__(self, events: list[RunEvent], *, state: RunState) -> None:
        """Start with these events."""
        super().__init__(events, state=state)
        self.done: list[tuple[object, ...]] = []
        self.refusal: Exception | None = None

    def _note(self, *what: object) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.done.append(what)

    def pause(self) -> None:
        """Note it."""
        self._note("pause")

    def resume(self) -> None:
        """Note it."""
        self._note("resume")

    def step(self, num_rounds: int = 1) -> None:
        """Note it."""
        self._note("step", num_rounds)

    def stop(self) -> None:
        """Note it."""
        self._note("stop")

    def set(self, **values: object) -> None:
        """Note it."""
        self._note("set", values)

    def set_policy(self, **changes: object) -> None:
        """Note a policy."""
        self._note("set_policy", changes)

    def exclude(self, *nodes: int) -> None:
        """Note it."""
        self._note("exclude", *nodes)

    def include(self, *nodes: int) -> None:
        """Note it."""
        self._note("include", *nodes)

    def break_when(self, condition: str) -> None:
        """Note it."""
        self._note("break_when", condition)

    def clear(self, *ids: str) -> None:
        """Note it."""
        self._note("clear", *ids)

    def fork(self, at_round: int | None = None, **changes: object) -> Told:
        """Note it."""
        self._note("fork", at_round, changes)
        return Told([], state=RunState.PENDING)


def watchers() -> list[threading.Thread]:
    """Give the threads that watch a run now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("watch-")]


@pytest.fixture(autouse=True)
def _nobody_watches_yet() -> None:
    """Let the watchers of earlier tests end; closing one does not wait for its thread."""
    for thread in watchers():
        thread.join(timeout=120)


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
    monitor.observe(sent.append)
    run.was_asked.clear()
    run.was_asked.wait()
    run.was_asked.clear()
    run.was_asked.wait()
    assert sent == []
    monitor.close()


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


@pytest.mark.parametrize("refresh_hz", [0, -1, 8.5, float("nan")])
def test_the_refresh_rate_has_bounds(refresh_hz: float) -> None:
    """Jupyter drops messages of a kernel that talks too much."""
    with pytest.raises(InvalidValueError, match="not above 0 and at most 8") as caught:
        watch(Told([], state=RunState.PENDING), refresh_hz=refresh_hz)
    assert caught.value.code == "FLIP-103"
    assert not watchers()


# --- steering ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        ({"command": "pause"}, ("pause",)),
        ({"command": "resume"}, ("resume",)),
        ({"command": "step", "num_rounds": 3}, ("step", 3)),
        ({"command": "stop"}, ("stop",)),
        ({"command": "set", "values": {"lr": 0.1}}, ("set", {"lr": 0.1})),
        (
            {"command": "set", "values": {"policy.quorum": "1.0", "policy.deadline_s": ""}},
            ("set_policy", {"quorum": 1.0, "deadline_s": None}),
        ),
        ({"command": "exclude", "cells": [1, 3]}, ("exclude", 1, 3)),
        ({"command": "include", "cells": [0]}, ("include", 0)),
        ({"command": "break_when", "condition": "always"}, ("break_when", "always")),
        ({"command": "clear", "ids": ["a", "b"]}, ("clear", "a", "b")),
        (
            {"command": "fork", "at_round": 2, "values": {"strategy.mu": 1, "lr": 2}},
            ("fork", 2, {"overrides": {"strategy.mu": 1}, "lr": 2}),
        ),
    ],
)
def test_a_button_calls_the_handle(
    story: Story, asked: dict[str, object], done: tuple[object, ...]
) -> None:
    """Each message of the page is one call; the answer names the message."""
    run = Steered(story(), state=RunState.RUNNING)
    monitor = watch(run)
    assert monitor.can_steer
    answer = monitor.answer({**asked, "ticket": 7})
    monitor.close()
    assert run.done == [done]
    is_fork = asked["command"] == "fork"
    assert answer == {"ticket": 7, **({"run_id": RUN} if is_fork else {"is_taken": True})}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            CommandRefusedError("It has ended.", fix="Fork it."),
            {"code": "FLIP-310", "what": "It has ended.", "fix": "Fork it."},
        ),
        (OSError("disk gone"), {"code": "", "what": "OSError: disk gone", "fix": ""}),
    ],
)
def test_a_refusal_is_told_to_the_page(
    story: Story, error: Exception, told: dict[str, str]
) -> None:
    """Code, what and fix, beside the control; nothing is raised in the kernel."""
    run = Steered(story(), state=RunState.RUNNING)
    run.refusal = error
    monitor = watch(run)
    assert monitor.answer({"command": "pause", "ticket": 1}) == {"ticket": 1, "error": told}
    monitor.close()


def test_an_unknown_command_names_those_that_there_are(story: Story) -> None:
    """Whatever a page sends, only the listed methods are called."""
    monitor = watch(Steered(story(), state=RunState.RUNNING))
    answer = monitor.answer({"command": "__class__", "ticket": 1})
    monitor.close()
    assert answer["error"]["code"] == "FLIP-103"
    assert "pause, resume, step" in answer["error"]["fix"]


def test_after_a_command_the_state_comes_from_the_events(story: Story) -> None:
    """The page is told nothing that is not on record, and that at once."""
    events = story()
    run = Steered(events[:], state=RunState.RUNNING)
    monitor = watch(run, refresh_hz=0.001)
    monitor.answer({"command": "pause"})
    assert monitor.head["state"] == "running"
    paused = replace(
        events[-1],
        sequence=len(events),
        kind=EventKind.STATE,
        body={"state": "paused", "author": "ada", "because": ""},
    )
    shown = threading.Event()
    monitor.observe(lambda _: shown.set(), "head")
    run.told.append(paused)
    monitor.answer({"command": "pause"})
    assert shown.wait(timeout=120)
    assert (monitor.head["state"], monitor.head["state_words"]) == ("paused", "by ada")
    monitor.close()


def test_two_kernels_show_the_same(story: Story) -> None:
    """Whoever steers, all that is shown comes from the run's events."""
    run = Steered(story(failing=frozenset({1})), state=RunState.RUNNING)
    steering, other = watch(run, refresh_hz=0.001), watch(run, refresh_hz=0.001)
    steering.answer({"command": "pause"})
    body = {"id": "c", "command": "pause", "author": "ada"}
    last = run.told[-1]
    at = last.sequence + 1
    run.told.append(replace(last, sequence=at, kind=EventKind.CONTROL, body=body))
    paused = {"state": "paused", "author": "ada", "because": ""}
    run.told.append(replace(last, sequence=at + 1, kind=EventKind.STATE, body=paused))
    for monitor in (steering, other):
        monitor._refresh()
    for part in ("head", "notes", "curves", "clients", "cells", "nodes", "story", "usage"):
        assert getattr(steering, part) == getattr(other, part), part
    assert other.head["state"] == "paused"
    assert other.story["deeds"][-1]["author"] == "ada"
    steering.close()
    other.close()


def test_a_page_asks_for_nodes(story: Story) -> None:
    """What is in sight is asked for; cells that there are not are left out."""
    monitor = watch(Told(story(failing=frozenset({3})), state=RunState.RUNNING))
    answer = monitor.answer({"cells": [3, 99], "ticket": 2})
    monitor.close()
    assert not monitor.can_steer
    assert answer["ticket"] == 2
    (row,) = answer["rows"]
    assert (row["title"], row["error_round"]) == ("partition 3", 3)


class Line:
    """A comm as the kernel gives it."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.sent: list[dict[str, object]] = []
        self.hear: Callable[[dict[str, object]], None] | None = None
        self.is_closed = False

    def on_msg(self, callback: Callable[[dict[str, object]], None]) -> None:
        """Take what listens."""
        self.hear = callback

    def send(self, data: dict[str, object]) -> None:
        """Keep it."""
        self.sent.append(data)

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def test_a_line_of_its_own_leads_to_the_widget(story: Story) -> None:
    """The page names the widget; one that is gone closes the line."""
    run = Steered(story(), state=RunState.RUNNING)
    monitor = watch(run)
    opened: Callable[..., None] = get_comm_manager().targets[TARGET]
    line, lost = Line(), Line()
    opened(line, {"content": {"data": {"key": monitor.key}}})
    assert line.hear is not None
    line.hear({"content": {"data": {"command": "pause", "ticket": 1}}})
    monitor.close()
    assert run.done == [("pause",)]
    assert line.sent == [{"ready": True}, {"ticket": 1, "is_taken": True}]
    opened(lost, {"content": {"data": {"key": "another"}}})
    assert lost.is_closed


# --- what it costs the page ---------------------------------------------------------------


def test_a_client_s_answer_sends_the_map_and_not_the_curves(story: Story) -> None:
    """Only parts that changed travel."""
    events = story(nodes=60)
    last = next(at for at, one in enumerate(events) if one.server_round == 3)
    run = Told(events[: last + 10], state=RunState.RUNNING)
    monitor = watch(run, refresh_hz=0.001)
    sent: list[str] = []
    monitor.observe(lambda change: sent.append(change["name"]))
    run.told = events[: last + 11]
    monitor._refresh()
    assert set(sent) == {"head", "clients", "cells"}
    assert monitor.sent_messages == 1
    assert monitor.sent_bytes < 3_000
    monitor.close()
