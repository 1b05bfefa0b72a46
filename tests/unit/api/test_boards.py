"""Boards by WebSocket: whole at first, then what changed; deeds only of who may."""

from __future__ import annotations

import asyncio
import base64
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from anyio import CapacityLimiter

from flip_lab.api.access import Person, Scope
from flip_lab.api.app import create_app
from flip_lab.api.pages import feed as feed_module
from flip_lab.api.pages import page as page_module
from flip_lab.api.pages.feed import Feed, written
from flip_lab.api.pages.page import Page
from flip_lab.api.service import Service
from flip_lab.boards.run.board import RunBoard
from flip_lab.boards.scripts import BOARDS, script, style
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.state import RunState
from flip_lab.runs import lab as lab_module
from flip_lab.runs.inputs import Prepared
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.audit_writer import author
from flip_lab.store.layout import LabDir

Story = Callable[..., list[RunEvent]]
MakeRun = Callable[..., Run]
Client = Any
Socket = Any
Open = Callable[..., AbstractContextManager[Socket]]

V1 = "/flip/v1"
RUN = "261121-194512-q7xd"
SCENARIO = "digits-dirichlet"
PARTS = {
    *("head", "notes", "curves", "clients", "cells", "nodes", "story", "usage", "log"),
    "can_steer",
}


class Staff:
    """Knows two people by their tokens."""

    def who(self, headers: Mapping[str, str]) -> Person | None:
        """Give whose token it is."""
        scopes: dict[str, frozenset[Scope]] = {
            "ada": frozenset({"read", "write"}),
            "guest": frozenset({"read"}),
        }
        name = headers.get("authorization", "").removeprefix("Bearer ")
        return Person(name=name, scopes=scopes[name]) if name in scopes else None

    known = who


class Steered:
    """A run whose events a test hands out, and that notes who told it what."""

    run_id = RUN
    name = "Hearts"
    state = RunState.RUNNING

    def __init__(self, events: list[RunEvent]) -> None:
        """Start with these events."""
        self.told = events
        self.asked: list[int] = []
        self.done: list[tuple[str, str]] = []

    def events(self, *, after: int) -> list[RunEvent]:
        """Give what is new."""
        self.asked.append(after)
        return [event for event in self.told if event.sequence > after]

    def logs(self, *, tail: int | None = None) -> str:
        """Give what was printed; half of a character among it."""
        del tail
        return "ready \ud83d\n"

    def pause(self) -> None:
        """Note it, and put it on record."""
        self.done.append((author(), "pause"))
        self.tell({"state": "paused", "author": author(), "because": ""})

    def tell(self, body: dict[str, Any]) -> None:
        """Add an event of the run's state."""
        last, at = self.told[-1], len(self.told)
        self.told.append(replace(last, sequence=at, kind=EventKind.STATE, body=body))

    def _other(self, *_arguments: object, **_more: object) -> None:
        self.done.append((author(), "something else"))

    resume = step = stop = set = set_policy = exclude = include = break_when = clear = (
        fork
    ) = _other


@pytest.fixture
def run(story: Story, monkeypatch: pytest.MonkeyPatch) -> Steered:
    """Give a run under way, which the lab's API finds."""
    steered = Steered(story())
    found = Service.run

    def find(self: Service, run_id: str) -> Run:
        return cast("Run", steered) if run_id == RUN else found(self, run_id)

    monkeypatch.setattr(Service, "run", find)
    return steered


@pytest.fixture
def client_of_lab(lab_path: Path) -> Iterator[Callable[[], Client]]:
    """Give what serves the lab to a client, once its runs are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another HTTP client
        from starlette.testclient import TestClient
    with ExitStack() as open_ones:

        @cache
        def make() -> Client:
            app = create_app(Lab(lab_path), Staff())
            return open_ones.enter_context(TestClient(app, base_url="http://localhost"))

        yield make


@pytest.fixture
def opened(client_of_lab: Callable[[], Client]) -> Open:
    """Give what opens a board."""

    def connect(kind: str, *, who: str = "ada", **query: str) -> Socket:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        headers = {"Authorization": f"Bearer {who}"}
        address = f"{V1}/boards/{kind}?{asked}"
        return client_of_lab().websocket_connect(address, headers=headers)

    return connect


def heard(socket: Socket, kind: str) -> dict[str, Any]:
    """Wait for a message of a kind; others that come before it are left out."""
    while (message := socket.receive_json())["type"] != kind:
        assert message["type"] in {"parts", "heartbeat", "answer"}, message
    return message


def asked(socket: Socket, **question: object) -> dict[str, Any]:
    """Ask, and give the answer."""
    socket.send_json({"type": "ask", "ticket": "t-1", **question})
    answer = heard(socket, "answer")
    assert answer["ticket"] == "t-1"
    return answer


def put_off(socket: Socket) -> tuple[str, int]:
    """Give the code of the problem that a page is told, and what it is closed with."""
    problem = socket.receive_json()
    assert problem["type"] == "problem"
    assert {"detail", "fix", "status", "title"} <= problem.keys()
    closed = socket.receive()
    assert closed["type"] == "websocket.close"
    return problem["code"], closed["code"]


# --- the control room --------------------------------------------------------------------


def test_a_page_gets_all_parts_and_then_what_changed(run: Steered, opened: Open) -> None:
    """What stays the same does not travel again."""
    with opened("run", run_id=RUN) as socket:
        first = socket.receive_json()
        run.tell({"state": "paused", "author": "bob", "because": "lunch"})
        then = heard(socket, "parts")
    assert first["type"] == "parts"
    assert first["parts"].keys() == PARTS
    assert first["parts"]["can_steer"] is True
    assert base64.b64decode(first["parts"]["cells"]["$base64"])
    assert first["parts"]["log"]["lines"] == ["ready \ud83d"]
    assert then["parts"]["head"]["state_words"] == "by bob: lunch"
    assert not {"cells", "nodes", "log"} & then["parts"].keys()


def test_a_reload_gives_all_parts_again(run: Steered, opened: Open) -> None:
    """Also what happened while nobody looked."""
    with opened("run", run_id=RUN) as socket:
        assert heard(socket, "parts")["parts"]["head"]["state"] == "running"
    run.tell({"state": "paused", "author": "bob", "because": ""})
    with opened("run", run_id=RUN) as socket:
        again = heard(socket, "parts")["parts"]
    assert again.keys() == PARTS
    assert again["head"]["state"] == "paused"


def test_pages_of_one_run_share_one_look(run: Steered, opened: Open) -> None:
    """The events are read and folded once, whatever the number of pages."""
    with opened("run", run_id=RUN) as one, opened("run", run_id=RUN) as two:
        assert heard(one, "parts") == heard(two, "parts")
        run.tell({"state": "paused", "author": "bob", "because": ""})
        assert heard(one, "parts")["parts"] == heard(two, "parts")["parts"]
    assert run.asked.count(-1) == 1


def test_silence_is_filled_with_heartbeats(
    run: Steered, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page knows a server that has nothing to say from one that is gone."""
    del run
    monkeypatch.setattr(page_module, "HEARTBEAT_S", 0.05)
    with opened("run", run_id=RUN) as socket:
        heard(socket, "parts")
        assert heard(socket, "heartbeat")["time_s"] > 1e9


def test_a_run_that_is_taken_up_again_comes_alive(
    run: Steered, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page was left open after the end; nobody has to reload it."""
    monkeypatch.setattr(feed_module, "LOOK_AGAIN_S", 0.01)
    began = [each for each in run.told if each.kind is EventKind.ROUND_STARTED]
    run.tell({"state": "failed"})
    with opened("run", run_id=RUN) as socket:
        assert heard(socket, "parts")["parts"]["head"]["is_final"] is True
        run.tell({"state": "starting", "resumed_after": began[1].sequence})
        run.tell({"state": "running"})
        while heard(socket, "parts")["parts"].get("head", {}).get("state") != "running":
            pass


def test_questions_are_answered(run: Steered, opened: Open) -> None:
    """By their ticket; cells that there are not are left out."""
    with opened("run", run_id=RUN) as socket:
        heard(socket, "parts")  # which tell a page of the cells
        answer = asked(socket, cells=[0, 99])
    assert [row["title"] for row in answer["rows"]] == ["partition 0"]
    assert run.done == []


def test_a_command_is_done_in_the_name_of_whoever_pressed(
    run: Steered, opened: Open
) -> None:
    """And what it did is shown from the record."""
    with opened("run", run_id=RUN) as socket:
        heard(socket, "parts")
        socket.send_json({"type": "ask", "command": "pause", "ticket": 1})
        came = {
            each["type"]: each for each in (socket.receive_json(), socket.receive_json())
        }
    head = came["parts"]["parts"]["head"]
    assert came["answer"]["is_taken"] is True
    assert run.done == [("ada", "pause")]
    assert (head["state"], head["state_words"]) == ("paused", "by ada")


def test_a_reader_only_looks(run: Steered, opened: Open) -> None:
    """The page shows no buttons; a command that is sent nevertheless is refused."""
    with opened("run", run_id=RUN, who="guest") as socket:
        assert heard(socket, "parts")["parts"]["can_steer"] is False
        assert asked(socket, command="pause")["error"]["code"] == "FLIP-702"
        assert len(asked(socket, cells=[0])["rows"]) == 1
    assert run.done == []


def test_who_is_let_in_no_more_steers_no_more(
    run: Steered, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the page has been open since before."""
    with opened("run", run_id=RUN) as socket:
        heard(socket, "parts")
        for name in ("known", "who"):
            monkeypatch.setattr(Staff, name, lambda *_: None)
        socket.send_json({"type": "ask", "command": "pause", "ticket": 1})
        while (message := socket.receive_json())["type"] not in {"answer", "problem"}:
            pass
        assert message.get("code") == "FLIP-701"
        assert socket.receive()["code"] == 4401
    assert run.done == []


@pytest.mark.parametrize(
    ("kind", "query", "told"),
    [
        ("run", {}, ("FLIP-703", 4422)),
        ("run", {"run_id": "nobody"}, ("FLIP-301", 4404)),
        ("ruin", {"run_id": RUN}, ("FLIP-709", 4404)),
        ("run", {"run_id": RUN, "who": "stranger"}, ("FLIP-701", 4401)),
        ("comparer", {"smoothing": "much"}, ("FLIP-703", 4422)),
        ("comparer", {"x": "y"}, ("FLIP-103", 4422)),
        ("comparer", {"metric": "beauty"}, ("FLIP-420", 4422)),
        ("partitions", {"scenario": "nowhere"}, ("FLIP-101", 4422)),
        ("launcher", {"scenario": "/etc", "who": "guest"}, ("FLIP-101", 4422)),
        ("fleet", {"federation": "mars"}, ("FLIP-301", 4404)),
    ],
)
def test_what_cannot_be_shown_is_said(
    run: Steered, opened: Open, kind: str, query: dict[str, str], told: tuple[str, int]
) -> None:
    """A page cannot read the answer of a handshake: it is opened, told, and closed."""
    with opened(kind, **query) as socket:
        assert put_off(socket) == told
    assert run.done == []


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "7", '{"type":"tea"}', '{"type":"change"}']
)
def test_odd_messages_are_told_and_do_no_harm(
    run: Steered, opened: Open, text: str
) -> None:
    """The page stays; what it sends next is answered."""
    with opened("run", run_id=RUN) as socket:
        heard(socket, "parts")
        socket.send_text(text)
        assert socket.receive_json()["code"] == "FLIP-703"
        assert len(asked(socket, cells=[0])["rows"]) == 1
        assert run.done == []


def test_a_flood_is_dammed(run: Steered, opened: Open) -> None:
    """A page that sends more than 100 messages a second is closed."""
    del run
    with opened("run", run_id=RUN) as socket:
        for _ in range(400):
            socket.send_text("tea")
        came = [socket.receive()]
        while came[-1]["type"] != "websocket.close":
            came.append(socket.receive())
    assert json.loads(came[-2]["text"])["code"] == "FLIP-712"
    assert came[-1]["code"] == 4429


class SlowSocket:
    """A page that reads when a test says so."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self.scope: dict[str, Any] = {}
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.goes = asyncio.Event()

    async def accept(self, *, subprotocol: str | None) -> None:
        """Open it."""
        assert subprotocol is None

    async def send_text(self, text: str) -> None:
        """Take a message once the page reads."""
        self.sent.append(json.loads(text))
        await self.reads.wait()

    async def receive(self) -> dict[str, Any]:
        """Say nothing until the page goes."""
        await self.goes.wait()
        return {"type": "websocket.disconnect"}


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(20_000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never was")


def test_a_slow_page_gets_the_newest_state_and_no_backlog(story: Story) -> None:
    """While it reads the first message a hundred things happen; it hears of the last."""
    run = Steered(story())

    async def look() -> list[dict[str, Any]]:
        board = RunBoard(run, interval_s=0.001)
        feed = Feed(board, CapacityLimiter(2))
        socket = SlowSocket()
        ada = Person(name="ada", scopes=frozenset())
        page = Page(cast("Any", socket), feed, ada, check=cast("Any", None))
        serving = asyncio.create_task(page.serve())
        await until(lambda: bool(socket.sent))
        for number in range(100):
            run.tell({"state": "paused", "author": f"p{number}", "because": ""})
            await until(lambda: board.progress.last_sequence == len(run.told) - 1)
        socket.reads.set()
        await until(lambda: len(socket.sent) > 1)
        socket.goes.set()
        await serving
        return socket.sent

    first, *then = asyncio.run(look())
    words = [each["parts"]["head"]["state_words"] for each in then]
    assert first["parts"]["head"]["state"] == "running"
    assert len(words) <= 2
    assert words[-1] == "by p99"


def test_parts_are_written_as_a_page_can_read_them() -> None:
    """Bytes by name, no NaN, and what is no character as an escape."""
    assert written(b"\x01\x02") == b'{"$base64":"AQI="}'
    assert written({"value": float("nan")}) == b'{"value":null}'
    assert json.loads(written(["\ud83d", "ö"])) == ["\ud83d", "ö"]


# --- what a page chooses -----------------------------------------------------------------


def test_a_choice_brings_another_picture_before_its_answer(
    make_run: MakeRun, opened: Open
) -> None:
    """And what the page chose is not told it again: it may have chosen on meanwhile."""
    for name in ("run-a", "run-b"):
        make_run(name)
    with opened("comparer", runs="run-a,run-b", by="name") as socket:
        first = heard(socket, "parts")["parts"]
        socket.send_json({"type": "change", "values": {"chosen": [0]}})
        then = socket.receive_json()["parts"]
        socket.send_json({"type": "ask", "ask": "draw", "ticket": 2})
        assert socket.receive_json() == {"type": "answer", "ask": "draw", "ticket": 2}
    assert first.keys() == {"catalogue", "chosen", "settings", "picture"}
    assert first["chosen"] == [0, 1]
    assert then.keys() == {"picture"}
    assert then["picture"] != first["picture"]


ODD: list[dict[str, Any]] = [
    {"settings": 7, "chosen": "all"},
    {"settings": {"x": ["y"], "metrics": [[]], "span": "z", "by": 3}},
    {"chosen": [None, "0", -1, 10**30, {}, True]},
    {"picture": {}, "nonsense": 1},
    {},
]


@pytest.mark.parametrize("kind", ["comparer", "fleet", "partitions", "launcher", "run"])
def test_odd_choices_do_no_harm(
    run: Steered, make_run: MakeRun, opened: Open, kind: str
) -> None:
    """Whatever a page has set, the board stands and answers."""
    make_run("run-a")
    query = {"run_id": RUN} if kind == "run" else {}
    with opened(kind, **query) as socket:
        heard(socket, "parts")
        for values in ODD:
            socket.send_json({"type": "change", "values": values})
            assert "error" not in asked(socket, ask="draw")
    assert run.done == []


def test_nodes_of_one_run_are_shown_and_asked_for(make_run: MakeRun, opened: Open) -> None:
    """The fleet of a run; the end of its id is enough."""
    make_run("261121-194512-aaaa")
    with opened("fleet", run_id="aaaa") as socket:
        parts = heard(socket, "parts")["parts"]
        node = parts["fleet"]["nodes"]["id"][0]
        answer = asked(socket, ask="node", node=node)
    assert parts["settings"]["key"] == "run:261121-194512-aaaa"
    assert "error" not in answer


def test_data_is_split_anew(opened: Open) -> None:
    """What cannot be split leaves the picture, and says why."""
    with opened("partitions", scenario=SCENARIO) as socket:
        first = heard(socket, "parts")["parts"]
        settings = {**first["settings"], "num_partitions": 4}
        socket.send_json({"type": "change", "values": {"settings": settings}})
        four = heard(socket, "parts")["parts"]
        settings = {**settings, "num_partitions": -1}
        socket.send_json({"type": "change", "values": {"settings": settings}})
        none = heard(socket, "parts")["parts"]
    assert four.keys() == none.keys() == {"picture"}
    assert "data.num_partitions" in four["picture"]["python"]
    assert four["picture"]["error"] is None
    assert none["picture"]["error"]["code"].startswith("FLIP-")


# --- the launch form ---------------------------------------------------------------------


@pytest.fixture
def launches(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, RunSpec]]:
    """Give who launched what; nothing is started."""
    told: list[tuple[str, RunSpec]] = []
    run_id = make_run("run-1").run_id

    def start(_lab: LabDir, prepared: Prepared) -> str:
        told.append((author(), prepared.spec))
        return run_id

    monkeypatch.setattr(lab_module, "launch_prepared", start)
    return told


def test_the_form_launches_in_the_served_lab(
    opened: Open, launches: list[tuple[str, RunSpec]]
) -> None:
    """Once for a press, in the name of whoever pressed, with what stood in the form."""
    edits = {"train.num_rounds": "3"}
    press = {"ask": "launch", "edits": edits, "press": "p-1"}
    with opened("launcher", scenario=SCENARIO) as socket:
        heard(socket, "parts")
        socket.send_json({"type": "ask", "ask": "change", "edits": edits, "ticket": "t"})
        verdict = heard(socket, "parts")["parts"]["verdict"]
        assert heard(socket, "answer")["ticket"] == "t"
        done = {"type": "answer", "ask": "launch", "ticket": "t-1"}
        assert asked(socket, **press) == {**done, "run": "run-1"}
        assert asked(socket, **press) == done  # the first press's shadow
    assert verdict["changes"] == ["train.num_rounds"]
    ((who, spec),) = launches
    assert (who, spec.name, spec.num_rounds) == ("ada", SCENARIO, 3)


def test_a_reader_launches_nothing(
    opened: Open, launches: list[tuple[str, RunSpec]]
) -> None:
    """He may play with the form; a page chooses no file, either."""
    with opened("launcher", who="guest") as socket:
        heard(socket, "parts")
        assert asked(socket, ask="launch", press="p-1")["error"]["code"] == "FLIP-702"
        assert asked(socket, ask="choose", what="/etc")["error"]["code"] == "FLIP-101"
        assert "error" not in asked(socket, ask="choose", what="hospitals")
    assert launches == []


# --- scripts and styles ------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_scripts_and_styles_are_those_of_the_notebook(
    client_of_lab: Callable[[], Client], name: str
) -> None:
    """A page keeps them, and asks whether they are still the same."""
    for kind, text in (("js", script(name)), ("css", style(name))):
        path, headers = f"{V1}/ui/{name}.{kind}", {"Authorization": "Bearer guest"}
        reply = client_of_lab().get(path, headers=headers)
        assert reply.text == text
        assert reply.headers["cache-control"] == "private, no-cache"
        known = {**headers, "If-None-Match": reply.headers["etag"]}
        assert client_of_lab().get(path, headers=known).status_code == 304
        assert client_of_lab().get(path).status_code == 401


def test_there_are_no_other_scripts(client_of_lab: Callable[[], Client]) -> None:
    """The nearest one is named."""
    reply = client_of_lab().get(
        f"{V1}/ui/monitor.js", headers={"Authorization": "Bearer ada"}
    )
    assert (reply.status_code, reply.json()["code"]) == (404, "FLIP-709")
