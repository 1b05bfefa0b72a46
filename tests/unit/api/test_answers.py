"""Answers that are kept: good as long as what they depend on is the same, made once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from flip_lab.api.live.answers import ANSWER_BYTES, Answers
from flip_lab.api.live.shelf import EventShelf
from flip_lab.core.state import RunState
from flip_lab.runs import fact_pages
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store import query
from flip_lab.store.compaction import compact
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

MakeRun = Callable[..., Run]
Ask = Callable[..., "TestClient"]


def _request(path: str = "/a", tag: str | None = None) -> Request:
    headers = [] if tag is None else [(b"if-none-match", tag.encode())]
    told: dict[str, Any] = {"type": "http", "method": "GET", "path": path}
    return Request(
        {**told, "headers": headers, "query_string": b"", "server": ("localhost", 80)}
    )


class _Maker:
    """Makes answers, slowly, and counts them."""

    def __init__(self, size: int = 10) -> None:
        self.count = 0
        self.size = size
        self.conditions: list[str | None] = []

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        self.conditions.append(request.headers.get("if-none-match"))
        await asyncio.sleep(0.01)
        return Response(b"x" * self.size, headers={"ETag": f'"{self.count}"'})


def test_who_asks_at_once_gets_one_answer_and_a_new_state_another() -> None:
    """Fifty people, two states: made twice."""
    make, answers = _Maker(), Answers()
    states: list[tuple[object, ...]] = [(1,)]

    async def story() -> list[str]:
        async def ask() -> str:
            answer = await answers.give(_request(), lambda: states[-1], make)
            return answer.headers["etag"]

        first = await asyncio.gather(*(ask() for _ in range(50)))
        states.append((2,))
        return [*first, *await asyncio.gather(*(ask() for _ in range(50)))]

    assert asyncio.run(story()) == ['"1"'] * 50 + ['"2"'] * 50
    assert make.count == 2


def test_who_has_it_already_is_told_so_without_making_it_anew() -> None:
    """304 with the tag, also to the one for whom it was made; it is kept whole."""
    make, answers = _Maker(), Answers()

    async def story() -> list[int]:
        asked = [_request(tag='"1"'), _request(tag='"1"'), _request()]
        got = [await answers.give(each, lambda: (1,), make) for each in asked]
        assert got[1].headers["etag"] == '"1"'
        assert "content-length" not in got[1].headers
        return [each.status_code for each in got]

    assert asyncio.run(story()) == [304, 304, 200]
    assert make.conditions == [None]


def test_what_must_not_be_kept_and_what_is_no_state_is_made_each_time() -> None:
    """Without a state, without a tag, or when making failed."""
    answers = Answers()
    failures = 0

    async def broken(_: Request) -> Response:
        nonlocal failures
        failures += 1
        raise RuntimeError

    async def untagged(_: Request) -> Response:
        return Response(b"x")

    async def story() -> None:
        make = _Maker()
        for _ in range(2):
            await answers.give(_request(), lambda: None, make)
            answer = await answers.give(_request("/b"), lambda: (1,), untagged)
            assert answer.status_code == 200
            with pytest.raises(RuntimeError):
                await answers.give(_request("/c"), lambda: (1,), broken)
        assert make.count == 2

    asyncio.run(story())
    assert failures == 2


def test_the_oldest_answers_go_where_there_are_too_many() -> None:
    """What was asked for last stays."""
    make, answers = _Maker(size=40), Answers(most_bytes=100 + 2 * ANSWER_BYTES)

    async def story() -> None:
        for path in ("/a", "/b", "/a", "/c", "/a", "/b"):
            await answers.give(_request(path), lambda: (1,), make)

    asyncio.run(story())
    assert make.count == 4  # /b made room for /c


def test_many_small_answers_are_as_bounded_as_large_ones() -> None:
    """A page that asks for what follows, again and again, asks another thing each time."""
    make, answers = _Maker(size=1), Answers(most_bytes=10 * ANSWER_BYTES)

    async def story() -> None:
        asking = [
            answers.give(_request(f"/{n}"), lambda: (1,), make, is_costly=False)
            for n in range(100)
        ]
        await asyncio.gather(*asking)

    asyncio.run(story())
    assert make.count == 100
    assert len(answers._kept) == 9


def test_facts_are_read_once_until_there_are_more(
    ask: Ask, lab_dir: LabDir, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same question costs no query; labels, sealing and new facts are seen."""
    make_run("run-a")
    asked: list[str] = []
    query_sql = query.sql

    def counted(lab: LabDir, text: str, *rest: Any, **options: Any) -> Any:  # noqa: ANN401  # as query.sql
        asked.append(text)
        return query_sql(lab, text, *rest, **options)

    client = ask("guest")
    monkeypatch.setattr(fact_pages.query, "sql", counted)
    first = client.get("/runs/run-a/metrics")
    known = {"If-None-Match": first.headers["etag"]}
    count = len(asked)
    assert count
    assert client.get("/runs/run-a/metrics").content == first.content
    assert client.get("/runs/run-a/metrics", headers=known).status_code == 304
    assert len(asked) == count
    compact(lab_dir, ["run-a"], grace_s=0.0)
    assert client.get("/runs/run-a/metrics").content == first.content
    assert len(asked) > count


def test_a_change_is_seen_by_the_very_next_read(
    ask: Ask, lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Who tags a run and reads it sees the tag, though the list is told a little later."""
    make_run("run-a")
    client = ask()
    before = client.get("/runs/run-a").json()
    assert before["tags"] == []
    Lab(lab_dir.root).tag("run-a", "good")
    assert client.get("/runs/run-a").json()["tags"] == ["good"]


def test_kept_answers_are_not_for_strangers(ask: Ask, make_run: MakeRun) -> None:
    """Who asks is looked at before what is kept."""
    make_run("run-a")
    for path in ("/runs", "/runs/run-a", "/runs/run-a/metrics", "/scenarios", "/alerts"):
        assert ask().get(path).status_code == 200
        assert ask(None).get(path).status_code == 401


def test_a_run_that_is_deleted_is_not_answered_for(ask: Ask, make_run: MakeRun) -> None:
    """Neither it nor its facts, however fresh the answers were."""
    make_run("run-a")
    client = ask()
    for path in ("/runs/run-a", "/runs/run-a/rounds"):
        assert client.get(path).status_code == 200
    assert client.delete("/runs/run-a").is_success
    for path in ("/runs/run-a", "/runs/run-a/rounds"):
        assert client.get(path).status_code == 404


def test_the_shelf_reads_what_is_new_and_forgets_what_is_too_much(
    lab_dir: LabDir, make_run: MakeRun
) -> None:
    """Events of a run, from any sequence on, kept within bounds or not at all."""
    run = make_run("run-a", state=RunState.STOPPED)
    events = run.events()
    for shelf in (EventShelf(lab_dir), EventShelf(lab_dir, most_bytes=1)):
        for after in (-1, 4, events[-1].sequence, 10_000):
            told = [event.sequence for event in shelf.after("run-a", after)]
            assert told == [e.sequence for e in events if e.sequence > after]
    shelf = EventShelf(lab_dir)
    assert len(shelf.after("run-a", -1)) == len(events)
    run.add_artifact("table", b"a,b", media_type="text/csv")
    new = shelf.after("run-a", events[-1].sequence)
    assert [event.kind for event in new][:1] == ["artifact"]
    assert shelf.after("nobody", -1) == []
