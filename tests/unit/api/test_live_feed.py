"""A run that is followed once for all its subscribers, whatever they have reached."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from flip_lab.api.live import feed as feed_module
from flip_lab.api.live.audience import Source
from flip_lab.api.live.feed import RunFeed
from flip_lab.api.live.hub import Hub
from flip_lab.api.live.listing import NOW
from flip_lab.api.live.ring import Ring
from flip_lab.api.live.roster import Roster
from flip_lab.core.errors import RunNotFoundError, TooManyError
from flip_lab.core.state import RunLife, RunState
from flip_lab.runs import life_sign
from flip_lab.runs.lab import Lab
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run import Run
from flip_lab.store.compaction import compact
from flip_lab.store.journal import JournalWriter, last_sequence
from flip_lab.store.layout import LabDir

MakeRun = Callable[..., Run]


@pytest.fixture
def lab(lab_dir: LabDir) -> Lab:
    """Give the lab that ``make_run`` fills."""
    return Lab(lab_dir.root)


@pytest.fixture
def make_run(lab_dir: LabDir, make_run: MakeRun) -> MakeRun:
    """Give a maker of runs that are alive while they are made: the roster looks on."""

    def make(run_id: str, **spec: Any) -> Run:  # noqa: ANN401  # any field of a spec
        lab_dir.run_dir(run_id).mkdir(parents=True)
        with life_sign.held_lock(lab_dir.run_dir(run_id)):
            return make_run(run_id, **spec)

    return make


@pytest.fixture
def roster(lab: Lab) -> Iterator[Roster]:
    """Give a roster that looks often."""
    made = Roster(lab, every_s=0.02)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(lab_dir: LabDir, roster: Roster) -> Hub:
    """Give a hub for at most three subscribers."""
    return Hub(lab_dir, roster, most=3)


async def _read(source: Source, after: int) -> list[dict[str, Any]]:
    """Read as a subscriber does, until the end; give the messages."""
    found: list[dict[str, Any]] = []
    while True:
        news = source.news
        message = await source.take(after)
        if message is not None:
            found.append(json.loads(message.text))
            after = message.reached
        elif source.ended is not None:
            return found
        else:
            await news.wait()


def _sequences(messages: list[dict[str, Any]]) -> list[int]:
    return [event["sequence"] for each in messages for event in each["events"]]


async def _watch(hub: Hub, run_id: str, after: int = -1) -> list[dict[str, Any]]:
    with hub.watching_run(run_id, after) as feed:
        return await _read(feed, after)


async def _listed(roster: Roster, run_id: str, *, state: str) -> None:
    """Wait until a run has come to its end in the list too, and changes no more."""
    while (row := roster.row(run_id)) is None or row["state"] != state or roster.active:  # noqa: ASYNC110  # its thread sets no event
        await asyncio.sleep(0.02)


def _run(work: Awaitable[Any]) -> Any:  # noqa: ANN401  # whatever it gives
    async def within() -> Any:  # noqa: ANN401  # as above
        return await asyncio.wait_for(work, 60)

    return asyncio.run(within())


@pytest.mark.parametrize("is_sealed", [False, True])
def test_an_ended_run_is_told_whole_and_then_its_end(
    hub: Hub, lab_dir: LabDir, make_run: MakeRun, *, is_sealed: bool
) -> None:
    """From its journals, or from where they were sealed; as the API shows events."""
    events = make_run("run-a").events()
    if is_sealed:
        compact(lab_dir, ["run-a"], grace_s=0.0)
    messages = _run(_watch(hub, "run-a"))
    told = [event for each in messages for event in each["events"]]
    assert [(e["sequence"], e["kind"], e["time_s"]) for e in told] == [
        (e.sequence, e.kind.value, e.time_s) for e in events
    ]
    assert _sequences(_run(_watch(hub, "run-a", after=5))) == [
        e.sequence for e in events if e.sequence > 5
    ]
    assert _run(_watch(hub, "run-a", after=events[-1].sequence)) == []


def test_who_says_to_have_reached_more_than_there_is_harms_nobody(
    hub: Hub, make_run: MakeRun
) -> None:
    """Such a page hears of the end; the others hear everything."""
    events = make_run("run-a").events()

    async def both() -> list[list[dict[str, Any]]]:
        places = (10_000, -1)
        return await asyncio.gather(*(_watch(hub, "run-a", after=at) for at in places))

    ahead, other = _run(both())
    assert ahead == []
    assert _sequences(other) == [event.sequence for event in events]


def test_who_fell_behind_reads_on_from_the_store(
    hub: Hub, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that keeps next to nothing, several readers at different places."""
    monkeypatch.setattr(feed_module, "Ring", lambda after: Ring(after, most_bytes=1))
    monkeypatch.setattr(feed_module, "_MOST_HISTORY", 4)
    events = make_run("run-a").events()

    async def several() -> list[list[dict[str, Any]]]:
        places = (-1, 3, -1)
        return await asyncio.gather(*(_watch(hub, "run-a", after=at) for at in places))

    for after, messages in zip((-1, 3, -1), _run(several()), strict=True):
        assert _sequences(messages) == [e.sequence for e in events if e.sequence > after]
        assert len(messages) > 2


def test_all_who_watch_a_run_share_one_feed_and_it_goes_with_the_last(
    hub: Hub, make_run: MakeRun
) -> None:
    """Read once, written once."""
    make_run("run-a")

    async def share() -> None:
        with hub.watching_run("run-a", -1) as one, hub.watching_run("run-a", -1) as other:
            assert one is other
            assert (hub.num_subscribers, hub.num_watched) == (2, 1)
            await _read(one, -1)
            assert await one.take(-1) is await other.take(-1)
        assert (hub.num_subscribers, hub.num_watched) == (0, 0)

    _run(share())


def test_events_come_as_they_happen_and_the_end_after_the_process_is_gone(
    hub: Hub, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """A run that was taken up: what is superseded is told, and nothing comes twice."""
    run = make_run("run-a", state=RunState.STOPPED)
    last = last_sequence(lab_dir, "run-a")

    async def go_on() -> list[dict[str, Any]]:
        with life_sign.held_lock(lab_dir.run_dir("run-a")):
            watching = asyncio.create_task(_watch(hub, "run-a"))
            writer = JournalWriter(lab_dir, "run-a", role="resumer")
            life = RunLife((RunState.STOPPED,))
            recorder = Recorder("run-a", writer, first=last + 1, life=life)
            recorder.enter(
                RunState.PENDING, more={"resumed_from_round": 1, "resumed_after": 10}
            )
            recorder.flush()
            await asyncio.sleep(0.2)  # it is read meanwhile, in two pieces
            for state in (RunState.STARTING, RunState.RUNNING, RunState.COMPLETED):
                recorder.enter(state)
            recorder.close()
            await asyncio.sleep(0.2)
            assert not watching.done()  # its process may still be tidying up
        return await watching

    messages = _run(go_on())
    assert _sequences(messages) == [event.sequence for event in run.events()]
    assert [m["superseded"] for m in messages if "superseded" in m] == [[[10, last + 1]]]


def test_a_run_that_is_deleted_while_somebody_watches_is_told(
    hub: Hub, lab_dir: LabDir, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is not left with a run that is no more."""
    make_run("run-a", state=RunState.PAUSED)

    async def watch() -> None:
        with life_sign.held_lock(lab_dir.run_dir("run-a")):
            watching = asyncio.create_task(_watch(hub, "run-a"))
            await asyncio.sleep(0.2)
            monkeypatch.setattr(Roster, "row", lambda *_: None)
            await watching

    with pytest.raises(RunNotFoundError, match="deleted"):
        _run(watch())


def test_there_are_so_many_subscribers_and_no_more(hub: Hub, make_run: MakeRun) -> None:
    """The fourth of three is refused; when one goes there is room."""
    make_run("run-a")

    async def crowd() -> None:
        with (
            hub.watching_list(),
            hub.watching_run("run-a", -1),
            hub.watching_run("run-a", -1),
            pytest.raises(TooManyError),
            hub.watching_list(),
        ):
            pass
        with hub.watching_list():
            assert hub.num_subscribers == 1

    _run(crowd())


def test_the_list_tells_its_position_then_changes_then_who_must_read_again(
    hub: Hub, roster: Roster, lab: Lab, make_run: MakeRun
) -> None:
    """Rows that changed, ids that went; a position that nobody knows means reload."""
    make_run("run-a")

    async def watch() -> None:
        await _listed(roster, "run-a", state="completed")
        with hub.watching_list() as feed:
            hello = await feed.take(NOW)
            assert hello is not None
            assert json.loads(hello.text) == {
                "type": "runs",
                "rows": [],
                "gone": [],
                "position": roster.position,
            }
            assert await feed.take(hello.reached) is None
            news = feed.news
            lab.tag("run-a", "good")
            await news.wait()
            message = await feed.take(hello.reached)
            assert message is not None
            assert json.loads(message.text)["rows"][0]["tags"] == ["good"]
            old = await feed.take(12)
            assert old is not None
            assert json.loads(old.text) == {"type": "reload"}
            assert old.reached == roster.position

    _run(watch())


def test_who_comes_just_then_keeps_no_change_of_the_list_from_others(
    hub: Hub, roster: Roster, lab: Lab, make_run: MakeRun
) -> None:
    """They wait for it, and would hear of it with the next heartbeat only."""
    make_run("run-a")

    async def story() -> None:
        await _listed(roster, "run-a", state="completed")
        with hub.watching_list() as feed:
            news, begin = feed.news, roster.position
            lab.tag("run-a", "good")
            while roster.position == begin:
                time.sleep(0.01)  # noqa: ASYNC251  # the loop stands still: nobody is told
            assert await feed.take(NOW) is not None
            await news.wait()

    _run(story())


def test_what_ends_the_following_is_told_to_who_reads_and_is_tried_anew(
    hub: Hub, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot be read is an error to its readers, not a silence."""
    make_run("run-a")

    def broken(_: RunFeed) -> None:
        raise RunNotFoundError("It is broken.", fix="Mend it.")

    with monkeypatch.context() as patch:
        patch.setattr(RunFeed, "_poll", broken)
        with pytest.raises(RunNotFoundError, match="broken"):
            _run(_watch(hub, "run-a"))
    assert _sequences(_run(_watch(hub, "run-a")))
