"""Following a run that is resumed: what is done again is not counted twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from flip_lab.boards.run.follow import Follower
from flip_lab.boards.run.progress import RunProgress
from flip_lab.core.events import EventKind, RunEvent, in_force
from flip_lab.core.state import RunState


@dataclass(kw_only=True)
class Told:
    """A run whose events the test lets out."""

    told: list[RunEvent]
    state: RunState = RunState.RUNNING
    run_id: str = "261121-194512-q7xd"
    name: str = "test"

    def events(self, *, after: int) -> Sequence[RunEvent]:
        """Give what is new."""
        return [event for event in self.told if event.sequence > after]


def test_what_a_resumed_run_does_again_is_counted_once(
    story: Callable[..., list[RunEvent]],
) -> None:
    """A follower that saw the first attempt shows the same as one that comes later."""
    first = story(rounds=3)
    ended = next(e for e in first if e.kind is EventKind.ROUND_ENDED)
    last = len(first)
    resumed = replace(
        first[0],
        sequence=last,
        body={
            "state": "pending",
            "resumed_after": ended.sequence,
            "resumed_from_round": 1,
        },
    )
    again = [
        replace(event, sequence=last + 1 + i)
        for i, event in enumerate(e for e in first if e.sequence > ended.sequence)
    ]
    run = Told(told=list(first))
    follower = Follower(run, interval_s=1)
    before = follower.poll()
    run.told += [resumed, *again]
    after = follower.poll()
    fresh = RunProgress(run_id=run.run_id, name=run.name).apply(in_force(run.told))
    assert follower.progress == fresh
    assert after["totals"] == before["totals"]
    assert (after["server_round"], after["tiles"]) == (3, before["tiles"])


def test_the_state_is_asked_for_once_a_second(
    story: Callable[..., list[RunEvent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events tell it; that the run's process is gone may wait for a moment."""
    now_s = [100.0]
    monkeypatch.setattr("flip_lab.boards.run.follow.tick_s", lambda: now_s[0])
    run = Told(told=story(rounds=1))
    follower = Follower(run, interval_s=0.2)
    follower.poll()
    run.state = RunState.FAILED
    now_s[0] += 0.9
    follower.poll()
    assert not follower.is_done
    now_s[0] += 0.2
    follower.poll()
    assert follower.is_done
